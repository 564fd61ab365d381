"""The stacked backend gives the exact one's numbers: every algorithm, ragged sizes, any chain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tacit
from tacit.base.key import Key
from tacit.learn.algorithm import AlgorithmSpec, Steps
from tacit.learn.examples import Examples, as_clients
from tacit.learn.local import Home
from tacit.learn.schedule import WASTE, Schedule
from tacit.sim.engine import run_plan
from tacit.sim.exact import Exact
from tacit.sim.faults import Fault
from tacit.sim.stacked import Stacked
from tests.sim.stacking import SIZES, algorithms, apart, both, data, federation, went_in_blocks

TASKS: dict[str, tuple[Any, int]] = {
    "logistic": (tacit.numpy.logistic_regression(), 3),
    "binary": (tacit.numpy.logistic_regression(l2=0.01), 2),
    "mlp": (tacit.numpy.mlp((6, 5), l2=0.01), 4),
}

WEIGHED = (tacit.weigh(), tacit.plain_sum(), tacit.mean())
CHAINS: dict[str, Any] = {
    "plain": WEIGHED,
    "capped": (tacit.weigh(cap=12), tacit.plain_sum(), tacit.mean()),
    "clipped": (tacit.clip(0.1), *WEIGHED),
    "secure": tacit.secure_average(clip=1.0, cap=20),
    "feedback": (tacit.top_k(0.3), *WEIGHED),
    "noised": tacit.local_dp(epsilon=50.0, delta=1e-5, clip=1.0),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("algorithm", algorithms("bias0"), ids=lambda one: one.kind)
def test_every_algorithm(algorithm: AlgorithmSpec, task: str) -> None:
    model, classes = TASKS[task]
    if algorithm.kind == "moon" and task != "mlp":
        return  # it compares hidden layers
    exact, stacked, backend = both(
        federation(model, (4,), classes, algorithm=algorithm), data((4,), classes)
    )
    assert went_in_blocks(algorithm, backend)
    assert apart(exact, stacked) < 1e-9
    for one, two in zip(exact.history, stacked.history, strict=True):
        assert one == pytest.approx(two, rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("chain", CHAINS)
def test_every_chain(chain: str) -> None:
    model, classes = TASKS["mlp"]
    federated = federation(model, (4,), classes, protect=CHAINS[chain], metrics=("loss",))
    exact, stacked, backend = both(federated, data((4,), classes))
    assert backend.block_of
    assert apart(exact, stacked) < (1e-4 if chain == "secure" else 1e-9)
    assert exact.history[-1]["reported_loss"] == pytest.approx(
        stacked.history[-1]["reported_loss"], abs=1e-3
    )


@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("sample", [1.0, 0.3])
def test_clipped_sums_of_records(l2: float, sample: float) -> None:
    protect = tacit.record_dp(epsilon=20.0, delta=1e-5, clip=0.5, sample=sample)
    federated = federation(
        tacit.numpy.mlp((5,), l2),
        (4,),
        3,
        protect=protect,
        algorithm=tacit.fedsgd(lr=0.1),
        cohort=tacit.everyone(),
    )
    exact, stacked, backend = both(federated, data((4,), 3))
    assert backend.block_of
    assert apart(exact, stacked) < 1e-4  # a sum may round to another step of the grid


@pytest.mark.parametrize("batch", [0, 1, 5, 100])
@pytest.mark.parametrize(("epochs", "steps"), [(1, 0), (3, 0), (1, 1), (1, 9)])
def test_every_way_to_cut_batches(batch: int, epochs: int, steps: int) -> None:
    algorithm = tacit.fedavg(0.1, epochs, batch, steps, local_momentum=0.5)
    exact, stacked, _ = both(
        federation(TASKS["mlp"][0], (4,), 4, algorithm=algorithm), data((4,), 4)
    )
    assert apart(exact, stacked) < 1e-9


def test_windows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    algorithm = tacit.fedavg(0.1, 3, 5)
    federated = federation(TASKS["mlp"][0], (4,), 4, algorithm=algorithm)
    monkeypatch.setattr("tacit.learn.schedule.WINDOW", 2000)
    exact, stacked, _ = both(federated, data((4,), 4))
    assert apart(exact, stacked) < 1e-9


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=30),
    st.integers(0, 12),
    st.integers(1, 3),
    st.integers(0, 7),
)
def test_a_schedule_takes_every_batch_and_pads_little(
    sizes: list[int], batch: int, epochs: int, some: int
) -> None:
    counts = np.array(sorted(sizes, reverse=True))
    steps = Steps(0.1, batch, epochs, some, shuffle=False)
    schedule = Schedule(counts, steps)
    task = tacit.numpy.logistic_regression().build(tacit.arrays((1,), 2))
    for row, count in enumerate(counts):
        held = Examples(np.zeros((count, 1)), np.zeros(count, np.int64))
        alone = sum(1 for _ in Home(task, held, Key.seed(0)).batches(steps))
        assert (schedule.lengths[row] > 0).sum() == alone == schedule.total[row]
    for step, active in enumerate(schedule.active):
        parts = list(schedule.parts(step))
        covered = [row for first, end, _ in parts for row in range(first, end)]
        assert covered == list(range(active))
        assert all(w >= schedule.lengths[a:b, step].max() for a, b, w in parts)
    if schedule.waste > WASTE:
        slots = sum(
            (b - a) * w for s in range(len(schedule.active)) for a, b, w in schedule.parts(s)
        )
        assert schedule.lengths.sum() >= (1 - WASTE) * slots


def test_lost_and_late_answers_are_not_in_the_sum() -> None:
    plan = federation(
        TASKS["mlp"][0], (4,), 4, cohort=tacit.fixed(size=4, spare=2), quorum=2
    ).plan()
    simple = federation(TASKS["mlp"][0], (4,), 4, quorum=2).plan()
    clients, key = as_clients(data((4,), 4)), Key.seed(0)

    def faults(round_: int, client: int) -> Fault:
        return Fault(delay=float((3 * client + round_) % 7), drop=(client + round_) % 5 == 0)

    for one in (plan, simple):
        runs = [
            run_plan(one, clients, key, faults=faults, backend=made(one, clients, key))
            for made in (Exact, Stacked)
        ]
        assert apart(*runs) < 1e-9
        assert [row["answers"] for row in runs[0].history] == [
            row["answers"] for row in runs[1].history
        ]


def test_memory_of_the_included_only_is_kept() -> None:
    plan = federation(
        TASKS["mlp"][0],
        (4,),
        4,
        algorithm=tacit.scaffold(lr=0.1, steps=3),
        cohort=tacit.fixed(size=3, spare=3),
        rounds=1,
    ).plan()
    clients, key = as_clients(data((4,), 4)), Key.seed(0)
    backend = Stacked(plan, clients, key)
    outcome = run_plan(plan, clients, key, backend=backend)
    assert len(set(backend.memories)) == outcome.history[0]["answers"] == 3


class Raising:
    """Clients of which two cannot be had: one never, one only its records are wrong."""

    def __init__(self) -> None:
        self.held = data((4,), 4)

    def __len__(self) -> int:
        return len(SIZES)

    def name(self, index: int) -> str:
        return f"site-{index}"

    def examples(self, index: int) -> Examples:
        if index == 2:
            raise OSError("disk on fire")
        x, y = self.held[index]
        return Examples(x, y + 40 if index == 5 else y)


def test_a_client_that_raises_is_named_and_the_others_count() -> None:
    plan = federation(TASKS["mlp"][0], (4,), 4, cohort=tacit.everyone(), quorum=4, rounds=2).plan()
    clients, key = Raising(), Key.seed(0)
    exact, stacked = (
        run_plan(plan, clients, key, backend=made(plan, clients, key)) for made in (Exact, Stacked)
    )
    assert sorted({p.client for p in stacked.problems}) == ["site-2", "site-5"]
    assert {p.error.cause for p in stacked.problems} == {p.error.cause for p in exact.problems}
    assert float(np.abs(exact.params - stacked.params).max()) < 1e-9


def test_divergence_of_one_client_is_named() -> None:
    held = data((4,), 4)
    held[3] = (1e200 * held[3][0], held[3][1])
    federated = federation(
        tacit.numpy.ridge_regression(), (4,), 0, cohort=tacit.everyone(), quorum=5, rounds=1
    )
    with np.errstate(over="ignore", invalid="ignore"):
        exact, stacked, _ = both(federated, [(x, y.astype(float)) for x, y in held])
    assert [p.error.code for p in stacked.problems] == ["round.update-not-finite"]
    assert stacked.problems[0].client == "client-3"
    assert float(np.abs(exact.params - stacked.params).max()) < 1e-9


def test_tasks_without_a_stacked_form_run_one_by_one_and_say_so() -> None:
    federated = federation(tacit.sklearn.task(records=100), (4,), 2, rounds=1)
    run = tacit.simulate(federated, data((4,), 2), engine="stacked")
    assert any("one by one: the task has no" in notice for notice in run.outcome.notices)


def test_the_engine_is_an_argument_of_simulate() -> None:
    federated = federation(TASKS["logistic"][0], (4,), 3)
    one = tacit.simulate(federated, data((4,), 3)).model.params
    run = tacit.simulate(federated, data((4,), 3), engine="stacked")
    assert float(np.abs(run.model.params - one).max()) < 1e-9
    assert any("blocks" in notice for notice in run.outcome.notices)
