r"""Answers: one vector as bytes, in the fewest that hold it exactly, read by ranges.

    magic "TACIT\x02\n" | encoding (1 byte) | u64 length of the vector | numbers

All little-endian. Floats: float32, float64, or bfloat16 where that loses nothing. Whole numbers:
1, 2, 3, 4 or 8 bytes each; three bytes are two planes, the low 16 bits of all numbers and then the
high 8 bits, which numpy joins at the speed of memory. Residues modulo 2^bits are unsigned.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.base.vector import Vector
from tacit.deploy.wire.files import Piece, cannot_read, read_numbers, write_pieces

MAGIC = b"TACIT\x02\n"
_HEAD = struct.Struct("<7sBQ")
_CHUNK = 1 << 18


@final
@dataclass(frozen=True)
class Encoding:
    """How numbers are written: one or two planes of little-endian numbers, and what is read."""

    code: int
    name: str
    planes: tuple[str, ...]
    read: str

    @property
    def width(self) -> int:
        """Bytes of one number."""
        return sum(np.dtype(plane).itemsize for plane in self.planes)

    @property
    def floats(self) -> bool:
        """Whether it holds floats, which may not be finite."""
        return self.code <= 3


F4 = Encoding(1, "float32", ("<f4",), "<f4")
F8 = Encoding(2, "float64", ("<f8",), "<f8")
BF16 = Encoding(3, "bfloat16", ("<u2",), "<f4")
SIGNED = {
    1: Encoding(17, "whole numbers of 1 byte", ("|i1",), "|i1"),
    2: Encoding(18, "whole numbers of 2 bytes", ("<i2",), "<i2"),
    3: Encoding(19, "whole numbers of 3 bytes", ("<u2", "|i1"), "<i4"),
    4: Encoding(20, "whole numbers of 4 bytes", ("<i4",), "<i4"),
    8: Encoding(24, "whole numbers of 8 bytes", ("<i8",), "<i8"),
}
RESIDUES = {
    1: Encoding(33, "residues of 1 byte", ("|u1",), "<i2"),
    2: Encoding(34, "residues of 2 bytes", ("<u2",), "<i4"),
    3: Encoding(35, "residues of 3 bytes", ("<u2", "|u1"), "<i4"),
    4: Encoding(36, "residues of 4 bytes", ("<u4",), "<i8"),
    8: Encoding(40, "residues of 8 bytes", ("<i8",), "<i8"),
}
_BY_CODE = {e.code: e for e in (F4, F8, BF16, *SIGNED.values(), *RESIDUES.values())}


@final
@dataclass(frozen=True)
class Answer:
    """A vector that lies in a file or in memory, not read yet but for its header."""

    source: Path | bytes
    encoding: Encoding
    size: int

    def part(self, start: int, stop: int) -> Vector:
        """Coordinates [start, stop): floats, or signed whole numbers wide enough for residues.

        Read-only, and mapped where the bytes can stand as they are.
        """
        self._within(start, stop)
        return _decoded(self.encoding, [raw[start:stop] for raw in self._planes()])

    def read(self, start: int, stop: int) -> Vector:
        """As `part`, but read instead of mapped: what was looked at is in no memory afterwards."""
        if isinstance(self.source, bytes):
            return self.part(start, stop)
        self._within(start, stop)
        planes, offset = [], _HEAD.size
        for plane in self.encoding.planes:
            wide = np.dtype(plane).itemsize
            planes.append(read_numbers(self.source, plane, offset + wide * start, stop - start))
            offset += wide * self.size
        return _decoded(self.encoding, planes)

    def _within(self, start: int, stop: int) -> None:
        if not 0 <= start <= stop <= self.size:
            raise ValueError(f"[{start}, {stop}) is not a range of {self.size} coordinates")

    def _planes(self) -> Iterator[npt.NDArray[Any]]:
        offset = _HEAD.size
        for plane in self.encoding.planes:
            if isinstance(self.source, bytes) or self.size == 0:
                source = self.source if isinstance(self.source, bytes) else bytes(offset)
                yield np.frombuffer(source, plane, self.size, offset)
            else:
                shape = (self.size,)
                yield np.asarray(np.memmap(self.source, plane, "r", offset, shape))
            offset += np.dtype(plane).itemsize * self.size


def encode_answer(row: Vector, bits: int = 0, *, bf16: bool = False) -> bytes:
    """A vector (dim,) of finite floats or whole numbers as bytes.

    `bits`: the numbers are residues in [0, 2^bits); 0: whole numbers of either sign. `bf16`: use
    bfloat16 if every number is one. `wire.not-finite` if a float is not finite.
    """
    return b"".join(_pieces(row, bits, bf16))


def write_answer(
    path: Path, row: Vector, bits: int = 0, *, bf16: bool = False, durable: bool = True
) -> str:
    """Write a vector as `encode_answer` does; returns the file's SHA-256 in hex."""
    return write_pieces(path, _pieces(row, bits, bf16), durable=durable)


def read_answer(source: Path | bytes, size: int, *, whole: bool | None = None) -> Vector:
    """The vector (size,) of an answer, mapped where its bytes can stand as they are.

    `whole`: whether the plan's answers are whole numbers, if known. Anything else is `wire.answer`,
    and a float that is not finite `wire.not-finite`. All numbers are read once; of a large answer
    take ranges with `open_answer`.
    """
    return open_answer(source, size, whole=whole).part(0, size)


