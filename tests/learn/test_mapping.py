from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tacit.base.errors import TacitError
from tacit.base.plain import to_plain
from tacit.learn.column import Column, Label
from tacit.learn.data import read_site
from tacit.learn.mapping import ColumnSource, SiteMapping
from tacit.learn.schema import Schema
from tacit.learn.schema_toml import mapping_from_toml
from tacit.learn.table import FileFormat, read_table

SCHEMA = Schema(
    (
        Column("age", unit="years", low=18, high=100),
        Column("sugar", unit="mg/dl", low=40, high=400, missing="fill", flag=True),
        Column("pain", "category", categories=("none", "typical", "atypical"), missing="drop"),
    ),
    Label("grade", above=0, low=0, high=4),
)

MAPPING = """\
[file]
delimiter = ";"
decimal = ","
missing = ["?", -9]

[columns.age]
from = "Alter"

[columns.sugar]
from = "Zucker (mmol/l)"
factor = 18
missing = [0, "n/a"]

[columns.pain]
from = "Schmerz"
values = { "0" = "none", "1" = "typical", "2" = "atypical" }

[columns.grade]
from = "Grad"
"""

TABLE = """\
Alter;Zucker (mmol/l);Schmerz;Grad;Name
63;5,5;0;0;a
41;0;1;2;b
50;n/a;2;1;c
38;?;-9;0;d
29;"10,0";-9,0;1;e
"""


def site(folder: Path, text: str | bytes = TABLE) -> Path:
    path = folder / "north.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(make: Any, *args: Any) -> TacitError:
    with pytest.raises(TacitError) as caught:
        make(*args)
    assert caught.value.remedy
    return caught.value


def found(folder: Path, text: str, mapping: str = MAPPING) -> list[TacitError]:
    """Every mismatch of a table, as `tacit data check` collects them."""
    how = mapping_from_toml(mapping)
    return list(SCHEMA.mismatches(read_table(site(folder, text), how.file, "north"), how, "north"))


def test_a_site_s_own_table_becomes_the_schema_s(tmp_path: Path) -> None:
    mapping = mapping_from_toml(MAPPING)
    table = read_table(site(tmp_path), mapping.file, "north")
    assert mapping.translate(table, SCHEMA.table_columns, "north") == {
        "age": ["63", "41", "50", "38", "29"],
        "sugar": [99.0, None, None, None, 180.0],
        "pain": ["none", "typical", "atypical", None, None],
        "grade": ["0", "2", "1", "0", "1"],
    }
    examples = read_site(site(tmp_path), SCHEMA, mapping)
    assert examples.x[:, 2].tolist() == [0, 1, 1]
    assert examples.y.tolist() == [0, 1, 1]


def test_offset_and_factor_are_an_affine_change_of_unit() -> None:
    schema = Schema((Column("heat", unit="C", low=30, high=45),), Label("y", low=0, high=1))
    fahrenheit = SiteMapping(columns={"heat": ColumnSource(factor=5 / 9, offset=-160 / 9)})
    table = pd.DataFrame({"heat": [98.6, 104.0], "y": [0, 1]})
    assert schema.mismatches(table, fahrenheit) == ()
    assert len(schema.mismatches(table)) == 1


def test_an_absent_column_follows_the_missing_rule(tmp_path: Path) -> None:
    mapping = MAPPING.replace(
        'from = "Zucker (mmol/l)"\nfactor = 18\nmissing = [0, "n/a"]', "absent = true"
    )
    examples = read_site(site(tmp_path), SCHEMA, mapping_from_toml(mapping))
    assert examples.x[:, 1:3].tolist() == [[0, 1]] * 3
    (error,) = found(tmp_path, TABLE, MAPPING.replace('from = "Alter"', "absent = true"))
    assert (error.code, error.facts["column"], error.facts["rows"]) == ("data.missing", "age", 5)
    assert "does not have the column" in error.cause


def test_a_column_that_is_not_mapped_keeps_its_name(tmp_path: Path) -> None:
    path = site(tmp_path, "age,sugar,pain,grade\n50,100,none,1\n")
    assert read_site(path, SCHEMA).count == 1


