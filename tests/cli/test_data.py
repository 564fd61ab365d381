from __future__ import annotations

import json
import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tacit.base.plain import to_plain
from tacit.cli.main import main
from tacit.learn.data import heart_disease_schema, read_site, schema_to_toml

BUNDLED = files("tacit.learn") / "datasets" / "heart_disease"
HEART = ["--schema", "heart_disease"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["data", *(str(argument) for argument in arguments)])


def said(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    result = run("check", *arguments, "--json")
    return result.exit_code, json.loads(result.stdout)


@pytest.fixture
def long_beach(tmp_path: Path) -> tuple[Path, Path]:
    """One hospital's own file and its mapping, as that hospital keeps them."""
    with as_file(BUNDLED) as folder:
        table = shutil.copy(folder / "processed.va.data", tmp_path / "va.csv")
        mapping = shutil.copy(folder / "mapping_long_beach.toml", tmp_path / "mapping.toml")
    return Path(table), Path(mapping)


def test_a_table_that_fits_ends_with_0(long_beach: tuple[Path, Path]) -> None:
    table, mapping = long_beach
    result = run("check", table, *HEART, "--mapping", mapping)
    assert result.exit_code == 0
    assert "fits (200 rows)" in " ".join(result.stdout.split())
    assert said(table, *HEART, "--mapping", mapping, "--site", "Long Beach") == (
        0,
        {
            "ok": True,
            "site": "Long Beach",
            "file": str(table),
            "rows": 200,
            "mismatches": [],
            "notices": [],
        },
    )


def test_every_mismatch_is_shown_with_its_remedy_and_ends_with_1(
    long_beach: tuple[Path, Path],
) -> None:
    table, mapping = long_beach
    lines = table.read_text().splitlines()
    lines[0] = lines[0].replace("63,", "163,", 1)
    lines[1] = lines[1].replace(",4,", ",9,", 1)
    lines[2] = ",".join(lines[2].split(",")[:9])
    table.write_text("\n".join(lines))
    code, answer = said(table, *HEART, "--mapping", mapping, "--site", "Long Beach")
    assert (code, answer["ok"]) == (1, False)
    causes = [m["cause"] for m in answer["mismatches"]]
    assert [m["code"] for m in answer["mismatches"]] == [
        "data.ragged-rows",
        "data.outside",
        "data.unknown-category",
    ]
    assert all("Long Beach" in cause for cause in causes)
    assert all(m["remedy"] for m in answer["mismatches"])
    assert "9 in line 3" in causes[0]
    assert "'163' in line 1" in causes[1]
    assert "'9' in line 2" in causes[2]
    shown = run("check", table, *HEART, "--mapping", mapping)
    assert shown.exit_code == 1
    words = shown.stdout.replace("│", " ").split()
    assert {"age", "chest_pain", "factor", "'163'"} <= {word.strip(".,:`") for word in words}


def test_notices_are_shown_but_are_no_mismatch() -> None:
    with as_file(BUNDLED) as folder:
        table, mapping = folder / "processed.switzerland.data", folder / "mapping_zurich.toml"
        code, answer = said(table, *HEART, "--mapping", mapping)
        shown = run("check", table, *HEART, "--mapping", mapping)
    assert (code, shown.exit_code) == (0, 0)
    assert [n["code"] for n in answer["notices"]] == [
        "data.mostly-missing",
        "data.mostly-missing",
        "data.nearly-one-class",
    ]
    assert "Worth knowing" in shown.stdout


def test_cells_of_the_site_are_text_and_no_markup(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    run("mock", *HEART, "--rows", "3", "--out", table)
    table.write_text(table.read_text().replace("male", "[bold]x[/bold]\x1b[31m"))
    shown = run("check", table, *HEART)
    assert shown.exit_code == 1
    assert "[bold]" in shown.stdout
    assert "\x1b[31m" not in shown.stdout


@pytest.mark.parametrize(
    ("name", "text", "code", "in_cause"),
    [
        ("va.csv", "a;b;c\n1;2;3\n", "data.delimiter", "va.csv"),
        ("va.csv", "", "data.no-rows", "va.csv"),
        (
            "mapping.toml",
            "[columns.age]\nform = 'x'\n",
            "description.unknown",
            "mapping.toml, line 2",
        ),
        ("mapping.toml", "[columns.age\n", "description.syntax", "mapping.toml"),
    ],
)
def test_what_stops_the_check_is_answered_like_a_mismatch(
    long_beach: tuple[Path, Path], name: str, text: str, code: str, in_cause: str
) -> None:
    table, mapping = long_beach
    if name == "va.csv":
        mapping.write_text("")
    (table.parent / name).write_text(text)
    status, answer = said(table, *HEART, "--mapping", mapping)
    assert (status, answer["rows"]) == (1, None)
    (mismatch,) = answer["mismatches"]
    assert mismatch["code"] == code
    assert in_cause in mismatch["cause"]


def test_garbage_in_a_toml_file_is_no_traceback(long_beach: tuple[Path, Path]) -> None:
    table, mapping = long_beach
    mapping.write_bytes(b"\xff\xfe\x00garbage")
    for arguments in (["--mapping", str(mapping), *HEART], ["--schema", str(mapping)]):
        status, answer = said(table, *arguments)
        assert status == 1
        assert answer["mismatches"][0]["code"] == "description.syntax"


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "none.csv", *HEART],
        ["check"],
        ["mock", "--schema", "heart_diseas"],
        ["mock", *HEART, "--rows", "0"],
        ["mock", *HEART, "--seed", "x"],
    ],
)
def test_a_command_that_is_not_understood_ends_with_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_an_unknown_schema_name_lists_the_bundled_ones() -> None:
    assert "heart_disease" in run("mock", "--schema", "heart").stderr


@pytest.mark.parametrize("inside", ["schema", "federation"])
def test_fake_rows_pass_the_check_under_a_schema_or_a_federation_file(
    tmp_path: Path, inside: str
) -> None:
    text = schema_to_toml(heart_disease_schema())
    if inside == "federation":
        text = text.replace("[[columns]]", "[[data.columns]]").replace("[label]", "[data.label]")
        text = f"rounds = 3\n[data]\n{text}"
    schema, out = tmp_path / "federation.toml", tmp_path / "fake.csv"
    schema.write_text(text)
    made = run("mock", "--schema", schema, "--rows", "50", "--seed", "3", "--out", out)
    assert made.exit_code == 0
    assert "FAKE" in made.stdout
    code, answer = said(out, "--schema", schema)
    assert (code, answer["rows"]) == (0, 50)
    assert read_site(out, heart_disease_schema()).count == 50


def test_fake_rows_go_to_stdout_without_out_and_depend_on_the_seed_only() -> None:
    first, again, other = (run("mock", *HEART, "--seed", seed) for seed in ("1", "1", "2"))
    assert first.stdout == again.stdout != other.stdout
    assert len(first.stdout.splitlines()) == 101
    assert "FAKE" in first.stderr and "FAKE" not in first.stdout


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    result = run("mock", *HEART, "--out", tmp_path / "nowhere" / "fake.csv")
    assert result.exit_code == 1
    assert "nowhere" in result.stderr and "remedy" in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_bundled_schema_is_plain_data() -> None:
    assert to_plain(heart_disease_schema())["kind"] == "table"
