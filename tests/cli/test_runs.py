from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tacit.record.stored import load_run
from tests.cli.scenes import refused, said, small, tacit


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that differ in seed and learning rate, and one without test data."""
    place = tmp_path_factory.mktemp("finished")
    path, out = small(place), ("--out", str(place / "runs"), "--quiet", "--name")
    data = ("--data", "app:data")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        assert tacit("simulate", path, *out, "one", *data).exit_code == 0
        small(place, **{"lr = 0.1": "lr = 0.2"})
        assert tacit("simulate", path, *out, "two", "--seed", "7", *data).exit_code == 0
        Path(place / "only.py").write_text((place / "app.py").read_text().split("def test_")[0])
        assert tacit("simulate", path, *out, "bare", "--data", "only:data").exit_code == 0
    for i, name in enumerate(("one", "two", "bare")):
        os.utime(place / "runs" / name / "run.json", (1e9 + i, 1e9 + i))
    return place


@pytest.fixture
def here(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(finished)
    return finished


def test_the_list_is_in_the_order_of_time(here: Path) -> None:
    shown = [line.split()[0] for line in tacit("runs", "list").stdout.splitlines()[2:]]
    assert shown == ["one", "two", "bare"]
    listed = said("runs", "list")["runs"]
    assert [Path(run["folder"]).name for run in listed] == shown
    assert listed[1]["seed"] == 7


def test_no_runs_are_no_error(tmp_path: Path) -> None:
    result = tacit("runs", "list", "--runs", tmp_path)
    assert result.exit_code == 0
    assert "tacit simulate" in result.stdout
    assert said("runs", "list", "--runs", tmp_path) == {"runs": []}


def test_one_bad_folder_does_not_hide_the_others(here: Path, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text("{")
    (tmp_path / "good").symlink_to(here / "runs" / "one")
    shown = tacit("runs", "list", "--runs", tmp_path).stdout
    assert "unreadable" in shown
    assert "good" in shown
    listed = {
        Path(run["folder"]).name: run for run in said("runs", "list", "--runs", tmp_path)["runs"]
    }
    assert listed["bad"]["error"]["code"] == "run.file-corrupt"
    assert listed["good"]["name"] == "small"


def test_one_run_is_shown_by_name_or_path(here: Path) -> None:
    result = tacit("runs", "show", "two")
    assert result.exit_code == 0, result.output
    assert "seed 7" in result.stdout
    assert "The last rounds of 2" in result.stdout
    assert tacit("runs", "show", here / "runs" / "two").stdout.startswith("small")
    answer = said("runs", "show", "two")
    stored = load_run(here / "runs" / "two")
    assert answer["history"] == [dict(row) for row in stored.history]
    assert answer["claims"] == stored.meta["claims"]


def test_a_run_without_test_data_shows_its_training_loss(here: Path) -> None:
    shown = tacit("runs", "show", "bare").stdout
    assert "there was no test data" in shown
    assert "test accuracy" not in shown
    assert "train loss" in shown


def test_comparing_shows_the_settings_that_differ_and_the_numbers(here: Path) -> None:
    answer = said("runs", "compare", "one", "two", "bare")
    assert answer["runs"] == ["one", "two", "bare"]
    assert answer["settings"] == {"algorithm.lr": [0.1, 0.2, 0.2], "seed": [0, 7, 0]}
    accuracies = answer["numbers"]["test accuracy"]
    stored = [load_run(here / "runs" / name).meta["final"] for name in ("one", "two")]
    assert accuracies == [stored[0]["accuracy"], stored[1]["accuracy"], None]
    shown = tacit("runs", "compare", "one", "two").stdout
    assert "algorithm.lr" in shown
    assert "rounds" in shown
    same = tacit("runs", "compare", "one", "one").stdout
    assert "None: the same description and seed." in same


def test_a_comparison_is_written_as_csv(here: Path, tmp_path: Path) -> None:
    result = tacit("runs", "compare", "one", "two", "--to", tmp_path / "both.csv")
    assert result.exit_code == 0, result.output
    rows = {row[0]: row[1:] for row in csv.reader((tmp_path / "both.csv").read_text().splitlines())}
    assert rows["what"] == ["one", "two"]
    assert rows["algorithm.lr"] == ["0.1", "0.2"]
    answer = said("runs", "compare", "one", "two")
    assert [float(cell) for cell in rows["test loss"]] == answer["numbers"]["test loss"]


def test_each_ending_exports_its_part(here: Path, tmp_path: Path) -> None:
    stored = load_run(here / "runs" / "one")
    for ending in ("csv", "json", "npz", "zip"):
        answer = said("runs", "export", "one", "--to", tmp_path / f"one.{ending}")
        assert answer["bytes"] == (tmp_path / f"one.{ending}").stat().st_size
    rows = csv.DictReader((tmp_path / "one.csv").read_text().splitlines())
    assert [float(row["test_loss"]) for row in rows] == [row["test_loss"] for row in stored.history]
    everything = json.loads((tmp_path / "one.json").read_text())
    assert everything["federation"] == stored.federation.plain
    assert everything["digest"] == stored.federation.digest
    with np.load(tmp_path / "one.npz", allow_pickle=False) as archive:
        assert set(archive.files) == set(stored.params)
    with zipfile.ZipFile(io.BytesIO((tmp_path / "one.zip").read_bytes())) as archive_of_all:
        assert archive_of_all.testzip() is None
        archive_of_all.extractall(tmp_path / "unpacked")
    assert load_run(tmp_path / "unpacked" / "one").history == stored.history


def test_an_unknown_ending_is_a_usage_error(here: Path, tmp_path: Path) -> None:
    result = tacit("runs", "export", "one", "--to", tmp_path / "one.txt")
    assert result.exit_code == 2
    assert ".csv, .json, .npz, .zip" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [("show",), ("compare", "one"), ("export", "--to", "x.csv")])
def test_an_unknown_run_is_named_with_the_nearest_one(
    arguments: tuple[str, ...], here: Path
) -> None:
    error = refused("runs", *arguments, "tow")
    assert error["code"] == "run.unknown"
    assert "Did you mean 'two'?" in error["remedy"]
    assert not Path("x.csv").exists()


def test_a_folder_that_is_no_run_is_refused(here: Path, tmp_path: Path) -> None:
    assert refused("runs", "show", tmp_path)["code"] == "run.not-a-run"


def test_an_export_that_cannot_be_written_says_so(here: Path, tmp_path: Path) -> None:
    error = refused("runs", "export", "one", "--to", tmp_path / "none" / "one.csv")
    assert error["code"] == "data.cannot-write"
