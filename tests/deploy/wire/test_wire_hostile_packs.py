from __future__ import annotations

import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.base.errors import TacitError
from tacit.deploy.wire.packs import MAGIC, pack_bytes, read_pack

GOOD = pack_bytes({"a": np.arange(5.0), "b": [1, 2.5, (np.array(["x", "yé"]), True)], 3: None})
ARRAY = ["array"]


def framed(header: bytes, data: bytes = b"") -> bytes:
    start = MAGIC + struct.pack("<I", len(header)) + header
    return start + (bytes(-len(start) % 64) + data if data else b"")


def pack(outline: Any, *leaves: Any, data: bytes = b"") -> bytes:
    return framed(json.dumps({"outline": outline, "leaves": leaves}).encode(), data)


def leaf(dtype: str = "<f8", shape: Any = (1,), offset: int = 0, **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "offset": offset, **more}


def nested(kind: str, levels: int) -> Any:
    outline: Any = ["=", None]
    for _ in range(levels):
        outline = [kind, outline]
    return outline


HOSTILE = {
    "nothing": b"",
    "half a magic": MAGIC[:4],
    "no header": MAGIC,
    "another magic": b"TACIT\x02\n" + bytes(50),
    "a header beyond the file": MAGIC + struct.pack("<I", 100) + b"{}",
    "a header of 4 GiB": MAGIC + b"\xff\xff\xff\xff" + bytes(100),
    "a header beyond the limit": framed(b" " * (1 << 20) + b"{}"),
    "a header that is no JSON": framed(b"\xff\xfe"),
    "a header of another form": framed(b"[1, 2]"),
    "a header with more": framed(b'{"outline":["=",null],"leaves":[],"more":1}'),
    "deep JSON": framed(b"[" * 100_000),
    "a long number": framed(b"1" * 100_000),
    "a deep outline": pack(nested("list", 65)),
    "a very deep outline": pack(nested("tuple", 400)),
    "an unknown kind": pack(["code", "import os"]),
    "a text for an outline": pack("=x"),
    "a number for a text": pack(["=", 1.5]),
    "two texts": pack(["=", "a", "b"]),
    "a key that is a list": pack(["dict", [["k"], ["=", None]]]),
    "a key that is a fraction": pack(["dict", [1.5, ["=", None]]]),
    "a key twice": pack(["dict", ["k", ["=", None]], ["k", ["=", None]]]),
    "a key without value": pack(["dict", ["k"]]),
    "a leaf too few": pack(ARRAY),
    "a leaf too many": pack(["=", None], leaf(), data=bytes(8)),
    "an object": pack(ARRAY, leaf("|O"), data=bytes(8)),
    "a record": pack(ARRAY, leaf("<f8,<f8"), data=bytes(16)),
    "big-endian numbers": pack(ARRAY, leaf(">f8"), data=bytes(8)),
    "raw bytes": pack(ARRAY, leaf("|V8"), data=bytes(8)),
    "a text of no length": pack(ARRAY, leaf("<U0", [1 << 60])),
    "a type that is code": pack(ARRAY, leaf("__import__('os')"), data=bytes(8)),
    "a negative axis": pack(ARRAY, leaf(shape=[-1]), data=bytes(8)),
    "two negative axes": pack(ARRAY, leaf(shape=[-1, -1]), data=bytes(8)),
    "a fraction of an axis": pack(ARRAY, leaf(shape=[1.5]), data=bytes(8)),
    "a petabyte": pack(ARRAY, leaf(shape=[1 << 47]), data=bytes(8)),
    "a product that overflows": pack(ARRAY, leaf(shape=[1 << 32, 1 << 32]), data=bytes(8)),
    "an overflow hidden by a zero": pack(ARRAY, leaf(shape=[1 << 62, 1 << 62, 0])),
    "a number beyond 64 bits": pack(ARRAY, leaf(shape=[1 << 80]), data=bytes(8)),
    "33 axes": pack(ARRAY, leaf(shape=[1] * 33), data=bytes(8)),
    "a negative offset": pack(ARRAY, leaf(offset=-64), data=bytes(8)),
    "an offset beyond the file": pack(ARRAY, leaf(offset=1 << 62), data=bytes(8)),
    "an unaligned offset": pack(ARRAY, leaf(offset=8), data=bytes(16)),
    "a gap": pack(ARRAY, leaf(offset=64), data=bytes(72)),
    "an overlap": pack(["list", ARRAY, ARRAY], leaf(), leaf(), data=bytes(8)),
    "something in the padding": pack(
        ["list", ARRAY, ARRAY], leaf(), leaf(offset=64), data=bytes(8) + b"\x01" + bytes(63)
    ),
    "something behind the end": pack(ARRAY, leaf(), data=bytes(9)),
    "an unknown order": pack(ARRAY, leaf(order="K"), data=bytes(8)),
    "one number as an array": pack(["float"], leaf(), data=bytes(8)),
    "a scalar as an array": pack(["scalar"], leaf(), data=bytes(8)),
    "a float as a whole number": pack(["int"], leaf(shape=[]), data=bytes(8)),
    "a whole number as a float": pack(["float"], leaf("<i8", []), data=bytes(8)),
    "half a truth": pack(ARRAY, leaf("|b1"), data=b"\x02"),
    "a text beyond Unicode": pack(ARRAY, leaf("<U1"), data=b"\xff\xff\xff\xff"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("where", ["bytes", "file"])
def test_a_hostile_pack_is_refused_in_plain_words(name: str, where: str, tmp_path: Path) -> None:
    source: Path | bytes = HOSTILE[name]
    if where == "file":
        source = tmp_path / "upload"
        source.write_bytes(HOSTILE[name])
    with pytest.raises(TacitError) as refused:
        read_pack(source)
    assert refused.value.code == "wire.pack"
    assert len(refused.value.cause) < 400


def test_the_frame_of_these_tests_is_the_right_one() -> None:
    assert read_pack(pack(ARRAY, leaf(), data=bytes(8))).tolist() == [0.0]
    assert read_pack(pack(["=", None])) is None
    assert read_pack(pack(nested("list", 63))) is not None


def test_no_part_of_a_pack_is_a_pack() -> None:
    for length in range(len(GOOD)):
        with pytest.raises(TacitError) as refused:
            read_pack(GOOD[:length])
        assert refused.value.code == "wire.pack"


def test_a_pack_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pack"
    path.write_bytes(GOOD)
    assert read_pack(path, limit=len(GOOD)) is not None
    with pytest.raises(TacitError, match="more than") as refused:
        read_pack(path, limit=len(GOOD) - 1)
    assert refused.value.code == "wire.pack"


def test_declared_sizes_allocate_nothing() -> None:
    huge = pack(["list", *[ARRAY] * 50], *[leaf(shape=[1 << 40])] * 50, data=bytes(8))
    tracemalloc.start()
    try:
        with pytest.raises(TacitError):
            read_pack(huge)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


@given(st.data())
def test_altered_packs_are_read_or_refused(data: st.DataObject) -> None:
    altered = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(altered) - 1))
        altered[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    try:
        pack_bytes(read_pack(bytes(altered)))
    except TacitError as refused:
        assert refused.code == "wire.pack"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["=", "x"]),
        lambda inner: st.builds(
            lambda kind, parts: [kind, *parts],
            st.sampled_from(["=", "list", "tuple", "dict", "array", "scalar", "int", "float"]),
            st.lists(inner, max_size=3),
        ),
    ),
    st.lists(
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["<f8", "<i8", "|b1", "<U3", "|S2", "<M8", "|O", "<f16"]),
                "shape": st.lists(st.integers(-1, 3) | st.integers(), max_size=3),
                "offset": st.sampled_from([0, 64, 128]) | st.integers(),
            }
        ),
        max_size=3,
    ),
    st.binary(max_size=200),
)
def test_invented_headers_are_read_or_refused(outline: Any, leaves: Any, data: bytes) -> None:
    try:
        pack_bytes(read_pack(pack(outline, *leaves, data=data)))
    except TacitError as refused:
        assert refused.code == "wire.pack"
