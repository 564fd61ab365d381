"""Buffered asynchronous rounds (FedBuff): the paper's equations, and its claim on one trace."""

from __future__ import annotations

import heapq
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tacit
from tacit.base.errors import TacitError, Unsound
from tacit.base.key import Key
from tacit.learn.examples import Examples
from tacit.record.time_to import time_to
from tacit.round.events import Answered, event_from_plain, event_to_plain
from tacit.round.machine import fold
from tacit.sim.engine import rules
from tacit.sim.faults import Fault
from tests.sim.population import Synthetic

COUNT = 7
UNIFORM = (tacit.plain_sum(), tacit.mean(over=-1))


def data(count: int = COUNT, features: int = 4) -> dict[str, tuple[Any, Any]]:
    draw = np.random.default_rng(3)
    true = draw.normal(size=features)
    found = {}
    for i in range(count):
        x = draw.normal(size=(6 + 3 * (i % 5), features)) + 0.5 * draw.normal(size=features)
        found[f"site-{i}"] = (x, (x @ true + 0.3 * draw.normal(size=len(x)) > 0).astype(int))
    return found


def federation(**changes: Any) -> tacit.Federation:
    base = tacit.Federation(
        task=tacit.numpy.logistic_regression(),
        clients=COUNT,
        data=tacit.arrays(shape=(4,), classes=2),
        algorithm=tacit.fedbuff(lr=0.2, batch=0, steps=3, server_lr=0.7),
        protect=UNIFORM,
        cohort=tacit.buffered(size=2, concurrency=COUNT),
        rounds=12,
    )
    return base.replace(**changes)


def duration(client: int) -> float:
    return [1.0, 1.7, 9.3, 2.9, 3.1, 4.13, 17.0][client]


def reference(power: float) -> tuple[Any, float, list[float]]:
    """Algorithm 1 of Nguyen et al. 2022 where everybody who is free is asked at once."""
    plan, held = federation().plan(), list(examples().values())
    w, version, now = plan.task.start(Key.seed(0)), 0, 0.0
    queue = [(duration(i), i, 0, w) for i in range(COUNT)]
    heapq.heapify(queue)
    buffer: list[tuple[int, int, Any]] = []
    ages = []
    while version < 12:
        now, client, began, model = heapq.heappop(queue)
        y = model.copy()
        for _ in range(3):
            y = y - 0.2 * plan.task.grad(y, held[client], Key.seed(0)).trained
        buffer.append((client, began, y - model))
        if len(buffer) == 2:
            w = w + 0.7 / 2 * sum((1 + version - old) ** -power * d for _, old, d in buffer)
            ages.append(float(np.mean([version - old for _, old, _ in buffer])))
            version += 1
            for client, _, _ in buffer:
                heapq.heappush(queue, (now + duration(client), client, version, w))
            buffer = []
    return w, now, ages


def examples() -> dict[str, Examples]:
    return {name: Examples(*pair) for name, pair in data().items()}


@pytest.mark.parametrize("power", [0.5, 0.0, 2.0])
def test_it_is_the_papers_algorithm(power: float) -> None:
    cohort = tacit.buffered(size=2, concurrency=COUNT, staleness=power)
    run = tacit.simulate(
        federation(cohort=cohort), data(), faults=lambda r, c: Fault(delay=duration(c))
    )
    params, seconds, ages = reference(power)
    assert np.allclose(run.model.params, params, atol=1e-12)
    assert run.history[-1]["seconds"] == pytest.approx(seconds)
    assert [row["staleness"] for row in run.history] == ages
    assert max(ages) > 1, "the case has stale answers"


def test_the_weights_of_the_paper() -> None:
    cohort = tacit.buffered(size=2, concurrency=3)
    assert [cohort.weight(s) for s in (0, 1, 3)] == pytest.approx([1, 2**-0.5, 0.5])


def test_it_is_plain_data_and_says_what_it_does() -> None:
    described = federation()
    again = tacit.Federation.from_toml(described.to_toml())
    assert again == described and again.digest == described.digest
    assert "asynchronously: 2 arrivals make a round" in str(described.check())


def test_the_journal_folds_and_everyone_learns() -> None:
    run = tacit.simulate(federation(rounds=40), data(), faults=lambda r, c: Fault(delay=1.0 + c))
    journal = [event_from_plain(event_to_plain(event)) for event in run.outcome.journal]
    assert fold(rules(run.plan), journal).over
    assert {e.client for e in journal if isinstance(e, Answered)} == set(range(COUNT))


def test_repeated_lost_and_failed_answers_do_no_harm() -> None:
    def trouble(round_: int, client: int) -> Fault:
        odd = (round_ + client) % 4
        fail = "round.lost" if odd == 3 else ""
        return Fault(delay=1.0 + client, repeats=odd % 2, drop=odd == 2, fail=fail)

    chain = (tacit.top_k(0.5), tacit.weigh(), tacit.plain_sum(), tacit.mean())
    for deadline in (0.0, 5.0):
        described = federation(protect=chain, deadline=deadline, metrics=("loss",), rounds=20)
        run = tacit.simulate(described, data(), faults=trouble)
        assert len(run.history) >= 18 and np.isfinite(run.model.params).all()
    slow = {e.client for e in run.outcome.journal if isinstance(e, Answered)}
    assert slow == {0, 1, 2, 3, 4}, "an answer is waited for until the deadline"