def test_every_mismatch_is_named_at_once_with_cells_and_lines(tmp_path: Path) -> None:
    text = (
        "Alter;Zucker (mmol/l);Schmerz;Grad\n"
        "63;5,5;0;0\n"
        "630;hoch;1;5\n"
        ";5.5;7;0\n"
        "50;90;7;nan\n"
        "50;5,5\n"
    )
    errors = {(e.code, e.facts.get("column")): e for e in found(tmp_path, text)}
    assert {
        key: (error.facts["rows"], "north" in error.cause) for key, error in errors.items()
    } == {
        ("data.ragged-rows", None): (1, True),
        ("data.outside", "age"): (1, True),
        ("data.missing", "age"): (1, True),
        ("data.not-a-number", "sugar"): (2, True),
        ("data.outside", "sugar"): (1, True),
        ("data.unknown-category", "pain"): (2, True),
        ("data.outside", "grade"): (1, True),
        ("data.not-a-number", "grade"): (1, True),
    }
    assert "2 in line 6" in errors["data.ragged-rows", None].cause
    assert "'630' in line 3" in errors["data.outside", "age"].cause
    assert "line 4" in errors["data.missing", "age"].cause
    sugar = errors["data.not-a-number", "sugar"]
    assert "'hoch' in line 3" in sugar.cause and "'5.5' in line 4" in sugar.cause
    assert "[columns.sugar]" in sugar.remedy
    pain = errors["data.unknown-category", "pain"]
    assert "'7' in lines 4, 5" in pain.cause
    assert "none, typical, atypical" in pain.remedy
    assert "18 to 100 years" in errors["data.outside", "age"].cause


def test_long_lists_of_cells_and_lines_are_cut() -> None:
    table = {"age": [200 + i // 7 for i in range(70)], "sugar": [100] * 70}
    (error,) = SCHEMA.mismatches(
        {**table, "pain": ["none"] * 70, "grade": [0] * 70}, client="north"
    )
    assert "'200' in rows 1, 2, 3, 4, 5 and 2 more" in error.cause
    assert "and 5 other values" in error.cause
    assert len(error.cause) < 400


def test_an_unknown_category_gets_the_nearest_one(tmp_path: Path) -> None:
    text = TABLE.replace("41;0;1;2", "41;0;tipical;2")
    (error,) = found(tmp_path, text)
    assert "'tipical' in line 3 (Did you mean 'typical'?)" in error.cause


def test_a_missing_column_gets_the_nearest_name_and_the_file_s_columns(tmp_path: Path) -> None:
    (error,) = found(tmp_path, TABLE.replace("Schmerz", "Schmerzen"))
    assert (error.code, error.facts["column"]) == ("data.missing-column", "pain")
    assert "Did you mean 'Schmerzen'?" in error.remedy
    assert "Alter, Zucker (mmol/l), Schmerzen, Grad, Name" in error.remedy


def test_a_repeated_column_is_refused_only_where_it_is_used(tmp_path: Path) -> None:
    assert not found(
        tmp_path, TABLE.replace("Name", "x").replace("\n", ";1\n").replace("x;1", "x;x")
    )
    (error,) = found(tmp_path, TABLE.replace("Name", "Grad"))
    assert (error.code, error.facts["column"]) == ("data.repeated-column", "grade")


def test_no_usable_row_is_a_mismatch(tmp_path: Path) -> None:
    (error,) = found(tmp_path, "Alter;Zucker (mmol/l);Schmerz;Grad\n63;5,5;?;0\n")
    assert error.code == "data.no-usable-rows"


def test_a_table_of_truncated_rows_only_is_a_mismatch_not_a_crash(tmp_path: Path) -> None:
    codes = [e.code for e in found(tmp_path, "Alter;Zucker (mmol/l);Schmerz;Grad\n63;5,5\n")]
    assert codes == ["data.ragged-rows", "data.no-usable-rows"]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (TABLE.replace(";", "\t"), "data.delimiter", '`delimiter = "\\t"`'),
        (TABLE.replace(",", ".").replace(";", ","), "data.delimiter", '`delimiter = ","`'),
        ("", "data.no-rows", "north.csv"),
        ("\n\n", "data.no-rows", "north.csv"),
        (TABLE.partition("\n")[0], "data.no-rows", "north.csv"),
        (TABLE + '50;"5,5;0;0;x\n', "data.csv", "from line 7 on"),
        (TABLE.encode("utf-16"), "data.encoding", "utf-8"),
        (TABLE.encode() + "50;5,5;0;0;Zürich\n".encode("latin-1"), "data.encoding", "line 7"),
        (b"PK\x03\x04\x14\x00\x06\x00", "data.encoding", "line 1"),
        (TABLE.encode() + b"\x00\x00\x00", "data.encoding", "line 7"),
    ],
)
def test_a_file_that_is_not_such_a_table_says_what_it_is(
    tmp_path: Path, text: str | bytes, code: str, said: str
) -> None:
    form = mapping_from_toml(MAPPING).file
    error = refusal(read_table, site(tmp_path, text), form, "north")
    assert (error.code, error.facts["client"], error.facts["file"]) == (code, "north", "north.csv")
    assert said in str(error)
    # The bytes of the file must not hang on an error that may travel.
    assert error.__cause__ is None or not isinstance(error.__cause__, UnicodeError)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    error = refusal(read_table, tmp_path / "none.csv", FileFormat(), "north")
    assert error.code == "data.file"
    assert "No such file" in error.cause


