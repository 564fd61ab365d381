from __future__ import annotations

import hashlib
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tacit.base.errors import TacitError
from tacit.deploy.wire import answers
from tacit.deploy.wire.answers import encode_answer, open_answer, read_answer, write_answer
from tacit.round.close import add

HEAD = "5441434954020a"
TWO = "0200000000000000"

GOLDEN = [
    (np.array([0.5, -0.0]), 0, False, "02", "000000000000e03f0000000000000080"),
    (np.array([1, -2], np.float32), 0, False, "01", "0000803f000000c0"),
    (np.array([1, -2], np.float16), 0, False, "01", "0000803f000000c0"),
    (np.array([1, -2], ">f4"), 0, False, "01", "0000803f000000c0"),
    (np.array([1, -2], np.float32), 0, True, "03", "803f00c0"),
    (np.array([-1, 127]), 0, False, "11", "ff7f"),
    (np.array([-129, 5], ">i8"), 0, False, "12", "7fff0500"),
    (np.array([-(2**23), 5]), 0, False, "13", "00000500" + "8000"),
    (np.array([2**31 - 1, -1]), 0, False, "14", "ffffff7fffffffff"),
    (np.array([2**31, -1]), 0, False, "18", "0000008000000000ffffffffffffffff"),
    (np.array([0, 255]), 8, False, "21", "00ff"),
    (np.array([0, 2**16 - 1]), 16, False, "22", "0000ffff"),
    (np.array([1, 2**24 - 1]), 24, False, "23", "0100ffff" + "00ff"),
    (np.array([1, 2**32 - 1]), 32, False, "24", "01000000ffffffff"),
    (np.array([1, 2**40]), 41, False, "28", "01000000000000000000000000010000"),
]  # fmt: skip

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(("row", "bits", "bf16", "code", "numbers"), GOLDEN)
def test_answers_have_these_bytes_on_any_machine(
    row: Any, bits: int, bf16: bool, code: str, numbers: str
) -> None:
    encoded = encode_answer(row, bits, bf16=bf16)
    assert encoded.hex() == HEAD + code + TWO + numbers
    assert read_answer(encoded, 2).tolist() == row.tolist()


@given(hnp.arrays(st.sampled_from(["<f4", "<f8", ">f8"]), st.integers(0, 40)))
def test_floats_return_to_the_bit_or_are_refused(row: Any) -> None:
    if not np.isfinite(row).all():
        with pytest.raises(TacitError) as refused:
            encode_answer(row)
        assert refused.value.code == "wire.not-finite"
        return
    found = read_answer(encode_answer(row, bf16=True), row.size, whole=False)
    little = row.astype(row.dtype.newbyteorder("<"))
    assert found.astype(little.dtype).tobytes() == little.tobytes()


