"""The pool gives the exact engine's numbers, whatever happens to its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tacit
from tacit import trees
from tacit.base.key import Key
from tacit.learn.algorithm import AlgorithmSpec
from tacit.learn.examples import as_clients
from tacit.learn.kmeans import kmeans
from tacit.plan.build import Plan
from tacit.plan.kinds import PARTS
from tacit.sim import pool as pools
from tacit.sim.backend import Receipt, Refusal
from tacit.sim.dispatch import Dispatch, portions
from tacit.sim.engine import Outcome, run_plan
from tacit.sim.exact import Exact
from tacit.sim.faults import Fault
from tacit.sim.pool import Processes, pool
from tacit.sim.stacked import Stacked
from tests.sim.crews import COUNT, Troubled, Unpicklable, data, federation
from tests.sim.stacking import SETTINGS

KEY = Key.seed(1)


@pytest.fixture(scope="module")
def crew() -> Iterator[Processes]:
    """Two processes for many plans."""
    found = Processes(2)
    yield found
    found.close()
    assert not found.members and not found.blocks


def spec(kind: str) -> AlgorithmSpec:
    """An algorithm of that kind, with small batches."""
    made = PARTS["algorithm"][kind]
    fields = made.__dataclass_fields__
    settings = {"lr": 0.1, "batch": 4, **SETTINGS.get(kind, {}), "personal": ("bias0",)}
    found: AlgorithmSpec = made(**{name: held for name, held in settings.items() if name in fields})
    return found


def on(crew: Processes, plan: Plan, clients: Any, inner: Any = Exact, **more: Any) -> Outcome:
    """A run on processes that go on after it."""
    crew.begin(plan, clients, KEY, inner)
    backend = Dispatch(plan, clients, crew, exact=inner is Exact, lent=True)
    return run_plan(plan, clients, KEY, backend=backend, **more)


def apart(one: Outcome, two: Outcome) -> float:
    """The largest difference between the models of two runs, the clients' own among them."""
    pairs = [(one.params, two.params)]
    pairs += [(one.models.of(i), two.models.of(i)) for i in range(COUNT)]
    return max(float(np.abs(a - b).max()) for a, b in pairs)


OWN = {
    "boosting": (trees.boosted_trees(trees=1, depth=3, bins=8), trees.boosting()),
    "lloyd": (kmeans(3), tacit.lloyd()),
}
"""Algorithms that train a task of their own."""

IN_TORCH = {"fedbn"}
"""Tested with torch modules."""


@pytest.mark.parametrize("kind", sorted(PARTS["algorithm"].keys() - OWN.keys() - IN_TORCH))
def test_every_algorithm(crew: Processes, kind: str) -> None:
    """On ragged clients, some drawn a round, so that memories travel between processes."""
    same(crew, federation(task=tacit.numpy.mlp((6,)), algorithm=spec(kind)))


@pytest.mark.parametrize("kind", OWN)
def test_every_algorithm_with_its_own_task(crew: Processes, kind: str) -> None:
    task, algorithm = OWN[kind]
    contract = tacit.arrays(shape=(4,), classes=2, low=0.0, high=1.0)
    same(crew, federation(task=task, algorithm=algorithm, data=contract))


def same(crew: Processes, federated: tacit.Federation) -> None:
    """The exact engine's models and history."""
    plan = federated.replace(cohort=tacit.fixed(size=5), rounds=4).plan()
    held = {name: (1 / (1 + np.exp(-x)), y) for name, (x, y) in data().items()}
    clients = as_clients(held)
    exact, found = run_plan(plan, clients, KEY), on(crew, plan, clients)
    assert apart(exact, found) < 1e-9
    assert [row["answers"] for row in found.history] == [5] * 4
    for one, two in zip(exact.history, found.history, strict=True):
        assert one == pytest.approx(two, rel=1e-9, nan_ok=True)