def open_answer(
    source: Path | bytes, size: int, *, whole: bool | None = None, checked: bool = False
) -> Answer:
    """A checked answer, to be read by ranges: right length, right kind, every float finite.

    `checked`: its numbers were looked at before, when it came in.
    """
    head, length = _head(source)
    expected = f"{size} {_KINDS[whole]}"
    try:
        magic, code, found = _HEAD.unpack(head)
    except struct.error:
        raise _refused(f"{length} bytes", expected) from None
    encoding = _BY_CODE.get(code)
    if magic != MAGIC or encoding is None:
        raise _refused("bytes that are no answer", expected)
    if found != size or (whole is not None and whole == encoding.floats):
        raise _refused(f"{found} {encoding.name}", expected)
    if length != _HEAD.size + size * encoding.width:
        raise _refused(f"{length} bytes for {found} {encoding.name}", expected)
    answer = Answer(source, encoding, size)
    if not checked:
        _check_finite(answer)
    return answer


_KINDS = {None: "numbers", True: "whole numbers", False: "floats"}


def _refused(found: str, expected: str) -> TacitError:
    return TacitError("wire.answer", found=found, expected=expected)


def _head(source: Path | bytes) -> tuple[bytes, int]:
    """The first bytes, and how many there are in all."""
    if isinstance(source, bytes):
        return source[: _HEAD.size], len(source)
    try:
        with source.open("rb") as file:
            head = file.read(_HEAD.size)
        return head, source.stat().st_size
    except OSError as failed:
        raise cannot_read(source, failed) from failed


def _check_finite(answer: Answer) -> None:
    """Range by range: a large answer is never in memory as a whole."""
    if answer.encoding.floats:
        for start, stop in _ranges(answer.size):
            _finite(answer.read(start, stop), start)


def _finite(part: Vector, start: int) -> None:
    found = np.isfinite(part)
    if not found.all():
        place = int(np.argmin(found))
        raise TacitError("wire.not-finite", value=part[place], place=start + place)


def _ranges(size: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + _CHUNK, size)) for start in range(0, size, _CHUNK))


def _pieces(row: Vector, bits: int, bf16: bool) -> Iterator[Piece]:
    encoding = _encoding(row, bits, bf16)
    yield _HEAD.pack(MAGIC, encoding.code, row.size)
    for place in range(len(encoding.planes)):
        for start, stop in _ranges(row.size):
            yield _plane(row[start:stop], encoding, place).view(np.uint8).data


def _encoding(row: Vector, bits: int, bf16: bool) -> Encoding:
    """The smallest that holds a vector."""
    if row.ndim != 1:
        raise ValueError("an answer is one vector")
    match row.dtype.kind:
        case "f":
            return _of_floats(row, bf16)
        case "i" | "u" if bits:
            return RESIDUES[_width_of_residues(row, bits)]
        case "i" | "u":
            return SIGNED[_width_of_signed(row)]
    raise ValueError(f"an answer holds no {row.dtype}")


def _of_floats(row: Vector, bf16: bool) -> Encoding:
    if row.dtype.itemsize > 8:
        raise ValueError(f"an answer holds no {row.dtype}")
    parts = [(row[start:stop], start) for start, stop in _ranges(row.size)]
    for part, start in parts:
        _finite(part, start)
    if bf16 and all(_is_bf16(part) for part, _ in parts):
        return BF16
    return F8 if row.dtype.itemsize == 8 else F4


def _is_bf16(row: Vector) -> bool:
    with np.errstate(over="ignore"):
        short = row.astype("<f4")
    return bool((short == row).all()) and not (short.view("<u4") & 0xFFFF).any()


def _width_of_residues(row: Vector, bits: int) -> int:
    if not 1 <= bits <= 63:
        raise ValueError("residues have 1 to 63 bits")
    if row.size and (row.min() < 0 or int(row.max()) >> bits):
        raise ValueError(f"a residue is not below 2^{bits}")
    return _width(bits)


def _width_of_signed(row: Vector) -> int:
    if not row.size:
        return 1
    low, high = int(row.min()), int(row.max())
    if high >= 1 << 63:
        raise ValueError("a whole number has more than 64 bits")
    return _width(1 + max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0))


def _width(bits: int) -> int:
    """Bytes for so many bits."""
    return min(math.ceil(bits / 8), 5) if bits <= 32 else 8


def _plane(part: Vector, encoding: Encoding, place: int) -> npt.NDArray[Any]:
    """One plane of some numbers."""
    dtype = encoding.planes[place]
    if encoding is BF16:
        return (np.ascontiguousarray(part, "<f4").view("<u4") >> 16).astype(dtype)
    if len(encoding.planes) == 1:
        return np.ascontiguousarray(part, dtype)
    wide = part.astype("<i8")
    return (wide >> 16 if place else wide & 0xFFFF).astype(dtype)


def _decoded(encoding: Encoding, planes: list[npt.NDArray[Any]]) -> Vector:
    if encoding is BF16:
        return (planes[0].astype("<u4") << 16).view("<f4")
    if len(planes) == 1:
        return planes[0].astype(encoding.read, copy=False)
    wide = planes[1].astype("<i4")
    wide <<= 16
    wide |= planes[0]
    return wide
