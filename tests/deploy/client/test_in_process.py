from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tacit
from tacit.base.key import Key
from tacit.deploy.client.in_process import InProcess, during
from tacit.deploy.client.runner import Phase, TurnFailed, Work
from tacit.deploy.wire.answers import read_answer
from tacit.deploy.wire.packs import file_digest, read_pack, write_pack
from tacit.learn.examples import Examples
from tacit.plan.build import Plan
from tacit.plan.federation import Federation
from tacit.protect.stage import Stage
from tacit.round.turn import take_turn

FEDERATION = Federation(
    tacit.numpy.logistic_regression(),
    clients=4,
    algorithm=tacit.scaffold(lr=0.1, steps=3),
    data=tacit.arrays((3,), classes=2),
)


def records(count: int = 30) -> Examples:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(count, 3))
    return Examples(x, (x[:, 0] > 0).astype(np.int64))


def prepared(folder: Path, federation: Federation = FEDERATION) -> tuple[Plan, Work]:
    plan = federation.plan()
    state = plan.algorithm.start(plan.start(Key.seed(0)))
    write_pack(folder / "offer", plan.algorithm.offer(state))
    (folder / "out").mkdir()
    work = Work(
        "r", 2, 1, federation.plain, "d", folder / "offer", None, Key.seed(9), folder / "out"
    )
    return plan, work


@pytest.mark.parametrize(
    "protect",
    [tacit.plain(), tacit.secure_average(clip=1.0)],
    ids=["floats", "residues"],
)
def test_a_turn_is_take_turn_with_files_on_both_sides(
    tmp_path: Path, protect: tuple[Stage, ...]
) -> None:
    plan, work = prepared(tmp_path, FEDERATION.replace(protect=protect))
    done = asyncio.run(InProcess(lambda name, plan: records()).turn(work))
    offer = read_pack(work.offer)
    turn = take_turn(plan, records(), offer, {}, work.key, "client", work.round)
    answer = read_answer(done.answer, plan.message.size)
    np.testing.assert_array_equal(answer, turn.answer)
    assert done.examples == 30
    assert (done.digest, done.size) == (file_digest(done.answer), done.answer.stat().st_size)
    assert done.pending is not None
    pending = read_pack(done.pending)
    again = take_turn(plan, records(), offer, pending, work.key, "client", work.round)
    work = replace(work, memory=done.pending.rename(tmp_path / "memory"))
    second = InProcess(lambda name, plan: records()).take(work)
    np.testing.assert_array_equal(read_answer(second.answer, answer.size), again.answer)


def test_no_memory_is_no_file(tmp_path: Path) -> None:
    _, work = prepared(tmp_path, FEDERATION.replace(algorithm=tacit.fedavg(lr=0.1)))
    assert InProcess(lambda name, plan: records()).take(work).pending is None


def test_plans_are_built_once_and_only_a_few_are_kept(tmp_path: Path) -> None:
    runner = InProcess(lambda name, plan: records())
    first = runner.plan(FEDERATION.plain)
    assert runner.plan(dict(FEDERATION.plain)) is first
    for clients in range(5, 10):
        runner.plan(FEDERATION.replace(clients=clients).plain)
    assert len(runner.plans) == 4
    assert runner.plan(FEDERATION.plain) is not first


@pytest.mark.parametrize(
    ("change", "phase", "code"),
    [
        ("federation", "code", "description.unknown"),
        ("offer", "storage", "wire.pack"),
        ("memory", "storage", "wire.cannot-read"),
        ("folder", "storage", "data.cannot-write"),
        ("nan", "answer", "round.update-not-finite"),
        ("labels", "data", "data.label-range"),
        ("raises", "data", "dataset.failed"),
        ("memory-error", "resources", "worker.memory"),
        ("exits", "data", "dataset.failed"),
    ],
)
def test_failures_say_in_which_phase(tmp_path: Path, change: str, phase: str, code: str) -> None:
    _, work = prepared(tmp_path)

    def held(name: str, plan: Plan) -> Examples:
        x, y = records()
        match change:
            case "raises":
                raise ZeroDivisionError
            case "memory-error":
                raise MemoryError
            case "exits":
                raise SystemExit(3)
            case "labels":
                return Examples(x, y + 7)
        return Examples(x, y)

    (tmp_path / "broken").write_bytes(b"TACIT")
    spoilt = {name: np.full_like(one, np.nan) for name, one in read_pack(work.offer).items()}
    write_pack(tmp_path / "spoilt", spoilt)
    changes: dict[str, dict[str, Any]] = {
        "federation": {"federation": {**FEDERATION.plain, "algorithm": {"kind": "magic"}}},
        "offer": {"offer": tmp_path / "broken"},
        "nan": {"offer": tmp_path / "spoilt"},
        "memory": {"memory": tmp_path / "nowhere"},
        "folder": {"folder": tmp_path / "nowhere"},
    }
    with pytest.raises(TurnFailed) as caught, np.errstate(all="ignore"):
        InProcess(held).take(replace(work, **changes.get(change, {})))
    assert (caught.value.phase, caught.value.code) == (phase, code)
    assert caught.value.traceback
    assert len(caught.value.environment) == 64


@pytest.mark.parametrize("phase", ["code", "data", "storage"])
def test_an_interrupt_of_the_owner_is_no_failure_of_the_turn(phase: Phase) -> None:
    with pytest.raises(KeyboardInterrupt), during(phase):
        raise KeyboardInterrupt
