from __future__ import annotations

import hashlib
import math
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tacit.base.errors import TacitError
from tacit.deploy.wire.files import file_digest
from tacit.deploy.wire.packs import pack_bytes, read_pack, write_pack

SMALL = (
    b'TACIT\x01\n\xb0\x00\x00\x00{"outline":["dict",["a",["scalar"]],["b",["list",["=",true],'
    b'["array"]]]],"leaves":[{"dtype":"<f4","shape":[],"offset":0},'
    b'{"dtype":"<i2","shape":[2,2],"offset":64,"order":"F"}]}' + bytes(5)
    # 1.5, padding to 64 bytes, then the columns of [[1, 2], [3, 4]]
    + b"\x00\x00\xc0\x3f" + bytes(60) + b"\x01\x00\x03\x00\x02\x00\x04\x00"
)  # fmt: skip

DTYPES = (
    "?", "|i1", "<i2", ">i4", "<i8", "|u1", ">u2", "<u4", "<u8", "<f2", ">f4", "<f8", "<c8",
    ">c16", "|S3", "<U2", "<M8[ns]", "<m8[s]",
)  # fmt: skip


def same(a: Any, b: Any) -> bool:
    """Equal to the bit, with types, shapes and order in memory (but for the order of bytes)."""
    if isinstance(a, np.ndarray | np.generic):
        if type(a) is not type(b) or a.shape != b.shape:
            return False
        laid = not isinstance(a, np.ndarray) or a.flags.fnc == b.flags.fnc
        little = a.astype(a.dtype.newbyteorder("<"))
        return laid and b.dtype == little.dtype and b.tobytes() == little.tobytes()
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return np.float64(a).tobytes() == np.float64(b).tobytes()
    return bool(a == b)


def arrays() -> st.SearchStrategy[Any]:
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
    plain = st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, shapes))
    return plain | plain.map(np.asfortranarray) | plain.map(lambda a: a.T[::2] if a.ndim else a)


TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=5)
    | arrays()
    | st.floats(width=32).map(np.float32),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(-9, 9), inner, max_size=3)
    ),
    max_leaves=8,
)


def test_a_small_pack_has_these_bytes_on_any_machine() -> None:
    matrix = np.array([[1, 2], [3, 4]], "<i2", order="F")
    tree = {"a": np.float32(1.5), "b": [True, matrix]}
    assert pack_bytes(tree) == SMALL
    assert same(read_pack(SMALL), tree)
    swapped = {"a": np.float32(1.5), "b": [True, np.asfortranarray(matrix.astype(">i2"))]}
    assert pack_bytes(swapped) == SMALL


@given(TREES)
def test_what_is_read_is_what_was_packed(tree: Any) -> None:
    packed = pack_bytes(tree)
    found = read_pack(packed)
    assert same(tree, found)
    assert pack_bytes(found) == packed


def test_zeros_keep_their_sign_and_nan_its_bits() -> None:
    odd = np.array([0x7FF8_0000_0000_0001, 0xFFF0_0000_0000_0001, 1 << 63], np.uint64).view("<f8")
    found = read_pack(pack_bytes({"odd": odd, "zero": -0.0}))
    assert found["odd"].tobytes() == odd.tobytes()
    assert math.copysign(1.0, found["zero"]) == -1.0


def test_texts_of_classes_of_their_own_become_plain(tmp_path: Path) -> None:
    class Colour(StrEnum):
        RED = "red"

    found = read_pack(pack_bytes({np.str_("key"): np.str_("text"), Colour.RED: Colour.RED}))
    assert found == {"key": "text", "red": "red"}
    assert {type(held) for held in found.values()} == {str}


def test_a_file_is_mapped_and_read_only(tmp_path: Path) -> None:
    path = tmp_path / "model"
    tree = {"params": np.arange(100_000.0), "empty": np.empty((0, 3), np.int8)}
    digest = write_pack(path, tree)
    assert digest == file_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.read_bytes() == pack_bytes(tree)
    found = read_pack(path)
    assert same(tree, found)
    for array in found.values():
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 1
    assert [held.name for held in tmp_path.iterdir()] == ["model"]


def test_bytes_are_read_without_a_copy() -> None:
    packed = pack_bytes(np.arange(1000.0))
    assert np.shares_memory(read_pack(packed), np.frombuffer(packed, np.uint8))


def test_a_pack_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_pack(path, [1])
    write_pack(path, [2], durable=False)
    assert read_pack(path) == [2]


def nested(levels: int) -> Any:
    tree: Any = 1.0
    for _ in range(levels):
        tree = [tree]
    return tree


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        (np.zeros(2, np.longdouble), "not portable"),
        (np.zeros(2, "V4"), "not portable"),
        (np.zeros(2, "M8[25s]"), "not portable"),
        ("\ud800", "not valid Unicode"),
        (["long text"] * 100_000, "more than 1048576"),
        (nested(64), "more than 64 levels"),
        (nested(100_000), "too deep"),
    ],
)
def test_what_no_pack_holds_is_refused(tree: Any, why: str) -> None:
    with pytest.raises(TacitError, match=why) as refused:
        pack_bytes(tree)
    assert refused.value.code == "wire.not-packable"


def test_other_objects_are_named(tmp_path: Path) -> None:
    with pytest.raises(TacitError, match="'inner'") as refused:
        write_pack(tmp_path / "pack", {"inner": object()})
    assert refused.value.code == "run.not-storable"
    assert not list(tmp_path.iterdir())


def test_nesting_up_to_the_limit_is_packed() -> None:
    assert read_pack(pack_bytes(nested(63))) == nested(63)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for read in (read_pack, file_digest):
        with pytest.raises(TacitError, match="gone") as refused:
            read(tmp_path / "gone")
        assert refused.value.code == "wire.cannot-read"
