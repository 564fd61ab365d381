"""The catalogue of errors, the code that raises them, and the page that explains them agree."""

from __future__ import annotations

import ast
import string
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from docs.reference.generate import HERE, PAGES
from tacit.base.catalogue import CATALOGUE
from tacit.base.errors import TacitError

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tacit"
RAISERS = ("TacitError", "Unsound")


@cache
def _trees() -> dict[Path, ast.Module]:
    """Every module of the package outside the catalogue itself."""
    paths = [path for path in SOURCE.rglob("*.py") if path.parent.name != "catalogue"]
    return {path: ast.parse(path.read_text("utf-8")) for path in paths}


def _raised() -> Iterator[tuple[str, ast.Call, str]]:
    """The code, the call and the place of every error made with a literal code."""
    for path, tree in _trees().items():
        for node in ast.walk(tree):
            match node:
                case ast.Call(
                    func=ast.Name(id=name) | ast.Attribute(attr=name),
                    args=[ast.Constant(value=str(code)), *_],
                ) if name in RAISERS:
                    yield code, node, f"{path.relative_to(ROOT)}:{node.lineno}"


def _places(code: str) -> set[str]:
    """The names of the placeholders of an entry's sentences."""
    entry = CATALOGUE[code]
    return {
        name.partition(".")[0].partition("[")[0]
        for sentence in (entry.cause, entry.remedy)
        for _, name, _, _ in string.Formatter().parse(sentence)
        if name is not None
    }


@pytest.mark.parametrize("name", PAGES)
def test_generated_page_is_fresh(name: str) -> None:
    assert (HERE / name).read_text("utf-8") == PAGES[name](), "run: make docs"


def test_every_code_raised_is_in_the_catalogue() -> None:
    unknown = [f"{place}: {code}" for code, _, place in _raised() if code not in CATALOGUE]
    assert not unknown, "\n".join(unknown)


def test_every_error_is_given_the_facts_that_its_sentences_name() -> None:
    short = [
        f"{place}: {code} lacks {sorted(missing)}"
        for code, call, place in _raised()
        if code in CATALOGUE
        and all(keyword.arg for keyword in call.keywords)
        and (missing := _places(code) - {str(keyword.arg) for keyword in call.keywords})
    ]
    assert not short, "\n".join(short)


def test_every_entry_is_used() -> None:
    literals = {
        node.value
        for tree in _trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    unused = sorted(set(CATALOGUE) - literals)
    assert not unused, "\n".join(unused)


@pytest.mark.parametrize("code", CATALOGUE)
def test_entry_is_two_whole_sentences_with_named_places(code: str) -> None:
    entry = CATALOGUE[code]
    assert all(place.isidentifier() for place in _places(code))
    assert entry.cause.endswith((".", "?", "}"))
    assert entry.remedy
    assert code.count(".") == 1


def test_an_unknown_code_is_refused() -> None:
    with pytest.raises(KeyError):
        TacitError("no.such-code")