CHAINS = {
    "secure": (
        tacit.clip(5.0),
        tacit.weigh(cap=30),
        tacit.quantise(levels=10**6),
        tacit.secure_sum(),
        tacit.mean(),
    ),
    "feedback": (tacit.top_k(0.4), tacit.weigh(), tacit.plain_sum(), tacit.mean()),
    "noise": tacit.distributed_dp(epsilon=50.0, delta=1e-5, clip=1.0),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_chains_with_whole_numbers_give_the_same_bits(crew: Processes, chain: str) -> None:
    """Whole numbers add up alike in any order; noise comes from the clients' own keys."""
    plan, clients = federation(protect=CHAINS[chain]).plan(), as_clients(data())
    exact, found = run_plan(plan, clients, KEY), on(crew, plan, clients)
    if plan.client_steps[-1].before.real:
        assert apart(exact, found) < 1e-9
    else:
        assert exact.params.tobytes() == found.params.tobytes()


def test_processes_that_stack(crew: Processes) -> None:
    plan, clients = federation(cohort=tacit.fixed(size=6)).plan(), as_clients(data())
    assert apart(run_plan(plan, clients, KEY), on(crew, plan, clients, Stacked)) < 1e-9


def test_over_selection_deadlines_and_losses_are_those_of_the_exact_engine(
    crew: Processes,
) -> None:
    def faults(round_: int, client: int) -> Fault:
        late = (client + round_) % 2 == 0
        return Fault(delay=20.0 if late else client / 10, drop=client == 6 and round_ == 1)

    scaffold = tacit.scaffold(lr=0.1, batch=4, steps=5)
    plan = federation(
        algorithm=scaffold,
        cohort=tacit.fixed(size=3, spare=1),
        quorum=1,
        deadline=10.0,
        rounds=6,
    ).plan()
    clients = as_clients(data())
    exact = run_plan(plan, clients, KEY, faults=faults)
    found = on(crew, plan, clients, faults=faults)
    assert apart(exact, found) < 1e-9
    answers = [row["answers"] for row in found.history]
    assert answers == [row["answers"] for row in exact.history] and min(answers) < 3


def test_a_client_that_raises_is_named_with_its_traceback_and_left_out(
    crew: Processes, tmp_path: Path
) -> None:
    plan = federation(quorum=COUNT - 1).plan()
    clients = Troubled(tmp_path, raising=4)
    exact, found = run_plan(plan, clients, KEY), on(crew, plan, clients)
    assert apart_shared(exact, found) < 1e-9
    assert [(p.client, p.error.code) for p in found.problems] == [
        ("site-4", "round.code-failed")
    ] * 3
    assert "record 17" in found.problems[0].error.cause
    assert "in examples" in str(found.problems[0].error.__cause__)


def apart_shared(one: Outcome, two: Outcome) -> float:
    return float(np.abs(one.params - two.params).max())


@pytest.mark.parametrize("deaths", [1, 3])
def test_a_turn_that_kills_its_process_is_tried_once_more(
    crew: Processes, tmp_path: Path, deaths: int
) -> None:
    """One death changes nothing; two in a round leave the client out of that round, by name."""
    plan = federation(quorum=COUNT - 1, rounds=2).plan()
    clients = Troubled(tmp_path, deadly=2, deaths=deaths)
    found = on(crew, plan, clients)
    lost = [row["failed"] for row in found.history]
    if deaths == 1:
        assert lost == [0, 0] and not found.problems
        assert apart_shared(run_plan(plan, clients, KEY), found) < 1e-9
        return
    assert lost == [1, 0] and [p.client for p in found.problems] == ["site-2"]
    assert "SIGKILL" in found.problems[0].error.cause
    without = run_plan(
        plan, clients, KEY, faults=lambda r, c: Fault(fail="round.lost" if (r, c) == (0, 2) else "")
    )
    assert apart_shared(without, found) < 1e-9


def test_answers_that_died_with_their_process_are_computed_again(crew: Processes) -> None:
    """All processes are killed when the answers are there, and again when memories are due."""
    scaffold = tacit.scaffold(lr=0.1, batch=4, steps=5)
    plan, clients = federation(algorithm=scaffold).plan(), as_clients(data())
    offer = plan.algorithm.offer(plan.algorithm.start(plan.start(KEY)))
    crew.begin(plan, clients, KEY)
    dispatch, exact = Dispatch(plan, clients, crew, lent=True), Exact(plan, clients, KEY)
    for backend in (exact, dispatch):
        backend.open(0, offer)
        receipts = [one for one in backend.take(range(COUNT)) if isinstance(one, Receipt)]
        assert len(receipts) == COUNT
    kill(crew)
    (one, count), (two, again) = exact.total([5, 1, 3]), dispatch.total([5, 1, 3])
    assert count == again == 3 and np.allclose(one, two, atol=1e-12)
    kill(crew)
    for client in (5, 1, 3):
        exact.commit(client)
        dispatch.commit(client)
    assert sorted(dispatch.memories) == [1, 3, 5]
    for client in (1, 3, 5):
        a, b = exact.memory(client), dispatch.memory(client)
        assert a.keys() == b.keys() and np.array_equal(a["algorithm"], b["algorithm"])


def kill(crew: Processes) -> None:
    for member in crew.members:
        assert member.process.pid is not None
        os.kill(member.process.pid, signal.SIGKILL)


def test_results_that_nobody_waited_for_do_no_harm(crew: Processes) -> None:
    plan, clients = federation().plan(), as_clients(data())
    offer = plan.algorithm.offer(plan.algorithm.start(plan.start(KEY)))
    crew.begin(plan, clients, KEY)
    dispatch, exact = Dispatch(plan, clients, crew, lent=True), Exact(plan, clients, KEY)
    dispatch.open(0, offer)
    next(iter(dispatch.take(range(COUNT))))
    for backend in (exact, dispatch):
        backend.open(1, {"params": offer["params"] + 1})
        list(backend.take([2, 4, 6]))
    assert np.allclose(exact.total([2, 4, 6])[0], dispatch.total([2, 4, 6])[0], atol=1e-12)


@pytest.mark.parametrize(
    ("sizes", "parts", "expected"),
    [
        ([5, 1, 9, 1, 4], 2, [(2,), (0, 4, 1), (3,)]),
        ([1, 1, 1, 1], 2, [(0, 1), (2, 3)]),
        ([7], 8, [(0,)]),
        ([], 4, []),
    ],
)
def test_the_longest_come_first(
    sizes: list[int], parts: int, expected: list[tuple[int, ...]]
) -> None:
    assert portions(range(len(sizes)), lambda client: sizes[client], parts) == expected


SHARED = Path("/dev/shm")  # noqa: S108  # looked at, not written to


def names() -> set[str]:
    return {path.name for path in SHARED.iterdir()}


def test_nothing_is_left_behind() -> None:
    before = names()
    backend = pool(federation().plan(), as_clients(data()), KEY, 2)
    crew = backend.crew
    assert isinstance(crew, Processes)
    backend.open(0, {"params": np.zeros(5)})
    processes = [member.process.pid for member in crew.members]
    assert len(names() - before) >= 2
    backend.close()
    backend.close()
    assert not crew.blocks and not any(alive(pid) for pid in processes)


def alive(pid: int | None) -> bool:
    assert pid is not None
    return Path(f"/proc/{pid}").exists()


SCRIPT = """
import os, sys, time
import numpy as np
import tacit

draw = np.random.default_rng(0)
data = {f"c{i}": (draw.normal(size=(9, 4)), draw.integers(0, 2, 9)) for i in range(4)}
federation = tacit.Federation(
    task=tacit.numpy.logistic_regression(), clients=4, rounds=10**6,
    data=tacit.arrays(shape=(4,), classes=2), algorithm=tacit.fedavg(lr=0.1),
)
def told(row):
    if row["round"] == 2:
        children = open(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read()
        maps = open("/proc/self/maps").read().split()
        print(children, "|", *[one[9:] for one in maps if "/psm_" in one], flush=True)
tacit.simulate(federation, data, engine="pool", workers=2, progress=told)
"""
"""A script as users write it: without a guard against being imported."""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_a_script_that_is_interrupted_leaves_no_processes_and_no_shared_memory(
    tmp_path: Path, ending: signal.Signals
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        children, _, blocks = running.stdout.readline().partition("|")
        if ending is signal.SIGINT:
            os.killpg(running.pid, ending)  # as a terminal does: to all of them
        else:
            running.kill()
        complaint = running.stderr.read()
    assert running.returncode == -ending
    assert len(children.split()) >= 2 and blocks.split()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children.split()))
    wait_for(lambda: not names() & set(blocks.split()))
    if ending is signal.SIGINT:
        assert complaint.count("Traceback") == 1 and "leaked" not in complaint


