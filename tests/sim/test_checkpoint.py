"""A simulation that is killed and resumed ends with the bits of the undisturbed one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tacit
from tacit.base.errors import TacitError
from tacit.sim.checkpoint import Checkpoints
from tacit.sim.faults import Fault
from tacit.sim.simulate import simulate as outcome_of
from tests.sim import checkpoint_case as case


@cache
def undisturbed() -> tacit.Run:
    return case.simulate(None)


def same(run: tacit.Run) -> bool:
    """Everything that a run leaves, but for the notices."""
    whole = undisturbed()
    assert run.model.params.tobytes() == whole.model.params.tobytes()
    assert run.outcome.journal == whole.outcome.journal
    assert run.history == whole.history
    assert run.outcome.final == whole.outcome.final
    assert [(p.round, p.client, str(p.error)) for p in run.problems] == [
        (p.round, p.client, str(p.error)) for p in whole.problems
    ]
    return run.bytes == whole.bytes


def process(folder: Path, *more: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "tests.sim.checkpoint_case", str(folder)]
    root = Path(__file__).parents[2]
    return subprocess.Popen([*arguments, *more], stdout=subprocess.PIPE, text=True, cwd=root)


class Stopped(BaseException):
    """What a test raises to end a run somewhere."""


def stop_after(rounds: int) -> Any:
    def told(row: dict[str, float]) -> None:
        if row["round"] > rounds:
            raise Stopped

    return told


def stopped(folder: Path | Checkpoints, rounds: int, **arguments: Any) -> None:
    with pytest.raises(Stopped):
        case.simulate(folder, progress=stop_after(rounds), **arguments)


def test_the_case_uses_what_a_checkpoint_must_hold() -> None:
    run = undisturbed()
    assert len(run.history) == case.ROUNDS - 1, "one round is given up"
    assert run.problems
    assert run.outcome.models.memory(0) or run.outcome.models.memory(1)


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment_and_resumed(tmp_path: Path, seed: int) -> None:
    chance = np.random.default_rng(seed)
    model = tmp_path / "model"
    for _ in range(2):
        with process(tmp_path / "kept", str(model)) as running:
            assert running.stdout is not None
            for _ in range(chance.integers(1, 6)):
                running.stdout.readline()
            time.sleep(chance.uniform(0, 0.01))
            running.send_signal(signal.SIGKILL)
    assert same(case.simulate(tmp_path / "kept"))


@pytest.mark.parametrize("flush", [1, 2, 3, 8, 12])
def test_killed_while_it_writes_a_checkpoint(tmp_path: Path, flush: int) -> None:
    folder = tmp_path / "kept"
    with process(folder, str(tmp_path / "model"), f"fsync:{flush}") as running:
        running.communicate()
    assert running.returncode == -signal.SIGKILL
    assert same(case.simulate(folder))
    with process(folder, str(tmp_path / "model")) as running:
        assert running.communicate()[0] == "", "a finished run is not run again"
    assert (tmp_path / "model").read_bytes() == undisturbed().model.params.tobytes()
    assert not list(folder.glob(".*")), "nothing half-written is left"


@settings(max_examples=20)
@given(st.lists(st.integers(0, case.ROUNDS - 3), max_size=3), st.integers(1, 5))
def test_stopped_anywhere_with_checkpoints_now_and_then(stops: list[int], every: int) -> None:
    with TemporaryDirectory() as folder:
        kept = tacit.checkpoints(folder, every)
        for rounds in sorted(stops):
            stopped(kept, rounds)
        run = case.simulate(kept)
        assert same(run)
        assert len(list(Path(folder).glob("checkpoint-*.json"))) <= 2


@settings(max_examples=40)
@given(st.data())
def test_damage_is_noticed_and_never_changes_the_model(draw: st.DataObject) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        stopped(folder, 5)
        files = sorted(path for path in folder.iterdir())
        hurt = draw.draw(st.sampled_from(files))
        content = bytearray(hurt.read_bytes())
        place = draw.draw(st.integers(0, len(content) - 1))
        if draw.draw(st.booleans()):
            hurt.write_bytes(content[:place])
        else:
            content[place] ^= 1 << draw.draw(st.integers(0, 7))
            hurt.write_bytes(content)
        try:
            run = case.simulate(folder)
        except TacitError as error:
            assert error.code == "run.checkpoint-damaged" and hurt.name == "journal.jsonl"
            return
        assert same(run)
        if "000005" in hurt.name or hurt.name == "journal.jsonl":
            assert "after round 5 is damaged" in run.outcome.notices[0]
            assert "Resumed after round 4" in run.outcome.notices[0]


def test_a_whole_damaged_folder_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    stopped(tmp_path, 5)
    for path in tmp_path.glob("checkpoint-*"):
        path.write_text("{}")
    with pytest.raises(TacitError, match="No checkpoint in") as caught:
        case.simulate(tmp_path)
    assert caught.value.code == "run.checkpoint-damaged"


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"federation": case.federation(rounds=13)}, "another federation"),
        ({"seed": 4}, "another seed"),
        ({"data": case.data(1.0)}, "other training data"),
        ({"test": None}, "other test data"),
        ({"seed": 4, "test": None}, "another seed and other test data"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, other: Any, what: str) -> None:
    stopped(tmp_path, 5)
    with pytest.raises(TacitError) as caught:
        case.simulate(tmp_path, **other)
    assert caught.value.code == "run.checkpoint-other" and what in caught.value.cause


def test_a_resumed_run_says_so(tmp_path: Path) -> None:
    stopped(tmp_path, 5)
    run = case.simulate(tmp_path)
    assert "note: Resumed after round 5" in run.summary()
    assert undisturbed().outcome.notices == ()


def test_the_stacked_engine_resumes_to_its_own_bits(tmp_path: Path) -> None:
    whole = case.simulate(None, engine="stacked")
    stopped(tmp_path, 5, engine="stacked")
    for _ in range(2):
        run = case.simulate(tmp_path, engine="stacked")
        assert run.model.params.tobytes() == whole.model.params.tobytes()
        assert run.outcome.journal == whole.outcome.journal
    with pytest.raises(TacitError, match="another engine"):
        case.simulate(tmp_path)


def test_processes_resume_to_the_same_model(tmp_path: Path) -> None:
    """Which process adds which answers depends on their speed: the last bits of a float sum may."""
    whole = case.simulate(None, engine="pool")
    stopped(tmp_path, 5, engine="pool")
    run = case.simulate(tmp_path, engine="pool")
    assert np.allclose(run.model.params, whole.model.params, rtol=0, atol=1e-12)
    assert len(run.history) == len(whole.history)


def test_state_that_cannot_be_stored_is_named(tmp_path: Path) -> None:
    plan = case.federation(protect=tacit.plain()).plan()
    algorithm = plan.algorithm._replace(
        apply=lambda state, found, layout: {**state, "odd": {"one": object()}}
    )
    odd = type(plan)(**{**vars(plan), "algorithm": algorithm})
    with pytest.raises(TacitError) as caught:
        outcome_of(odd, case.data(), checkpoint=tmp_path)
    assert caught.value.code == "run.not-storable" and "['odd']['one']" in caught.value.cause


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TacitError) as caught:
        case.simulate(tmp_path / "file" / "kept")
    assert caught.value.code == "run.cannot-write"


def test_a_failed_run_goes_on_from_its_last_round(tmp_path: Path) -> None:
    plain = case.federation(protect=tacit.plain(), quorum=4, patience=1)
    fails = np.isin(np.arange(case.ROUNDS), [6])

    def trouble(round_: int, client: int) -> Any:
        return Fault(fail="round.lost" if fails[round_] else "")

    with pytest.raises(TacitError, match="Too few"):
        case.simulate(tmp_path, federation=plain, faults=trouble)
    fails[:] = False
    run = case.simulate(tmp_path, federation=plain, faults=trouble)
    calm = case.simulate(None, federation=plain, faults=trouble)
    assert run.model.params.tobytes() == calm.model.params.tobytes()