@given(st.integers(1, 63), st.data())
def test_residues_return_in_as_few_bytes_as_their_modulus_needs(
    bits: int, data: st.DataObject
) -> None:
    values = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=30))
    row = np.array(values, np.int64)
    encoded = encode_answer(row, bits)
    found = read_answer(encoded, row.size, whole=True)
    assert found.tolist() == values
    assert found.dtype.kind == "i"
    width = -(-bits // 8) if bits <= 32 else 8
    assert len(encoded) == 16 + width * row.size


@given(st.integers(1, 64), st.data())
def test_whole_numbers_return_in_the_fewest_bytes(bits: int, data: st.DataObject) -> None:
    limits = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    values = [*limits, *data.draw(st.lists(st.integers(*limits), max_size=30))]
    encoded = encode_answer(np.array(values, np.int64))
    assert read_answer(encoded, len(values)).tolist() == values
    width = -(-bits // 8) if bits <= 32 else 8
    assert len(encoded) == 16 + width * len(values)


@pytest.mark.parametrize("dtype", ["|u1", "|i1", ">u2", "<u4", "<u8"])
def test_every_type_of_whole_number_is_written_alike(dtype: str) -> None:
    row = np.array([1, 2, 127], dtype)
    for bits in (0, 7, 24, 48):
        assert encode_answer(row, bits) == encode_answer(row.astype(np.int64), bits)


@given(st.lists(FINITE.filter(lambda x: abs(x) < 1e38), min_size=1, max_size=20))
def test_bfloat16_is_used_only_where_it_loses_nothing(values: list[float]) -> None:
    row = np.array(values)
    short = (row.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    assert len(encode_answer(short, bf16=True)) == 16 + 2 * row.size
    assert read_answer(encode_answer(short, bf16=True), row.size).tobytes() == short.tobytes()
    if (short.astype(np.float64) != row).any():
        assert read_answer(encode_answer(row, bf16=True), row.size).tobytes() == row.tobytes()


@pytest.mark.parametrize(
    ("row", "bits"),
    [(np.array([1.0, 2.5]), 0), (np.array([1, -70_000]), 0), (np.array([1, 70_000]), 24)],
)
def test_a_file_is_read_as_bytes_are(row: Any, bits: int, tmp_path: Path) -> None:
    path = tmp_path / "answer"
    assert write_answer(path, row, bits) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.read_bytes() == encode_answer(row, bits)
    assert read_answer(path, 2).tolist() == row.tolist()


@pytest.mark.parametrize("bits", [0, 24])
def test_ranges_are_parts_of_the_whole(bits: int, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(answers, "_CHUNK", 7)
    row = np.arange(100) * 1000
    write_answer(tmp_path / "answer", row, bits)
    answer = open_answer(tmp_path / "answer", 100)
    parts = [answer.part(start, min(start + 13, 100)) for start in range(0, 100, 13)]
    assert np.concatenate(parts).tolist() == row.tolist()
    assert answer.part(50, 50).size == 0
    for start, stop in ((-1, 3), (5, 4), (99, 101)):
        with pytest.raises(ValueError, match="range"):
            answer.part(start, stop)


def test_a_sum_of_answers_is_the_sum_of_rows() -> None:
    rows = np.random.default_rng(1).integers(0, 2**24, (5, 50))
    for bits in (24, 32, 48):
        total, count = add(read_answer(encode_answer(row, bits), 50) for row in rows)
        assert count == 5
        assert total.dtype == np.int64
        assert (total == rows.sum(0)).all()


@pytest.mark.parametrize("shift", [0, 3, 6])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_a_float_that_is_not_finite_is_found(
    shift: int, wrong: float, dtype: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(answers, "_CHUNK", 3)
    row = np.ones(7, dtype)
    raw = bytearray(encode_answer(row))
    place = 16 + shift * row.itemsize
    raw[place : place + row.itemsize] = np.array(wrong, dtype).tobytes()
    row[shift] = wrong
    for refuse in (lambda: read_answer(bytes(raw), 7), lambda: encode_answer(row)):
        with pytest.raises(TacitError, match=f"coordinate {shift}") as refused:
            refuse()
        assert refused.value.code == "wire.not-finite"


def test_bfloat16_infinity_is_found() -> None:
    raw = bytes.fromhex(HEAD + "03" + TWO + "803f" + "807f")
    with pytest.raises(TacitError, match="inf at coordinate 1"):
        read_answer(raw, 2)


FLOATS = encode_answer(np.array([1.0, 2.0]))
WHOLES = encode_answer(np.array([1, 2]))


@pytest.mark.parametrize(
    ("raw", "size", "whole", "found"),
    [
        (b"", 2, None, "0 bytes"),
        (FLOATS[:15], 2, None, "15 bytes"),
        (FLOATS[:16], 2, None, "16 bytes for 2 float64"),
        (FLOATS[:-1], 2, None, "31 bytes"),
        (FLOATS + b"\0", 2, None, "33 bytes"),
        (FLOATS, 3, None, "2 float64; expected is 3 numbers"),
        (FLOATS, 2, True, "2 float64; expected is 2 whole numbers"),
        (WHOLES, 2, False, "2 whole numbers of 1 byte; expected is 2 floats"),
        (b"TACIT\x01\n" + FLOATS[7:], 2, None, "no answer"),
        (FLOATS[:7] + b"\x63" + FLOATS[8:], 2, None, "no answer"),
        (struct.pack("<7sBQ", answers.MAGIC, 2, 2**63), 2**63, None, "16 bytes"),
        (struct.pack("<7sBQ", answers.MAGIC, 2, 2**61), 2**61, None, "16 bytes"),
    ],
)
def test_another_answer_is_refused_by_name(
    raw: bytes, size: int, whole: bool | None, found: str, tmp_path: Path
) -> None:
    path = tmp_path / "answer"
    path.write_bytes(raw)
    for source in (raw, path):
        with pytest.raises(TacitError, match=found) as refused:
            read_answer(source, size, whole=whole)
        assert refused.value.code == "wire.answer"


@given(st.binary(max_size=60), st.integers(0, 6))
def test_any_bytes_are_read_or_refused(tail: bytes, size: int) -> None:
    for raw in (tail, answers.MAGIC + tail, FLOATS[:8] + struct.pack("<Q", size) + tail):
        try:
            assert read_answer(raw, size).shape == (size,)
        except TacitError as refused:
            assert refused.code in {"wire.answer", "wire.not-finite"}


def test_a_large_answer_is_checked_in_little_memory(tmp_path: Path) -> None:
    path, size = tmp_path / "answer", 1 << 26
    with path.open("wb") as file:
        file.write(struct.pack("<7sBQ", answers.MAGIC, 1, size))
        file.truncate(16 + 4 * size)
    tracemalloc.start()
    try:
        row = read_answer(path, size)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert row.shape == (size,)
    assert peak < 4 << 20


def test_a_missing_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(TacitError, match="gone") as refused:
        read_answer(tmp_path / "gone", 3)
    assert refused.value.code == "wire.cannot-read"


@pytest.mark.parametrize(
    ("row", "bits"),
    [
        (np.zeros((2, 2)), 0),
        (np.array(["a"]), 0),
        (np.zeros(2, np.longdouble), 0),
        (np.zeros(2, np.complex128), 0),
        (np.array([-1]), 8),
        (np.array([256]), 8),
        (np.array([1]), 64),
        (np.array([2**63], np.uint64), 0),
    ],
)
def test_what_no_answer_can_hold_is_a_mistake_of_the_caller(row: Any, bits: int) -> None:
    with pytest.raises(ValueError, match=r"answer|resid|whole"):
        encode_answer(row, bits)