def wait_for(condition: Any) -> None:
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen within ten seconds")


@pytest.mark.parametrize(
    ("clients", "code"), [(Unpicklable, "run.worker-send"), (Troubled, "run.worker-send")]
)
def test_clients_that_cannot_travel_are_refused(
    tmp_path: Path, clients: Any, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both what does not pickle, and classes of the script itself, which the other end lacks."""
    before = names()
    if clients is Troubled:
        monkeypatch.setattr(Troubled, "__module__", "__main__")
        monkeypatch.setattr(sys.modules["__main__"], "Troubled", Troubled, raising=False)
    with pytest.raises(tacit.TacitError) as caught:
        tacit.simulate(federation(), clients(tmp_path), engine="pool", workers=1)
    assert caught.value.code == code and "clients" in caught.value.cause
    assert "module" in caught.value.remedy
    assert not {one for one in names() - before if one.startswith("psm_")} & owned()


def owned() -> set[str]:
    """Blocks that this process has mapped."""
    text = Path("/proc/self/maps").read_text("utf-8")
    return {line.split("/")[-1].split()[0] for line in text.splitlines() if "psm_" in line}


def test_too_little_shared_memory_is_said_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: full)
    with pytest.raises(tacit.TacitError) as caught:
        tacit.simulate(federation(), data(), engine="pool", workers=1)
    assert caught.value.code == "run.no-shared-memory"


def test_processes_that_cannot_begin_are_an_error_not_a_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pools, "serve", os._exit)
    with pytest.raises(tacit.TacitError) as caught:
        tacit.simulate(federation(), data(), engine="pool", workers=1)
    assert caught.value.code == "run.worker-start" and "exit status" in caught.value.cause


def test_workers_and_engines_are_checked() -> None:
    for engine, workers, code in (
        ("pol", 0, "run.engine"),
        ("pool", -1, "task.setting"),
        ("exact", 2, "run.engine-alone"),
    ):
        with pytest.raises(tacit.TacitError) as caught:
            tacit.simulate(federation(), data(), engine=engine, workers=workers)
        assert caught.value.code == code


def test_the_facade_says_where_clients_ran() -> None:
    run = tacit.simulate(federation(), data(), engine="pool", workers=1)
    assert run.outcome.notices == ("Clients run on 1 process with one thread each.",)
    assert np.allclose(run.model.params, tacit.simulate(federation(), data()).model.params)


def test_a_refusal_travels_whole() -> None:
    from tacit.sim.backend import Problem
    from tacit.sim.work import Refused

    error = tacit.TacitError("round.lost", client="site-1")
    refusal = Refused(Refusal(1, Problem(0, "site-1", error)), "Traceback: here").here()
    assert str(refusal.problem.error.__cause__).strip() == "Traceback: here"
