from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tacit
from tacit.base.errors import TacitError
from tacit.record import folder as written
from tacit.record.folder import ABOUT, KEYS, Saved, describe, history_csv, save_run, write_run
from tacit.record.run import Run
from tacit.record.stored import history_from, load_journal, load_meta, load_run, runs_in
from tacit.record.whole_folder import refuse_unwritable, whole_folder
from tacit.round.machine import Phase, Rules, fold
from tacit.sim.faults import Fault

PLAIN_FILES = {"federation.toml", "trust.txt", "history.csv", "journal.jsonl", "model.npz"}
DRAWN = {"curves.png", "curves.svg", "report.html"}


def undrawn(run: Run, place: Path) -> tuple[str, ...]:
    """Most tests need no pictures."""
    return ()


def hold(clients: int = 3) -> dict[str, tuple[Any, Any]]:
    random = np.random.default_rng(5)
    return {
        f"site-{i}": (random.normal(size=(20 + i, 3)), random.integers(2, size=20 + i))
        for i in range(clients)
    }


@pytest.fixture(scope="module")
def run() -> Run:
    federation = tacit.Federation(
        task=tacit.numpy.logistic_regression(),
        data=tacit.arrays(shape=(3,), classes=2),
        algorithm=tacit.fedavg(lr=0.1, batch=5),
        clients=3,
        rounds=3,
        quorum=2,
        metrics=("loss",),
        name="a small one",
    )

    def faults(round_: int, client: int) -> Fault:
        return Fault(fail="round.lost" if (round_, client) == (1, 2) else "")

    return tacit.simulate(federation, hold(), seed=4, test=hold(), faults=faults)


@pytest.fixture
def saved(run: Run, tmp_path: Path) -> Path:
    return write_run(run, tmp_path / "runs" / "one", undrawn).folder


def code(call: Callable[[], object]) -> str:
    with pytest.raises(TacitError) as refused:
        call()
    return refused.value.code


def test_a_run_folder_holds_everything_and_says_so(run: Run, tmp_path: Path) -> None:
    told = save_run(run, tmp_path / "one")
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert names == PLAIN_FILES | DRAWN | {ABOUT}
    assert str(tmp_path / "one") in told
    assert all(name in told for name in names)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_what_is_saved_comes_back(run: Run, saved: Path) -> None:
    stored = load_run(saved)
    assert stored.federation == run.plan.federation
    assert stored.history == run.history
    assert stored.name == "one"
    arrays = run.model.arrays()
    assert list(stored.params) == list(arrays)
    for name, array in arrays.items():
        assert stored.params[name].dtype == array.dtype
        np.testing.assert_array_equal(stored.params[name], array)


def test_the_journal_that_is_saved_folds_to_the_end_of_the_run(run: Run, saved: Path) -> None:
    journal = load_journal(saved)
    assert journal == run.outcome.journal
    state = fold(Rules(rounds=3, target=3, quorum=2), journal)
    assert (state.phase, state.round) == (Phase.DONE, 3)


