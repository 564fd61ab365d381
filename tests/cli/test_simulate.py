from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tacit as api
from tacit.base.key import Key
from tacit.cli.simulate import over_seeds, run_folders
from tacit.cli.sources import hold_out
from tacit.learn.examples import as_clients
from tacit.learn.mock import as_csv, mock_table
from tacit.record.stored import load_run
from tests.cli.scenes import CODE, process, refused, said, small, tacit

TABLES = """\
name = "tables"
clients = 2
rounds = 2

[task]
kind = "numpy"
model = "logistic_regression"

[algorithm]
kind = "fedavg"
lr = 0.1

[data]
kind = "table"

[[data.columns]]
name = "age"
kind = "number"
low = 0
high = 120

[[data.columns]]
name = "sex"
kind = "binary"
categories = ["female", "male"]

[data.label]
name = "ill"
classes = ["no", "yes"]
"""


def two_tables(place: Path) -> api.Federation:
    """Two clients' tables; the second's has a column of another name, and a mapping."""
    (place / "app.toml").write_text(TABLES)
    federation = api.Federation.load(place / "app.toml")
    assert isinstance(federation.data, api.Schema)
    (place / "tables").mkdir()
    for name in ("ash", "elm"):
        text = as_csv(mock_table(federation.data, 30, Key.seed(1) / name))
        (place / "tables" / f"{name}.csv").write_text(text.replace("age", f"age_{name}", 1))
        (place / "tables" / f"{name}.mapping.toml").write_text(
            f'[columns.age]\nfrom = "age_{name}"\n'
        )
    return federation


def test_data_and_test_data_beside_the_description_are_found(place: Path) -> None:
    small(place)
    result = tacit("simulate", "--name", "first")
    assert result.exit_code == 0, result.output
    assert result.stderr == "Data from data() in app.py; test data from test_data() in app.py.\n"
    assert "2 of 2 rounds, 3 clients, 3 parameters" in result.stdout
    assert "runs/first: run.json" in " ".join(result.stdout.split())
    for client in ("north", "east", "south", "all"):
        assert f"  {client} " in result.stdout


def test_it_is_the_run_that_the_api_makes(place: Path) -> None:
    path = small(place)
    answer = said("simulate", "--seed", "3", "--name", "one")
    sys.path.insert(0, str(place))
    import app  # type: ignore[import-not-found]  # written above

    run = api.simulate(api.Federation.load(path), app.data(), seed=3, test=app.test_data())
    assert run.final is not None
    assert answer["final"]["accuracy"] == run.final.accuracy
    assert answer["digest"] == run.plan.digest
    assert answer["summary"] == run.summary()
    stored = load_run(answer["folder"])
    assert stored.history == run.history
    assert all((stored.params[k] == v).all() for k, v in run.model.arrays().items())
    again = said("simulate", "--seed", "3", "--name", "two")
    first, second = (Path(one["folder"]) / "model.npz" for one in (answer, again))
    assert first.read_bytes() == second.read_bytes()


def test_several_seeds_leave_a_folder_each_and_a_mean(place: Path) -> None:
    small(place)
    answer = said("simulate", "--seeds", "3", "--seed", "5", "--name", "few", "--data", "app:data")
    assert [Path(run["folder"]).name for run in answer["runs"]] == [
        "few-seed5",
        "few-seed6",
        "few-seed7",
    ]
    scores = [run["final"]["accuracy"] for run in answer["runs"]]
    mean = sum(scores) / 3
    assert answer["over_seeds"]["test_accuracy"]["mean"] == pytest.approx(mean)
    squares = sum((score - mean) ** 2 for score in scores)
    assert answer["over_seeds"]["test_accuracy"]["sd"] == pytest.approx((squares / 2) ** 0.5)
    shown = tacit("simulate", "--seeds", "2", "--name", "more").stdout
    assert "Over 2 seeds" in shown
    assert "runs/more-seed0" in shown


def test_a_single_seed_has_no_spread() -> None:
    assert over_seeds([]) == {}


def test_quiet_prints_the_folder_alone(place: Path) -> None:
    small(place)
    result = tacit("simulate", "--quiet", "--out", "elsewhere", "--name", "one")
    assert (result.stdout, result.stderr) == ("elsewhere/one\n", "")


