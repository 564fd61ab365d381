from __future__ import annotations

import csv
import errno
import io
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner
from rich.console import Console

from tacit.base.errors import TacitError
from tacit.cli.demo_text import show
from tacit.cli.main import main
from tacit.record.comparison import Comparison
from tacit.record.demo import CITED, EPSILONS, SHOWN, four_hospitals
from tacit.record.folder import Saved, write_run
from tacit.record.run import Run
from tacit.record.stored import load_meta, load_run

HOSPITALS = ("Cleveland", "Budapest", "Zurich", "Long Beach")
METHODS = (
    *(f"alone-{name}" for name in HOSPITALS),
    "pooled",
    "fedavg",
    "secure-sum",
    *(f"epsilon-{epsilon}" for epsilon in EPSILONS),
)
FILES = {
    "run.json", "federation.toml", "trust.txt", "history.csv", "journal.jsonl", "model.npz",
    "curves.png", "curves.svg", "comparison.png", "comparison.svg", "comparison.csv", "report.html",
}  # fmt: skip


class Done(NamedTuple):
    """What `tacit demo --seeds 1 --json` left."""

    told: dict[str, Any]
    folder: Path
    stderr: str


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    out = tmp_path_factory.mktemp("demo") / "runs"
    ran = CliRunner().invoke(main, ["demo", "--seeds", "1", "--json", "--out", str(out)])
    assert ran.exit_code == 0, ran.output
    (folder,) = out.iterdir()
    return Done(json.loads(ran.stdout), folder, ran.stderr)


@pytest.fixture(scope="module")
def compared() -> Comparison:
    return four_hospitals(range(2))


def test_the_second_act_ends_with_the_bits_of_the_first(done: Done) -> None:
    act = done.told["second_act"]
    assert act["identical"]
    assert act["deployed"] == act["simulated"]
    assert act["killed"] in HOSPITALS
    assert any("is part of the sum" in line for line in act["diary"])


def told(compared: Comparison, width: int) -> str:
    text = io.StringIO()
    screen = Console(file=text, width=width, force_terminal=True, color_system=None)
    show(screen, compared, Saved(Path("runs/demo"), (), ()))
    return text.getvalue()


def test_json_is_all_of_stdout_and_holds_every_method(done: Done) -> None:
    assert [one["method"] for one in done.told["methods"]] == list(METHODS)
    names = [found["name"] for found in done.told["test_sets"]]
    assert names == [*HOSPITALS, "all clients"]
    for one in done.told["methods"]:
        assert set(one["accuracy"]) == set(names)
    assert "CC BY 4.0" in done.told["data"]
    assert done.stderr == ""


def test_each_epsilon_is_what_its_method_says(done: Done) -> None:
    methods = {one["method"]: one for one in done.told["methods"]}
    for epsilon in EPSILONS:
        claims = [c for c in methods[f"epsilon-{epsilon}"]["claims"] if c["hides"] == "record"]
        assert len(claims) == 3
        assert all(0.98 * epsilon <= c["epsilon"] <= epsilon for c in claims)
    for name in ("fedavg", "secure-sum"):
        assert all(claim["epsilon"] is None for claim in methods[name]["claims"])


def test_the_folder_is_whole_and_is_a_run(done: Done) -> None:
    assert str(done.folder) == done.told["folder"]
    assert done.folder.parent.name == "runs"
    assert {path.name for path in done.folder.iterdir()} == FILES == set(done.told["files"])
    assert set(load_meta(done.folder)["files"]) == FILES - {"run.json"}
    assert load_run(done.folder).federation.name == "heart disease, epsilon 3"


def test_json_and_csv_hold_the_same_numbers(done: Done) -> None:
    text = (done.folder / "comparison.csv").read_text("utf-8")
    lines = list(csv.DictReader(io.StringIO(text)))
    in_csv = {(line["method"], line["test_set"]): float(line["accuracy_mean"]) for line in lines}
    in_json = {
        (one["method"], name): found["mean"]
        for one in done.told["methods"]
        for name, found in one["accuracy"].items()
    }
    assert in_csv == in_json
    (shown,) = (one for one in done.told["methods"] if one["method"] == SHOWN)
    saved = load_meta(done.folder)["final"]
    assert shown["accuracy"]["all clients"]["mean"] == saved["accuracy"]


def test_the_report_shows_every_method(done: Done) -> None:
    text = (done.folder / "report.html").read_text("utf-8")
    for one in done.told["methods"]:
        assert one["label"] in text


@pytest.mark.parametrize("width", [80, 100])
def test_the_text_fits_the_screen_and_holds_every_number(compared: Comparison, width: int) -> None:
    text = told(compared, width)
    assert max(map(len, text.splitlines())) <= width
    for result in compared.results:
        (line,) = (
            one
            for one in text.splitlines()
            if one.strip().startswith(f"{result.method.label} ") and "±" in one
        )
        assert re.findall(r"[\d.]+ ±[\d.]+", line) == [str(score) for score in result.scores]


def test_the_text_says_what_is_promised_and_what_it_is_worth(compared: Comparison) -> None:
    text = " ".join(told(compared, 100).split())
    assert " ".join(CITED.split()) in text
    for sentence in compared[SHOWN].run.trust.sentences:
        assert " ".join(sentence.text.split()) in text
    for words in ("SIMULATED", "the noise follows from the seed", "Zurich has 42 patients"):
        assert words in text


def test_the_price_of_an_epsilon_is_the_difference_in_the_table(compared: Comparison) -> None:
    free = compared["secure-sum"].scores[-1].mean
    text = " ".join(told(compared, 100).split())
    for epsilon in EPSILONS:
        points = 100 * (compared[f"epsilon-{epsilon}"].scores[-1].mean - free)
        assert f"epsilon {epsilon} {points:+.1f}" in text


def test_without_a_terminal_each_method_is_reported_when_it_has_finished(
    tmp_path: Path, done: Done
) -> None:
    ran = CliRunner().invoke(
        main, ["demo", "--seeds", "1", "--no-rehearse", "--out", str(tmp_path)]
    )
    assert ran.exit_code == 0, ran.output
    found = [re.fullmatch(r" *(\d+) %  (.+) finished", line) for line in ran.stderr.splitlines()]
    assert all(found)
    lines = [match for match in found if match]
    assert [line[2] for line in lines] == [one["label"] for one in done.told["methods"]]
    parts = [int(line[1]) for line in lines]
    assert parts == sorted(parts) and parts[-1] == 100


def test_quiet_prints_the_folder_and_nothing_else(tmp_path: Path) -> None:
    ran = CliRunner().invoke(
        main,
        [
            "demo",
            "--seeds",
            "1",
            "--no-rehearse",
            "--quiet",
            "--out",
            str(tmp_path),
        ],
    )
    assert ran.exit_code == 0, ran.output
    assert ran.output.split() == [str(path) for path in tmp_path.iterdir()]


def test_a_place_that_cannot_be_written_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = CliRunner().invoke(main, ["demo", "--json", "--out", str(tmp_path / "file")])
    assert ran.exit_code == 1
    assert json.loads(ran.stdout)["error"]["code"] == "run.cannot-write"


def test_a_full_disk_while_drawing_leaves_nothing(compared: Comparison, tmp_path: Path) -> None:
    def full(run: Run, place: Path) -> tuple[str, ...]:
        (place / "comparison.csv").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(TacitError) as refused:
        write_run(compared[SHOWN].run, tmp_path / "demo", full)
    assert refused.value.code == "run.no-space"
    assert list(tmp_path.iterdir()) == []
