"""Whole simulations with injected faults on the virtual clock."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tacit
from tacit.base.key import Key
from tacit.learn.examples import Examples, as_clients
from tacit.round.events import Answered, Closed, event_from_plain, event_to_plain
from tacit.round.machine import Rules, fold
from tacit.sim.engine import run_plan
from tacit.sim.exact import Exact
from tacit.sim.faults import Fault

COUNT = 5


def data(count: int = COUNT) -> dict[str, tuple[Any, Any]]:
    draw = np.random.default_rng(3)
    return {
        f"site-{i}": (draw.normal(size=(6 + 3 * i, 4)), draw.integers(0, 2, 6 + 3 * i))
        for i in range(count)
    }


def federation(**changes: Any) -> tacit.Federation:
    base = tacit.Federation(
        task=tacit.numpy.logistic_regression(),
        clients=COUNT,
        data=tacit.arrays(shape=(4,), classes=2),
        algorithm=tacit.fedavg(lr=0.1, batch=4),
        rounds=4,
    )
    return base.replace(**changes)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    one, two, other = (tacit.simulate(federation(), data(), seed=s) for s in (1, 1, 2))
    assert one.model.params.tobytes() == two.model.params.tobytes()
    assert one.outcome.journal == two.outcome.journal
    assert one.model.params.tobytes() != other.model.params.tobytes()


def test_repeats_and_delays_change_nothing() -> None:
    def faults(round_: int, client: int) -> Fault:
        return Fault(delay=float((7 * client + round_) % 5), repeats=client % 3)

    calm, stormy = (
        tacit.simulate(federation(), data()),
        tacit.simulate(federation(), data(), faults=faults),
    )
    assert calm.model.params.tobytes() == stormy.model.params.tobytes()
    assert stormy.history[-1]["seconds"] > 0


def mean_of(answering: list[int], rounds: int) -> Any:
    """The model when only some clients take part: a federation of these alone."""
    held = data()
    some = {name: held[name] for i, name in enumerate(held) if i in answering}
    return tacit.simulate(
        federation(clients=len(some), rounds=rounds, algorithm=tacit.fedavg(lr=0.1, batch=0)), some
    ).model.params


def test_lost_answers_leave_the_mean_of_the_others() -> None:
    run = tacit.simulate(
        federation(quorum=3, deadline=10.0, algorithm=tacit.fedavg(lr=0.1, batch=0)),
        data(),
        faults=lambda r, c: Fault(drop=c in (1, 4)),
    )
    assert np.allclose(run.model.params, mean_of([0, 2, 3], 4), atol=1e-12)
    assert run.history[-1]["seconds"] == pytest.approx(40.0)


def test_an_answer_behind_the_deadline_is_not_in_the_sum() -> None:
    run = tacit.simulate(
        federation(quorum=3, deadline=10.0, algorithm=tacit.fedavg(lr=0.1, batch=0)),
        data(),
        faults=lambda r, c: Fault(delay=11.0 if c == 2 else 1.0),
    )
    assert np.allclose(run.model.params, mean_of([0, 1, 3, 4], 4), atol=1e-12)


def test_a_client_that_fails_is_named_and_the_run_goes_on_with_a_quorum() -> None:
    run = tacit.simulate(
        federation(quorum=4), data(), faults=lambda r, c: Fault(fail="round.lost" if c == 3 else "")
    )
    assert [p.client for p in run.problems] == ["site-3"] * 4
    assert run.history[-1]["failed"] == 1


def test_too_few_answers_end_the_run_with_the_causes() -> None:
    with pytest.raises(tacit.TacitError) as caught:
        tacit.simulate(
            federation(), data(), faults=lambda r, c: Fault(fail="round.lost" if c == 3 else "")
        )
    assert caught.value.code == "round.quorum" and "site-3" in str(caught.value)


def test_divergence_is_named_not_averaged() -> None:
    held = data()
    x, y = held["site-2"]
    held["site-2"] = (1e200 * x, y)
    task = tacit.numpy.ridge_regression()
    contract = tacit.arrays(shape=(4,))
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(tacit.TacitError) as caught:
        tacit.simulate(federation(task=task, data=contract), held)
    assert "site-2" in caught.value.cause and "NaN" in caught.value.cause


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda x, y: (x[:0], y[:0]), "data.empty"),
        (lambda x, y: (np.where(x == x[1], np.nan, x), y), "data.not-finite"),
        (lambda x, y: (x[:, :3], y), "data.shape"),
        (lambda x, y: (x, y + 1), "data.label-range"),
        (lambda x, y: (x, y[:-1]), "data.lengths-differ"),
    ],
)
def test_bad_data_at_one_site_is_named_before_anything_runs(change: Any, code: str) -> None:
    held = data()
    held["site-1"] = change(*held["site-1"])
    with pytest.raises(tacit.TacitError) as caught:
        tacit.simulate(federation(), held)
    assert caught.value.code == code and "site-1" in caught.value.cause and caught.value.remedy


def test_the_number_of_clients_must_fit() -> None:
    with pytest.raises(tacit.TacitError, match="4 clients, but the federation is described for 5"):
        tacit.simulate(federation(), data(4))


def test_a_zero_variance_column_and_a_single_class_do_no_harm() -> None:
    held = data()
    x, y = held["site-0"]
    held["site-0"] = (np.column_stack([x[:, :3], np.zeros(len(x))]), np.zeros_like(y))
    assert np.isfinite(tacit.simulate(federation(), held).model.params).all()


def test_the_journal_folds_to_the_end_of_the_run() -> None:
    run = tacit.simulate(federation(), data())
    rules = Rules(rounds=4, target=COUNT, quorum=COUNT)
    again = fold(rules, (event_from_plain(event_to_plain(e)) for e in run.outcome.journal))
    last = [e for e in run.outcome.journal if isinstance(e, Closed)][-1]
    assert again.over and again.model == last.model
    assert sum(isinstance(e, Answered) for e in run.outcome.journal) == 4 * COUNT


def test_over_selection_takes_the_first_and_commits_memory_of_the_included_only() -> None:
    chain = (tacit.top_k(0.25), tacit.weigh(), tacit.plain_sum(), tacit.mean())
    cohort = tacit.fixed(size=3, spare=2)
    slow = {0, 4}
    plan = federation(protect=chain, cohort=cohort).plan()
    backend = Exact(plan, as_clients(data()), Key.seed(0))
    outcome = run_plan(
        plan,
        backend.clients,
        backend.key,
        faults=lambda r, c: Fault(delay=5.0 if c in slow else 0.0),
        backend=backend,
    )
    assert set(backend.memories) == {1, 2, 3}
    assert outcome.history[-1]["answers"] == 3


def test_top_k_with_feedback_sends_everything_in_the_end() -> None:
    chain = (tacit.top_k(0.4), tacit.weigh(), tacit.plain_sum(), tacit.mean())
    sgd = tacit.fedsgd(lr=0.2)
    dense = tacit.simulate(federation(rounds=300, algorithm=sgd), data()).model.params
    thin = tacit.simulate(federation(rounds=300, algorithm=sgd, protect=chain), data()).model.params
    lossy = (tacit.top_k(0.4, feedback=False), tacit.weigh(), tacit.plain_sum(), tacit.mean())
    cut = tacit.simulate(federation(rounds=300, algorithm=sgd, protect=lossy), data()).model.params
    assert np.linalg.norm(thin - dense) < 0.2 * np.linalg.norm(cut - dense)


def test_a_secure_sum_gives_the_mean_of_the_clear_one() -> None:
    chain = (
        tacit.clip(10.0),
        tacit.weigh(cap=30),
        tacit.quantise(levels=10**6),
        tacit.secure_sum(),
        tacit.mean(),
    )
    clear = tacit.simulate(federation(), data()).model.params
    hidden = tacit.simulate(federation(protect=chain), data()).model.params
    assert np.allclose(clear, hidden, atol=1e-3)


def test_poisson_cohorts_are_waited_for_as_a_whole() -> None:
    run = tacit.simulate(
        federation(cohort=tacit.poisson(0.6), quorum=1, rounds=30, patience=30), data()
    )
    counts = [row["answers"] for row in run.history]
    assert max(counts) == COUNT and len(set(counts)) > 2


def test_metrics_travel_as_tallies_of_the_same_message() -> None:
    run = tacit.simulate(federation(metrics=("loss", "accuracy")), data())
    row = run.history[0]
    assert row["reported_loss"] == pytest.approx(np.log(2))
    assert 0 <= row["reported_worst"] <= row["reported_accuracy"] <= 1
    assert [b.name for b in run.plan.message.blocks] == ["update", "weight", "loss", "accuracy"]


@settings(max_examples=25)
@given(st.data())
def test_any_schedule_of_faults_gives_a_mean_of_who_was_included(draw: st.DataObject) -> None:
    """Generated delays, losses, repeats, failures: each round is the included clients' mean."""
    fault = st.builds(
        Fault,
        st.floats(0, 20),
        st.booleans(),
        st.integers(0, 2),
        st.sampled_from(["", "", "round.lost"]),
    )
    table = {(r, c): draw.draw(fault) for r in range(3) for c in range(COUNT)}
    plan = federation(
        rounds=3, quorum=1, deadline=10.0, patience=5, algorithm=tacit.fedsgd(lr=0.5)
    ).plan()
    try:
        outcome = run_plan(plan, as_clients(data()), Key.seed(0), faults=lambda r, c: table[r, c])
    except tacit.TacitError as error:
        assert error.code == "round.quorum"
        return
    params = plan.task.start(Key.seed(0))
    for r in range(3):
        inside = [
            c
            for c in range(COUNT)
            if not table[r, c].drop and not table[r, c].fail and table[r, c].delay <= 10.0
        ]
        if not inside:
            continue
        held = [Examples(*pair) for i, pair in enumerate(data().values()) if i in inside]
        sums = [one.count * plan.task.grad(params, one, Key.seed(0)).trained for one in held]
        params = params - 0.5 * np.sum(sums, axis=0) / sum(one.count for one in held)
    assert np.allclose(outcome.params, params, atol=1e-9)


def test_at_most_twelve_functions_between_the_call_and_a_gradient(monkeypatch: Any) -> None:
    from tacit.learn.numpy import Network

    depths: list[int] = []
    grad = Network.grad

    def spy(self: Any, *arguments: Any) -> Any:
        frame, depth = sys._getframe(1), 1
        while frame is not None and "tacit" in str(frame.f_globals.get("__name__")):
            frame, depth = frame.f_back, depth + 1  # type: ignore[assignment]  # ends at None
        depths.append(depth)
        return grad(self, *arguments)

    monkeypatch.setattr(Network, "grad", spy)
    tacit.simulate(federation(rounds=1), data())
    assert depths and max(depths) <= 12


def test_clients_by_index_are_checked_when_they_are_read() -> None:
    class Late:
        def __len__(self) -> int:
            return COUNT

        def name(self, index: int) -> str:
            return f"late-{index}"

        def examples(self, index: int) -> Examples:
            x, y = list(data().values())[index]
            return Examples(x, y + 7 if index == 2 else y)

    run = tacit.simulate(federation(quorum=4), Late())
    assert {p.client for p in run.problems} == {"late-2"}
    assert run.problems[0].error.code == "data.label-range"