def test_the_description_of_a_run_is_strict_json_with_every_key(run: Run, saved: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    meta = json.loads((saved / ABOUT).read_text("utf-8"), parse_constant=refuse)
    assert set(meta) == set(KEYS)
    assert meta["digest"] == run.plan.federation.digest
    assert meta["seed"] == 4
    assert meta["rounds"] == {"planned": 3, "counted": 3}
    assert meta["bytes"]["up"] + meta["bytes"]["down"] == run.bytes
    assert meta["final"]["clients"]["site-1"]["examples"] == 21
    assert run.final is not None
    assert meta["final"]["accuracy"] == run.final.accuracy
    assert {claim["epsilon"] for claim in meta["claims"]} == {None}  # nothing is promised
    (problem,) = meta["problems"]
    assert (problem["round"], problem["client"], problem["code"]) == (2, "site-2", "round.lost")
    assert set(meta["files"]) == PLAIN_FILES


def test_saving_again_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    one, two = (save_run(run, tmp_path / name) for name in ("one", "two"))
    assert one.replace("one", "two") == two
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


NUMBERS = st.floats() | st.integers(-(2**53), 2**53)
ROWS = st.lists(st.dictionaries(st.sampled_from(["round", "loss", "a,b"]), NUMBERS, min_size=1))


@given(ROWS)
@example([{"loss": np.float64(0.1), "round": np.int64(3)}])
def test_a_history_reads_back_to_the_last_bit(history: list[dict[str, float]]) -> None:
    back = history_from(history_csv(history).splitlines())
    assert [row.keys() for row in back] == [row.keys() for row in history]
    for found, row in zip(back, history, strict=True):
        for name, value in row.items():
            assert found[name] == value or (math.isnan(found[name]) and math.isnan(value))


def test_a_history_with_gaps_has_the_union_of_the_columns() -> None:
    text = history_csv([{"round": 1, "loss": math.nan}, {"round": 2, "accuracy": 0.5}])
    assert text == "round,loss,accuracy\n1,nan,\n2,,0.5\n"


def test_a_model_may_have_an_array_of_any_name(tmp_path: Path) -> None:
    arrays = {"file": np.arange(3.0), "a.b/c": np.ones((2, 2), np.float32), "args": np.array(7.0)}
    written._write_arrays(tmp_path / "model.npz", arrays)
    with np.load(tmp_path / "model.npz", allow_pickle=False) as archive:
        assert archive.files == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(archive[name], array, strict=True)


def test_nothing_that_exists_is_written_over(run: Run, saved: Path) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    assert code(lambda: save_run(run, saved)) == "run.folder-exists"
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    (saved.parent / "empty").mkdir()
    assert code(lambda: save_run(run, saved.parent / "empty")) == "run.folder-exists"
    (saved.parent / "dangling").symlink_to("nowhere")
    assert code(lambda: save_run(run, saved.parent / "dangling")) == "run.folder-exists"


def test_a_folder_that_appears_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    def race() -> None:
        with whole_folder(tmp_path / "one") as place:
            (place / "mine").touch()
            (tmp_path / "one").mkdir()
            (tmp_path / "one" / "theirs").touch()

    assert code(race) == "run.folder-exists"
    assert [path.name for path in tmp_path.rglob("*")] == ["one", "theirs"]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, "run.no-space"),
        (errno.EDQUOT, "run.no-space"),
        (errno.EACCES, "run.cannot-write"),
        (errno.EROFS, "run.cannot-write"),
    ],
)
def test_a_failure_midway_leaves_nothing_and_names_its_remedy(
    number: int, expected: str, run: Run, tmp_path: Path
) -> None:
    def fails(_: Run, place: Path) -> tuple[str, ...]:
        assert (place / "model.npz").exists()
        raise OSError(number, os.strerror(number))

    assert code(lambda: write_run(run, tmp_path / "new" / "one", fails)) == expected
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_midway_leaves_nothing(run: Run, tmp_path: Path) -> None:
    def stopped(_: Run, place: Path) -> tuple[str, ...]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_run(run, tmp_path / "one", stopped)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_for_real_leaves_nothing(tmp_path: Path) -> None:
    """The kernel refuses to let any file grow beyond 1,000 bytes."""
    script = textwrap.dedent("""
        import resource
        import tacit
        federation = tacit.Federation(
            task=tacit.numpy.logistic_regression(), data=tacit.arrays(shape=(200,), classes=2),
            algorithm=tacit.fedavg(lr=0.1), clients=1, rounds=1)
        run = tacit.simulate(federation, [([[0.0] * 200], [1])])
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            run.save("full/one")
        except tacit.TacitError as error:
            print(error.code, error.cause)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout == "run.no-space full/one was not written: file too large.\n"
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused_beforehand(tmp_path: Path) -> None:
    refuse_unwritable(tmp_path / "new" / "one")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    assert code(lambda: refuse_unwritable(tmp_path / "file" / "one")) == "run.cannot-write"
    assert code(lambda: refuse_unwritable(tmp_path / "file")) == "run.folder-exists"


def test_without_matplotlib_the_rest_is_written_and_it_is_said(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    saved = write_run(run, tmp_path / "one")
    assert set(saved.files) == PLAIN_FILES | {ABOUT}
    (told,) = saved.left_out
    assert all(name in told for name in DRAWN)
    assert 'pip install "tacit[plot]"' in told
    assert told in str(saved)
    assert load_run(tmp_path / "one").history == run.history


def test_other_failures_of_drawing_are_not_hidden(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> None:
        raise TacitError("task.setting", name="path", value="x", rule="y")

    monkeypatch.setattr(written, "curves", fails)
    assert code(lambda: save_run(run, tmp_path / "one")) == "task.setting"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["federation.toml", "history.csv", "model.npz"])
def test_a_file_that_is_gone_is_named(name: str, saved: Path) -> None:
    (saved / name).unlink()
    with pytest.raises(TacitError) as refused:
        load_run(saved)
    assert refused.value.facts.get("file", refused.value.facts.get("name")) == name
    assert refused.value.code == "run.file-missing"


@pytest.mark.parametrize("name", ["history.csv", "model.npz", "journal.jsonl"])
def test_a_file_that_is_changed_is_named(name: str, saved: Path) -> None:
    content = bytearray((saved / name).read_bytes())
    content[len(content) // 2] ^= 1
    (saved / name).write_bytes(content)
    with pytest.raises(TacitError) as refused:
        load_journal(saved) if name == "journal.jsonl" else load_run(saved)
    assert refused.value.code == "run.file-corrupt"
    assert refused.value.facts["file"] == name


def test_an_edited_description_is_refused_but_a_comment_is_not(saved: Path) -> None:
    toml = saved / "federation.toml"
    toml.write_text("# a comment\n" + toml.read_text("utf-8"), "utf-8")
    load_run(saved)
    toml.write_text(toml.read_text("utf-8").replace("rounds = 3", "rounds = 4"), "utf-8")
    assert code(lambda: load_run(saved)) == "run.other-federation"


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ("{", "run.file-corrupt"),
        ("[]", "run.file-corrupt"),
        ('{"format": 1}', "run.file-corrupt"),
        ('{"format": 2}', "run.format"),
    ],
)
def test_a_description_of_a_run_that_is_none_is_refused(
    about: str, expected: str, saved: Path
) -> None:
    (saved / ABOUT).write_text(about, "utf-8")
    assert code(lambda: load_run(saved)) == expected


def test_a_folder_of_something_else_is_not_a_run(tmp_path: Path) -> None:
    assert code(lambda: load_run(tmp_path)) == "run.not-a-run"


def test_runs_are_found_in_the_order_of_their_end(run: Run, tmp_path: Path) -> None:
    for name, moment in (("late", 200), ("early", 100), (".hidden.tmp", 50)):
        write_run(run, tmp_path / name, undrawn)
        os.utime(tmp_path / name / ABOUT, (moment, moment))
    (tmp_path / "no run").mkdir()
    assert [path.name for path in runs_in(tmp_path)] == ["early", "late"]
    assert runs_in(tmp_path / "nowhere") == ()


def test_a_promise_is_saved_with_its_event() -> None:
    federation = tacit.Federation(
        task=tacit.numpy.logistic_regression(),
        data=tacit.arrays(shape=(3,), classes=2),
        algorithm=tacit.fedavg(lr=0.1),
        protect=tacit.central_dp(epsilon=8.0, delta=1e-5, clip=1.0),
        clients=3,
        rounds=1,
    )
    run = tacit.simulate(federation, hold())
    claims = describe(run)["claims"]
    held = [claim for claim in claims if claim["epsilon"] is not None]
    assert len(held) == sum(claim.holds for claim in run.claims) > 0
    assert all(claim["event"]["law"] == "gaussian" for claim in held)


def test_what_was_left_out_follows_what_was_saved() -> None:
    told = str(Saved(Path("runs/one"), ("a", "b"), ("c, for a reason.",)))
    assert told == "Saved in runs/one: a, b.\nLeft out: c, for a reason."


def test_load_meta_reads_the_description_alone(saved: Path) -> None:
    (saved / "model.npz").unlink()
    assert load_meta(saved)["name"] == "a small one"