def test_a_byte_order_mark_and_windows_line_ends_are_harmless(tmp_path: Path) -> None:
    plain = read_site(site(tmp_path), SCHEMA, mapping_from_toml(MAPPING))
    marked = codecs.BOM_UTF8 + TABLE.replace("\n", "\r\n").encode()
    other = read_site(site(tmp_path, marked), SCHEMA, mapping_from_toml(MAPPING))
    np.testing.assert_array_equal(plain.x, other.x)


def test_another_encoding_can_be_named(tmp_path: Path) -> None:
    mapping = MAPPING.replace("[file]", '[file]\nencoding = "latin-1"').replace("Zucker", "Glucosé")
    path = site(tmp_path, TABLE.replace("Zucker", "Glucosé").encode("latin-1"))
    assert read_site(path, SCHEMA, mapping_from_toml(mapping)).count == 3


def test_a_quoted_cell_may_hold_lines_and_the_next_row_keeps_its_own_line(tmp_path: Path) -> None:
    path = site(tmp_path, 'a,b\n"x\ny",1\n\n2,3\n')
    table = read_table(path, FileFormat(), "north")
    assert (table.lines, list(table.columns["a"])) == ((2, 5), ["x\ny", "2"])


def test_a_file_without_header_is_recognised_and_can_be_described(tmp_path: Path) -> None:
    bare = "63,100,none,0\n41,120,typical,1\n"
    headless = bare.replace("none", "0").replace("typical", "1")
    table = read_table(site(tmp_path, headless), FileFormat(), "north")
    (error,) = SCHEMA.mismatches(table, None, "north")
    assert error.code == "data.no-header"
    names = ("age", "sugar", "pain", "grade")
    mapping = SiteMapping(FileFormat(header=False, names=names))
    assert read_site(site(tmp_path, bare), SCHEMA, mapping).count == 2
    short = SiteMapping(FileFormat(header=False, names=names[:3]))
    codes = {
        e.code
        for e in SCHEMA.mismatches(read_table(tmp_path / "north.csv", short.file, "n"), short)
    }
    assert codes == {"data.missing-column", "data.ragged-rows", "data.no-usable-rows"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (TABLE.replace("63;", "630;"), "data.outside"),
        (TABLE.replace("63;", "secret;"), "data.not-a-number"),
        (TABLE.replace(";0;0;a", ";secret;0;a"), "data.unknown-category"),
        (TABLE.replace("Alter", "secret"), "data.missing-column"),
        (TABLE.replace("Name", "Grad"), "data.repeated-column"),
        (TABLE.replace(";0;0;a", ";0;0"), "data.ragged-rows"),
    ],
)
def test_what_may_travel_holds_no_cell_line_or_name_of_the_site_s_own(
    tmp_path: Path, text: str, code: str
) -> None:
    error = refusal(read_site, site(tmp_path, text), SCHEMA, mapping_from_toml(MAPPING), "north")
    assert (error.code, error.facts["client"]) == (code, "north")
    said = str(error) + repr(error.facts)
    assert not any(word in said for word in ("630", "secret", "Alter", "'Grad'", "line 2"))
    assert "tacit data check" in error.cause


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('from = "Alter"', 'form = "Alter"', 7, "Valid names: absent, factor, from"),
        ('from = "Alter"', 'source = "Alter"', 7, "'source'"),
        ('from = "Alter"', "from = 3", 7, "(columns.age.from): Expected `str`"),
        ("delimiter", "delimeter", 2, "Did you mean 'delimiter'"),
        ("[file]", "[flie]", 1, "Did you mean 'file'"),
        ("factor = 18", "factor = 0", 11, "other than 0"),
        ("factor = 18", "absent = true", 11, "absent"),
        ('decimal = ","', 'decimal = ";"', 3, "'.' or ','"),
        ('delimiter = ";"', 'delimiter = ","', 3, "the delimiter is the same"),
        ('delimiter = ";"', 'delimiter = ";;"', 2, "one character"),
        ("[file]", '[file]\nencoding = "utf-88"', 2, "an encoding that Python knows"),
        ('delimiter = ";"', "header = false", 1, "a list of column names"),
        ('delimiter = ";"', 'names = ["a"]', 2, "header = true"),
    ],
)
def test_a_mistake_in_the_mapping_is_named_at_its_line(
    old: str, new: str, line: int, said: str
) -> None:
    error = refusal(mapping_from_toml, MAPPING.replace(old, new), "north.toml")
    assert error.code.startswith("description.")
    assert (error.facts["file"], error.facts["line"]) == ("north.toml", line)
    assert said in str(error)