def test_a_fraction_is_held_out_for_testing(place: Path) -> None:
    small(place)
    answer = said("simulate", "--test", "0.25", "--name", "one")
    assert "25% of each client's records test" in answer["data"]
    held = {name: one["examples"] for name, one in answer["final"]["clients"].items()}
    assert set(held) == {"north", "east", "south"}
    assert all(4 <= count <= 6 for count in held.values())  # of 20, rounded class by class


@pytest.mark.parametrize("stratify", [True, False])
def test_what_is_held_out_is_neither_lost_nor_seen_twice(stratify: bool) -> None:
    x = np.arange(40.0)[:, None]
    labels = np.arange(40) % 4 if stratify else np.linspace(0, 1, 40)
    train, test = hold_out(as_clients({"ash": (x, labels)}), 0.3, stratify=stratify)
    held, tested = train.examples(0), test.examples(0)
    assert sorted([*held.x[:, 0], *tested.x[:, 0]]) == list(x[:, 0])
    assert tested.count == 12
    if stratify:
        assert np.bincount(tested.y).max() - np.bincount(tested.y).min() <= 2
    again = hold_out(as_clients({"ash": (x, labels)}), 0.3, stratify=stratify)[1]
    np.testing.assert_array_equal(again.examples(0).x, tested.x)


@pytest.mark.parametrize("fraction", ["0.001", "0.999"])
def test_a_fraction_that_leaves_nothing_is_refused(fraction: str, place: Path) -> None:
    small(place)
    error = refused("simulate", "--test", fraction)
    assert error["code"] == "run.no-test-split"
    assert "north" in error["cause"]
    assert refused("simulate", "--test", "1.5")["code"] == "task.setting"


def test_a_bundled_data_set_brings_its_test_records(place: Path) -> None:
    heart = api.data.heart_disease()
    federation = api.Federation(
        task=api.numpy.logistic_regression(),
        data=heart.schema,
        algorithm=api.fedavg(lr=0.5),
        clients=4,
        rounds=1,
    )
    (place / "heart.toml").write_text(federation.to_toml())
    answer = said("simulate", "heart.toml", "--data", "heart_disease", "--name", "one")
    assert answer["final"]["clients"]["Zurich"]["examples"] == 42
    assert answer["data"] == "data from the bundled set heart_disease, with its test records"


def test_a_folder_of_tables_is_read_through_schema_and_mappings(place: Path) -> None:
    federation = two_tables(place)
    answer = said("simulate", "--data", "tables", "--test", "tables", "--name", "one")
    clients = answer["final"]["clients"]
    assert {name: one["examples"] for name, one in clients.items()} == {"ash": 30, "elm": 30}
    assert answer["digest"] == federation.digest