def test_when_too_few_can_answer_the_run_ends_with_the_causes() -> None:
    with pytest.raises(TacitError, match="Too few clients answered: site-"):
        tacit.simulate(
            federation(cohort=tacit.buffered(size=3, concurrency=4)),
            data(),
            faults=lambda r, c: Fault(fail="round.lost" if c > 1 else ""),
        )


def test_a_secure_sum_and_moving_averages_are_refused_with_the_remedy() -> None:
    hidden = (tacit.clip(1.0), tacit.quantise(levels=100), tacit.secure_sum(), tacit.mean())
    with pytest.raises(Unsound, match="cannot be weighted inside") as caught:
        federation(protect=hidden, cohort=tacit.buffered(size=4, concurrency=5)).plan()
    assert caught.value.code == "round.buffered-hidden"


def test_an_engine_that_computes_whole_rounds_is_refused() -> None:
    with pytest.raises(TacitError) as caught:
        tacit.simulate(federation(), data(), engine="stacked")
    assert caught.value.code == "run.engine-buffered"
    assert tacit.simulate(federation(), data(), engine="auto").history


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"concurrency": 0}, {"staleness": -1}, {"staleness": np.inf}]
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(TacitError) as caught:
        tacit.buffered(**{"size": 2, "concurrency": 2, **wrong})
    assert caught.value.code == "task.setting" and next(iter(wrong)) in caught.value.cause


@pytest.mark.parametrize("stop", [1, 5, 11])
def test_stopped_and_resumed_with_answers_under_way(tmp_path: Path, stop: int) -> None:
    chain = (tacit.top_k(0.5), tacit.weigh(), tacit.plain_sum(), tacit.mean())
    arguments: dict[str, Any] = {
        "federation": federation(protect=chain, cohort=tacit.buffered(size=2, concurrency=5)),
        "data": data(),
        "test": data(),
        "devices": tacit.devices.lognormal(slow=0.4, dropout=0.1, seed=2),
    }

    def dies(row: dict[str, float]) -> None:
        if row["round"] > stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tacit.simulate(**arguments, checkpoint=tmp_path, progress=dies)
    again = tacit.simulate(**arguments, checkpoint=tmp_path)
    whole = tacit.simulate(**arguments)
    assert again.model.params.tobytes() == whole.model.params.tobytes()
    assert again.outcome.journal == whole.outcome.journal
    assert again.history == whole.history
    assert f"Resumed after round {stop} " in again.outcome.notices[0]


def test_presence_is_minded(tmp_path: Path) -> None:
    lines = [f"site-{i},{100 * i},{100 * i + 250}" for i in range(COUNT)]
    (tmp_path / "trace.csv").write_text("\n".join(["client,start,end", *lines]))
    devices = tacit.devices.lognormal(step=10.0, spread=0.0).during(tmp_path / "trace.csv", 1000)
    run = tacit.simulate(
        federation(rounds=40, cohort=tacit.buffered(size=2, concurrency=3)), data(), devices=devices
    )
    assert run.history[-1]["seconds"] > 1000
    assert {e.client for e in run.outcome.journal if isinstance(e, Answered)} == set(range(COUNT))


def test_with_stragglers_it_reaches_the_synchronous_accuracy_sooner() -> None:
    """20 % of devices take ten times as long; as many clients are at work in either case."""
    held, clients = data(40, 8), 40
    devices = tacit.devices.lognormal(step=1.0, spread=0.2, slow=0.2, factor=10.0, seed=1)
    shape = tacit.arrays(shape=(8,), classes=2)
    shared: dict[str, Any] = {"clients": clients, "data": shape, "protect": tacit.plain()}
    settings: dict[str, Any] = {"lr": 0.003, "batch": 5, "epochs": 1}
    quicker = []
    for seed in range(3):
        waits = tacit.simulate(
            federation(
                **shared, algorithm=tacit.fedavg(**settings), cohort=tacit.fixed(10), rounds=25
            ),
            held,
            seed,
            test=held,
            devices=devices,
        )
        goes_on = tacit.simulate(
            federation(
                **shared,
                algorithm=tacit.fedbuff(**settings),
                cohort=tacit.buffered(size=5, concurrency=10),
                rounds=100,
            ),
            held,
            seed,
            test=held,
            devices=devices,
        )
        level = waits.history[-1]["test_accuracy"]
        one, other = time_to(waits, level), time_to(goes_on, level)
        assert one is not None and other is not None
        quicker.append(one.seconds / other.seconds)
    assert min(quicker) > 2


def test_a_million_clients_by_index() -> None:
    run = tacit.simulate(
        federation(
            clients=1_000_000,
            data=tacit.arrays(shape=(20,), classes=2),
            cohort=tacit.buffered(size=10, concurrency=20),
            rounds=3,
        ),
        Synthetic(1_000_000),
        devices=tacit.devices.lognormal(),
    )
    assert run.history[-1]["answers"] == 10
