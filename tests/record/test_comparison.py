from __future__ import annotations

import csv
import io
import math
import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tacit
from tacit.learn.contract import Arrays
from tacit.learn.examples import Examples, NamedClients
from tacit.learn.federated_data import FederatedData
from tacit.record.comparison import (
    ALL,
    Comparison,
    EvaluationSet,
    Method,
    Score,
    Step,
    baselines,
    compare,
)
from tacit.record.demo import EPSILONS, SUMMED, methods
from tacit.record.plots import comparison
from tacit.record.report import report
from tests.record.small_runs import NAMES, federation, noised, records


def data() -> FederatedData[Arrays]:
    parts = [
        NamedClients(NAMES, tuple(Examples(*pair) for pair in records(seed).values()))
        for seed in (0, 1)
    ]
    return FederatedData(Arrays(shape=(2,), classes=2), parts[0], parts[1])


def three(seeds: range, steps: list[Step] | None = None) -> Comparison:
    ways = (
        *baselines(federation(), NAMES),
        Method("plain", "Plain", federation()),
        Method("noised", "Noised", noised()),
    )
    return compare(data(), ways, seeds, None if steps is None else steps.append)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_a_score_is_mean_and_sample_standard_deviation(values: list[float]) -> None:
    score = Score(tuple(values))
    assert score.mean == pytest.approx(statistics.fmean(values))
    assert score.sd == pytest.approx(statistics.stdev(values), abs=1e-12)


def test_one_seed_has_no_spread() -> None:
    assert math.isnan(Score((0.5,)).sd)
    assert str(Score((0.5,))) == "50.0"
    assert str(Score((0.4, 0.6))) == "50.0 ±14.1"


@given(st.integers(1, 500), st.floats(0, 1))
def test_the_error_is_the_binomial_one(count: int, accuracy: float) -> None:
    found = EvaluationSet("any", 0, count, 0.5)
    assert found.error(accuracy) == pytest.approx((accuracy * (1 - accuracy) / count) ** 0.5)


def test_every_method_is_the_same_as_running_it_by_hand() -> None:
    compared, held = three(range(3)), data()
    for name, described in (("plain", federation()), ("noised", noised())):
        by_hand = [tacit.simulate(described, held, seed) for seed in range(3)]
        values = [one.final.accuracy for one in by_hand if one.final]
        assert list(compared[name].scores[-1].values) == values
        assert compared[name].moved == by_hand[0].bytes
    together = tacit.pooled(federation(), held, 2)
    alone = tacit.local_only(federation(), held, 2)
    assert together.final is not None
    assert compared["pooled"].scores[-1].values[2] == together.final.accuracy
    for name, one in alone.items():
        assert one.final is not None
        measured = [score.values[2] for score in compared[f"alone-{name}"].scores[:-1]]
        assert measured == [tallies.accuracy for tallies in one.final.clients.values()]


def test_the_sets_count_records_and_the_commoner_class() -> None:
    held, compared = data(), three(range(1))
    assert [found.name for found in compared.sets] == [*NAMES, ALL]
    labels = [one.y for one in held.test.held]
    labels.append(np.concatenate(labels))
    for found, y in zip(compared.sets, labels, strict=True):
        assert found.records == len(y)
        assert found.guess == max((y == 0).mean(), (y == 1).mean())
    assert [found.trained for found in compared.sets] == [40, 40, 40, 120]


def test_only_a_promise_against_everybody_is_a_claim() -> None:
    compared = three(range(1))
    assert compared["plain"].claim("record") is None
    claim = compared["noised"].claim("record")
    assert claim is not None
    assert claim.epsilon == max(c.epsilon for c in compared["noised"].run.claims if c.holds)
    assert compared["noised"].claim("client") is None


def test_the_csv_holds_the_numbers_of_the_plain_data() -> None:
    compared = three(range(2))
    lines = list(csv.DictReader(io.StringIO(compared.csv())))
    told = {one["method"]: one for one in compared.plain()["methods"]}
    assert len(lines) == len(told) * len(compared.sets)
    for line in lines:
        one: dict[str, Any] = told[line["method"]]
        expected = one["accuracy"][line["test_set"]]
        assert float(line["accuracy_mean"]) == expected["mean"]
        assert float(line["accuracy_sd"]) == expected["sd"]
        assert line["bytes_moved"] == str(one["bytes_moved"] or "")
        epsilons = [c["epsilon"] for c in one["claims"] if c["hides"] == "record"]
        promised = bool(epsilons) and None not in epsilons
        assert line["record_epsilon"] == (str(max(epsilons)) if promised else "")


def test_progress_goes_from_none_to_all_of_it() -> None:
    steps: list[Step] = []
    three(range(2), steps)
    assert [step.done for step in steps] == list(range(steps[0].total + 1))
    assert steps[-1].doing == "done"
    assert 0 < steps[-1].accuracy <= 1


def test_the_plot_has_a_panel_a_set_and_a_row_a_method() -> None:
    compared = three(range(2))
    figure = comparison(compared)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [f"{found.name} ({found.records})" for found in compared.sets]
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == [result.method.label for result in compared.results]
    for axes in figure.axes:
        assert len(axes.containers) == len(compared.results)


def test_a_report_shows_the_run_beside_the_others() -> None:
    compared = three(range(2))
    text = report(compared["noised"].run, compared)
    assert "Beside other ways to learn" in text
    for result in compared.results:
        assert result.method.label in text
        assert all(str(score) in text for score in result.scores)
    assert "Beside other ways" not in report(compared["noised"].run)
    credited = report(compared["noised"].run, replace(compared, source="A & B, CC BY 4.0"))
    assert "Data: A &amp; B, CC BY 4.0." in credited


def test_the_demo_charges_an_epsilon_for_its_noise_alone() -> None:
    hospitals = tacit.data.heart_disease()
    made = {method.name: method.federation for method in methods(hospitals)}
    private = [made[f"epsilon-{epsilon}"] for epsilon in EPSILONS]
    assert len({(f.algorithm, f.rounds, f.task) for f in [*private, made[SUMMED]]}) == 1
    kept = [s for s in private[0].protect if s.kind not in {"balance", "gaussian"}]
    assert kept == list(made[SUMMED].protect)