def test_a_column_missing_in_one_table_names_client_and_column(place: Path) -> None:
    two_tables(place)
    table = place / "tables" / "elm.csv"
    rows = list(csv.DictReader(table.read_text().splitlines()))
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["age_elm", "ill"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    error = refused("simulate", "--data", "tables")
    assert error["code"] == "data.missing-column"
    assert error["cause"].startswith("Client elm has no column sex")
    assert not Path("runs").exists()


def test_folders_that_cannot_be_read_say_why(place: Path) -> None:
    two_tables(place)
    (place / "none").mkdir()
    assert refused("simulate", "--data", "none")["code"] == "run.no-csv"
    (place / "tables" / "ash.mapping.toml").write_bytes(b"\xff")
    assert refused("simulate", "--data", "tables")["code"] == "description.syntax"
    small(place)
    assert refused("simulate", "--data", "tables")["code"] == "run.not-tables"


@pytest.mark.parametrize(
    ("function", "code", "named"),
    [
        ("nan", "data.not-finite", "Client east"),
        ("empty", "data.empty", "Client south"),
        ("label", "data.label-range", "Client north"),
        ("two", "run.clients", "2 clients"),
        ("crash", "task.code-fails", "app:crash"),
        ("dta", "task.code-no-function", "Did you mean 'data'?"),
    ],
)
def test_bad_data_is_refused_by_name_and_leaves_no_folder(
    function: str, code: str, named: str, place: Path
) -> None:
    small(place)
    error = refused("simulate", "--data", f"app:{function}")
    assert error["code"] == code
    assert named in error["cause"] + error["remedy"]
    assert not Path("runs").exists()


def test_the_line_of_the_users_code_that_failed_is_shown(place: Path) -> None:
    small(place)
    result = tacit("simulate", "--data", "app:crash")
    line = 1 + CODE.splitlines().index("    return 1 / 0")
    assert f"app.py, line {line}: return 1 / 0" in result.stderr


def test_data_that_is_not_there_is_explained(place: Path) -> None:
    path = small(place)
    assert refused("simulate", "--data", "hart_disease")["remedy"].startswith(
        "Did you mean 'heart_disease'?"
    )
    path.rename("other.toml")
    error = refused("simulate", "other.toml")
    assert error["code"] == "run.no-data"
    assert "other.py has no function data()" in error["cause"]


@pytest.mark.parametrize(
    ("old", "new", "code", "said_where"),
    [
        ("clients", "cleints", "description.unknown", "line 3"),
        ("rounds = 2", "rounds = two", "description.syntax", "line 4"),
        ("lr = 0.1", "lr = -1.0", "description.value", "line 17"),
        ('kind = "fedavg"', 'kind = "fedavrg"', "description.unknown", "line 16"),
    ],
)
def test_a_typo_in_the_description_is_placed_at_its_line(
    old: str, new: str, code: str, said_where: str, place: Path
) -> None:
    small(place, **{old: new})
    error = refused("simulate")
    assert error["code"] == code
    assert f"app.toml, {said_where}" in error["cause"] or "at line 4" in error["cause"]
    assert not Path("runs").exists()


def test_a_chain_in_the_wrong_order_is_refused(place: Path) -> None:
    path = small(place)
    stages: list[dict[str, object]] = [
        {"kind": "clip", "norm": 1.0},
        {"kind": "gaussian", "where": "central", "unit": "client", "multiplier": 1.0},
        {"kind": "plain_sum"},
        {"kind": "mean"},
    ]
    listed = "".join(
        "[[protect]]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in one.items())
        for one in stages
    )
    path.write_text(f"{path.read_text()}\n{listed}")
    error = refused("simulate")
    assert error["code"].startswith("chain.")
    assert not Path("runs").exists()


def test_a_description_that_is_not_there_says_how_to_get_one(place: Path) -> None:
    error = refused("simulate", "none.toml")
    assert error["code"] == "description.file"
    assert "tacit new" in error["remedy"]


def test_an_existing_run_is_never_written_over_nor_worked_for(place: Path) -> None:
    small(place)
    Path("runs/one").mkdir(parents=True)
    # The data would crash, so nothing was computed before the refusal.
    error = refused("simulate", "--name", "one", "--data", "app:crash")
    assert error["code"] == "run.folder-exists"
    assert list(Path("runs/one").iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused_before_the_work(place: Path) -> None:
    small(place)
    error = refused("simulate", "--out", "app.py/runs", "--data", "app:crash")
    assert error["code"] == "run.cannot-write"


def test_made_up_names_are_fresh_and_fit_any_file_system(tmp_path: Path) -> None:
    (first,) = run_folders(tmp_path, None, "Heart / Zürich: 1", [0]).values()
    assert first.parent == tmp_path
    stem, year, month, day, clock = first.name.rsplit("-", 4)
    assert stem == "Heart-Zürich-1"
    assert [len(part) for part in (year, month, day, clock)] == [4, 2, 2, 6]


def test_a_made_up_name_that_is_taken_gets_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tacit.cli.simulate._now", lambda: "2026-01-02-030405")
    for expected in ("x-2026-01-02-030405", "x-2026-01-02-030405-2", "x-2026-01-02-030405-3"):
        (folder,) = run_folders(tmp_path, None, "x", [0]).values()
        assert folder.name == expected
        folder.mkdir()


def test_a_full_disk_is_told_and_leaves_no_folder(tmp_path: Path) -> None:
    small(tmp_path)
    limited = (
        "import resource\n"
        "from tacit.cli import simulate\n"
        "from tacit.cli.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "main(['simulate', '--name', 'one'], prog_name='tacit')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 1
    assert "runs/one was not written: file too large" in done.stderr
    assert "Free some space" in done.stderr
    assert "2 of 2 rounds" in done.stdout  # the numbers are told before they are lost
    assert not (tmp_path / "runs").exists()


def test_json_is_one_object_on_stdout_in_a_process_of_its_own(tmp_path: Path) -> None:
    small(tmp_path)
    done = process("simulate", "--json", "--name", "one", folder=tmp_path)
    answer: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert answer["folder"] == "runs/one"
    assert set(answer["files"]) == {path.name for path in (tmp_path / "runs/one").iterdir()}