@pytest.mark.parametrize("text", ["columns = 3", "[columns]\nage = 3", "file = 3"])
def test_what_should_be_a_table_says_so(text: str) -> None:
    assert "not a table" in refusal(mapping_from_toml, text).cause


def test_broken_toml_is_named_with_its_place() -> None:
    error = refusal(mapping_from_toml, MAPPING + "x = \n", "north.toml")
    assert error.code == "description.syntax"
    assert "line 20" in error.cause


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("[columns.sugar]", "[columns.suger]", 9, "Did you mean 'sugar'?"),
        ('"typical"', '"tpical"', 16, "Did you mean 'typical'?"),
        ('from = "Schmerz"', 'from = "Schmerz"\nfactor = 2', 16, "Leave factor out."),
    ],
)
def test_a_mapping_that_does_not_fit_the_schema_is_named_at_its_line(
    tmp_path: Path, old: str, new: str, line: int, said: str
) -> None:
    errors = found(tmp_path, TABLE, MAPPING.replace(old, new))
    (error,) = (e for e in errors if e.code == "data.mapping")
    assert f"line {line}:" in error.cause
    assert said in error.remedy


def test_a_table_in_memory_is_translated_like_a_file() -> None:
    mapping = mapping_from_toml(MAPPING)
    table = {
        "Alter": [63, 41],
        "Zucker (mmol/l)": [5.5, 0.0],
        "Schmerz": [1.0, 2],
        "Grad": [0, -9.0],
    }
    (error,) = SCHEMA.mismatches(table, mapping, "north")
    assert (error.code, error.facts["column"]) == ("data.missing", "grade")


def test_a_mapping_is_plain_data() -> None:
    assert to_plain(mapping_from_toml(MAPPING))["columns"]["sugar"]["factor"] == 18


def notices(**changed: list[Any]) -> dict[str, str]:
    table = {
        "age": list(range(20, 40)),
        "sugar": [100.0, 120.0] * 10,
        "pain": ["none", "typical"] * 10,
        "grade": [0, 1] * 10,
    }
    table |= changed
    assert SCHEMA.mismatches(table) == ()
    return {notice.code: notice.cause for notice in SCHEMA.notices(table, client="north")}


@pytest.mark.parametrize(
    ("column", "cells", "code", "said"),
    [
        ("age", [30] * 20, "data.constant-column", "age"),
        ("pain", ["none"] * 20, "data.constant-column", "pain"),
        ("sugar", [None] * 11 + [1e2] * 9, "data.mostly-missing", "55 %"),
        ("pain", [None] * 3 + ["none", "typical"] * 8 + ["none"], "data.dropped-rows", "3 of 20"),
        ("grade", [0] * 19 + [3], "data.nearly-one-class", "95.0 %"),
        ("grade", [4] * 19 + [3], "data.nearly-one-class", "100.0 %"),
    ],
)
def test_legal_but_notable_things_are_noticed(
    column: str, cells: list[Any], code: str, said: str
) -> None:
    found = notices(**{column: cells})
    assert list(found) == [code]
    assert said in found[code] and "north" in found[code]


def test_an_ordinary_table_has_no_notices() -> None:
    assert notices() == {}


def test_a_regression_label_has_no_classes_to_notice() -> None:
    schema = Schema(SCHEMA.columns[:1], Label("grade", low=0, high=4))
    assert schema.notices({"age": [20, 30, 40], "grade": [1.0, 1.0, 1.0]}) == ()
