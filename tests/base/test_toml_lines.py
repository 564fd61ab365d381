from __future__ import annotations

import tomllib
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from tacit.base.toml_lines import line_of

TEXT = """\
# a comment with [brackets] and = signs
title = "a = [b]"
dotted.inner.key = 1

[server]
port = 80 # trailing
"quoted key" = 1
'literal.key' = 2
long = \"\"\"
[not a table]
not_a_key = 1 \\\"\"\"
\"\"\"
after = '''x
[y]'''
last = true

[[columns]]
name = "age"
low = 18

[[columns]]
name = "cp"
levels = [
    "a", # the first
    "b]",
    ["c", "d"],
]
[columns.extra]
deep = 1

[[columns.rules]]
x = 1
[[columns.rules]]
x = 2

[a.b]
c = { d = 1, "e f" = [ { g = 2 }, { g = 3 } ] }
when = 2024-01-01T00:00:00Z
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("dotted",), 3),
        (("dotted", "inner", "key"), 3),
        (("server",), 5),
        (("server", "port"), 6),
        (("server", "quoted key"), 7),
        (("server", "literal.key"), 8),
        (("server", "long"), 9),
        (("server", "after"), 13),
        (("server", "last"), 15),
        (("columns",), 17),
        (("columns", 0), 17),
        (("columns", 0, "low"), 19),
        (("columns", 1), 21),
        (("columns", 1, "name"), 22),
        (("columns", 1, "levels"), 23),
        (("columns", 1, "levels", 1), 25),
        (("columns", 1, "levels", 2), 26),
        (("columns", 1, "levels", 2, 1), 26),
        (("columns", 1, "extra"), 28),
        (("columns", 1, "extra", "deep"), 29),
        (("columns", 1, "rules", 0), 31),
        (("columns", 1, "rules", 1, "x"), 34),
        (("a",), 36),
        (("a", "b"), 36),
        (("a", "b", "c", "d"), 37),
        (("a", "b", "c", "e f", 1, "g"), 37),
        (("a", "b", "when"), 38),
    ],
)
def test_line_of_every_kind_of_place(path: tuple[str | int, ...], line: int) -> None:
    assert line_of(TEXT, path) == line


@pytest.mark.parametrize(
    "path",
    [
        (),
        ("not_a_key",),
        ("server", "not_a_key"),
        ("not a table",),
        ("y",),
        ("columns", 2),
        ("columns", 0, "levels"),
        ("columns", 0, "extra"),
    ],
)
def test_what_is_not_written_has_no_line(path: tuple[str | int, ...]) -> None:
    assert line_of(TEXT, path) is None


def test_a_table_named_after_its_part_stands_at_its_own_header() -> None:
    assert line_of("[a.b]\nx = 1\n[a]\ny = 2\n", ("a",)) == 3


def test_windows_line_ends() -> None:
    assert line_of("a = 1\r\nb = 2\r\n[c]\r\nd = 3\r\n", ("c", "d")) == 4


def test_a_file_that_ends_in_the_middle_gives_what_stands_before() -> None:
    assert line_of("a = 1\nb = [1,\n", ("b",)) == 2
    assert line_of("a = 1\n[", ("a",)) == 1


keys = st.text(min_size=1, max_size=6)
leaves = st.one_of(st.integers(), st.booleans(), st.text(max_size=12))
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=12,
)


def _leaves(held: Any, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any]]:
    if isinstance(held, dict | list) and held:
        pairs = held.items() if isinstance(held, dict) else enumerate(held)
        return [leaf for key, value in pairs for leaf in _leaves(value, (*path, key))]
    return [(path, held)] if path else []


@given(st.dictionaries(keys, values, max_size=4))
def test_every_leaf_of_any_document_is_found_on_the_line_that_holds_it(
    document: dict[str, Any],
) -> None:
    text = tomli_w.dumps(document)
    assert tomllib.loads(text) == document
    lines = text.split("\n")
    for path, leaf in _leaves(document):
        line = line_of(text, path)
        assert line is not None, path
        if isinstance(leaf, int):
            assert str(leaf).lower() in lines[line - 1]
