"""Packs and answers that are read and written by ranges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.base.errors import TacitError
from tacit.deploy.wire.answers import encode_answer, open_answer, read_answer, write_answer
from tacit.deploy.wire.packs import (
    Blank,
    Part,
    blank_pack,
    file_digest,
    open_pack,
    pack_bytes,
    read_pack,
    write_pack,
)

TREE: dict[str, Any] = {
    "own": {"a": np.arange(100, dtype=np.float32), "n": 3.5, "none": np.zeros(0)},
    "names": ["a", "b"],
    "b": np.arange(7.0),
    "square": np.ones((2, 3)),
}


@settings(deadline=None)
@given(st.lists(st.integers(0, 100), max_size=6).map(sorted))
def test_a_pack_in_pieces_is_the_pack(tmp_path_factory: pytest.TempPathFactory, cuts: Any) -> None:
    folder = tmp_path_factory.mktemp("parts")
    whole = write_pack(folder / "whole", TREE)
    blank = {
        **TREE,
        "own": {**TREE["own"], "a": Blank("<f4", 100), "none": Blank("<f8", 0)},
        "b": Blank("<f8", 7),
    }
    parts = blank_pack(folder / "pieces", blank)
    for start, stop in zip([0, *cuts], [*cuts, 100], strict=True):
        parts["own"]["a"].write(start, TREE["own"]["a"][start:stop])
    parts["b"].write(0, TREE["b"])
    assert file_digest(folder / "pieces") == whole
    found = open_pack(folder / "pieces")
    for start, stop in zip([0, *cuts], [*cuts, 100], strict=True):
        np.testing.assert_array_equal(
            found["own"]["a"].read(start, stop), TREE["own"]["a"][start:stop]
        )
    assert found["own"]["n"] == 3.5
    assert found["square"].tolist() == TREE["square"].tolist()


def test_a_pack_in_memory_is_read_as_it_is(tmp_path: Path) -> None:
    found = open_pack(pack_bytes(TREE))
    assert found["b"].tolist() == read_pack(pack_bytes(TREE))["b"].tolist()
    (tmp_path / "odd").write_bytes(b"no pack")
    with pytest.raises(TacitError) as raised:
        open_pack(tmp_path / "odd")
    assert raised.value.code == "wire.pack"


def test_a_file_that_became_shorter_is_named(tmp_path: Path) -> None:
    write_pack(tmp_path / "pack", {"a": np.arange(1000.0)})
    part = open_pack(tmp_path / "pack")["a"]
    assert isinstance(part, Part)
    with (tmp_path / "pack").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(TacitError) as raised:
        part.read(0, 1000)
    assert raised.value.code == "wire.cannot-read"


ROWS = [
    (np.linspace(-1, 1, 50, dtype=np.float32), 0),
    (np.linspace(-1, 1, 50), 0),
    (np.arange(-25, 25) * 100_000, 0),
    (np.arange(50) * 300_000, 24),
]


@pytest.mark.parametrize(("row", "bits"), ROWS)
def test_ranges_of_an_answer_are_ranges_of_its_numbers(row: Any, bits: int, tmp_path: Path) -> None:
    write_answer(tmp_path / "answer", row, bits)
    for source in (tmp_path / "answer", encode_answer(row, bits)):
        whole = read_answer(source, 50)
        answer = open_answer(source, 50, checked=True)
        for start, stop in ((0, 50), (3, 4), (17, 40), (50, 50)):
            np.testing.assert_array_equal(answer.read(start, stop), whole[start:stop])
        with pytest.raises(ValueError, match="range"):
            answer.read(3, 51)
