r"""Packs: a tree of arrays as one file, the same bytes on any machine, read without copying.

    magic "TACIT\x01\n" | u32 length of the header | header (JSON) | zeros | arrays

The header holds the tree's outline (`tacit.base.tree`) and, for each leaf, dtype, shape and offset
behind the header. Numbers are little-endian; the data and every leaf begin at multiples of 64
bytes, each right after the one before, and the file ends with the last: there is one pack of a
tree. A pack may come from anybody, so nothing that it declares is believed: every size is compared
with the bytes that are there before anything is allocated.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, final

import msgspec
import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.base.tree import Leaf, flatten, unflatten
from tacit.deploy.wire.answers import encode_answer, open_answer, read_answer, write_answer
from tacit.deploy.wire.files import (
    Piece,
    begin_writing,
    cannot_read,
    cannot_write,
    file_digest,
    read_numbers,
    write_pieces,
)
from tacit.deploy.wire.outline import expected_leaves

__all__ = [
    "Blank",
    "Part",
    "blank_pack",
    "encode_answer",
    "file_digest",
    "open_answer",
    "open_pack",
    "pack_bytes",
    "read_answer",
    "read_pack",
    "write_answer",
    "write_pack",
]

MAGIC = b"TACIT\x01\n"
HEADER_LIMIT = 1 << 20
_LENGTH = struct.Struct("<I")
_START = len(MAGIC) + _LENGTH.size
_ALIGN = 64
_AXES = 32
_UNIT = "Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as"
_DTYPE = re.compile(
    r"\|b1|\|[iu]1|<[iu][248]|<f[248]|<c(8|16)|"
    rf"\|S[1-9][0-9]{{0,5}}|<U[1-9][0-9]{{0,5}}|<[mM]8(\[({_UNIT})\])?"
)

Bytes = npt.NDArray[np.uint8]


class _Leaf(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    dtype: str
    shape: tuple[int, ...]
    offset: int
    order: Literal["C", "F"] = "C"


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    outline: Any
    leaves: tuple[_Leaf, ...]


def pack_bytes(tree: Any) -> bytes:
    """The pack of a tree; `wire.not-packable` or `run.not-storable` if it holds anything else."""
    return b"".join(_pieces(tree))


def write_pack(path: Path, tree: Any, *, durable: bool = True) -> str:
    """Write a tree's pack; returns the file's SHA-256 in hex. Errors as `write_pieces`."""
    return write_pieces(path, _pieces(tree), durable=durable)


@final
@dataclass(frozen=True)
class Part:
    """A vector that lies in a pack's file, read and written by ranges."""

    path: Path
    dtype: str
    offset: int
    size: int

    def read(self, start: int, stop: int) -> Leaf:
        """Numbers [start, stop)."""
        wide = np.dtype(self.dtype).itemsize
        return read_numbers(self.path, self.dtype, self.offset + wide * start, stop - start)

    def write(self, start: int, numbers: Leaf) -> None:
        """Numbers from `start` on; a full disk is `store.full`."""
        wide = np.dtype(self.dtype).itemsize
        try:
            with self.path.open("r+b", buffering=0) as file:
                file.seek(self.offset + wide * start)
                held = np.ascontiguousarray(numbers, self.dtype).view(np.uint8).data
                count = len(held)
                while held:
                    held = held[file.write(held) :]
                begin_writing(file.fileno(), self.offset + wide * start, count)
        except OSError as failed:
            raise cannot_write(self.path, failed) from failed


class Blank(NamedTuple):
    """Stands for a vector whose numbers are written later."""

    dtype: str
    size: int


def open_pack(source: Path | bytes) -> Any:
    """As `read_pack`, but the vectors of a file's dicts are `Part`s."""
    if isinstance(source, bytes):
        return read_pack(source)
    held = _held(source)
    try:
        return _parted(_tree(held, held.size), source, _address(held))
    except _Corrupt as corrupt:
        raise TacitError("wire.pack", name=str(source), why=str(corrupt)) from None


def blank_pack(path: Path, tree: Any) -> Any:
    """Begin a new pack with `Blank`s in it; gives the tree with a `Part` for each.

    When they are written, the file is the one that `write_pack` would have made; it is not durable
    before the caller makes it so.
    """
    outline, leaves = _flat(_unfilled(tree))
    flats = [_little(leaf) for leaf in leaves]
    head = _head(outline, flats)
    try:
        with path.open("xb") as file:
            file.write(head)
            end = len(head)
            for leaf, _ in flats:
                file.seek(_aligned(end))
                if not _blank(leaf):
                    file.write(leaf.reshape(-1).view(np.uint8).data)
                end = _aligned(end) + leaf.nbytes
            file.truncate(end)
    except OSError as failed:
        raise cannot_write(path, failed) from failed
    return open_pack(path)


def _blank(leaf: Leaf) -> bool:
    """One number over and over takes no memory: `_unfilled` made it."""
    return leaf.ndim == 1 and leaf.strides == (0,)


def _unfilled(tree: Any) -> Any:
    if isinstance(tree, Blank):
        return np.broadcast_to(np.zeros((), tree.dtype), (tree.size,))
    if isinstance(tree, dict):
        return {name: _unfilled(held) for name, held in tree.items()}
    return tree


def _parted(tree: Any, path: Path, base: int) -> Any:
    if isinstance(tree, dict):
        return {name: _parted(held, path, base) for name, held in tree.items()}
    if isinstance(tree, np.ndarray) and tree.ndim == 1:
        return Part(path, tree.dtype.str, _address(tree) - base, tree.size)
    return tree


def _address(leaf: Leaf) -> int:
    return int(leaf.__array_interface__["data"][0])


def read_pack(source: Path | bytes, limit: int | None = None) -> Any:
    """The tree of a pack; its arrays are read-only views of the bytes or of the mapped file.

    `limit`: the most bytes that it may have. Anything that is not a pack is `wire.pack`.
    """
    name = str(source) if isinstance(source, Path) else "The message"
    held = _held(source)
    try:
        return _tree(held, held.size if limit is None else limit)
    except _Corrupt as corrupt:
        raise TacitError("wire.pack", name=name, why=str(corrupt)) from None


class _Corrupt(Exception):
    """Why bytes are no pack."""


def _pieces(tree: Any) -> Iterator[Piece]:
    outline, leaves = _flat(tree)
    flats = [_little(leaf) for leaf in leaves]
    head = _head(outline, flats)
    yield head
    end = len(head)
    for leaf, _ in flats:
        yield bytes(_aligned(end) - end)
        yield leaf.reshape(-1).view(np.uint8).data
        end = leaf.nbytes


def _head(outline: Any, flats: list[tuple[Leaf, Literal["C", "F"]]]) -> bytes:
    """All that comes before the arrays and the zeros in front of them."""
    facts, end = [], 0
    for leaf, order in flats:
        start = _aligned(end)
        shape = leaf.shape[::-1] if order == "F" else leaf.shape
        facts.append(_Leaf(leaf.dtype.str, shape, start, order))
        end = start + leaf.nbytes
    header = _encoded(_Header(outline, tuple(facts)))
    return MAGIC + _LENGTH.pack(len(header)) + header


def _flat(tree: Any) -> tuple[Any, list[Leaf]]:
    try:
        outline, leaves = flatten(tree, "the pack")
        expected_leaves(outline)
    except (RecursionError, ValueError) as wrong:
        why = "it is nested too deep" if isinstance(wrong, RecursionError) else str(wrong)
        raise TacitError("wire.not-packable", why=why) from None
    return outline, leaves


def _little(leaf: Leaf) -> tuple[Leaf, Literal["C", "F"]]:
    """A leaf as contiguous little-endian numbers, transposed if it lies in Fortran's order."""
    order: Literal["C", "F"] = "F" if leaf.flags.fnc else "C"
    dtype = leaf.dtype.newbyteorder("<")
    if _DTYPE.fullmatch(dtype.str) is None:
        raise TacitError("wire.not-packable", why=f"an array of {leaf.dtype} is not portable")
    if _blank(leaf) and leaf.dtype == dtype:
        return leaf, order
    laid = leaf.T if order == "F" else leaf
    return np.asarray(laid, dtype, order="C"), order


def _encoded(header: _Header) -> bytes:
    try:
        encoded = msgspec.json.encode(header, enc_hook=_base)
    except UnicodeEncodeError as wrong:
        raise TacitError("wire.not-packable", why="a text is not valid Unicode") from wrong
    if len(encoded) > HEADER_LIMIT:
        why = f"its outline has {len(encoded)} bytes, more than {HEADER_LIMIT}"
        raise TacitError("wire.not-packable", why=why)
    return encoded


def _base(held: Any) -> str | int:
    """A text or number of a class of its own, such as numpy's texts, as a plain one."""
    return str.__str__(held) if isinstance(held, str) else int(held)


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGN) * _ALIGN


def _held(source: Path | bytes) -> Bytes:
    if isinstance(source, bytes):
        return np.frombuffer(source, np.uint8)
    try:
        if source.stat().st_size == 0:
            return np.empty(0, np.uint8)
        return np.asarray(np.memmap(source, np.uint8, "r"))
    except OSError as failed:
        raise cannot_read(source, failed) from failed


def _tree(held: Bytes, limit: int) -> Any:
    if held.size > limit:
        raise _Corrupt(f"it has {held.size} bytes, more than {limit}")
    header, start = _header(held)
    try:
        expected = expected_leaves(header.outline)
    except ValueError as wrong:
        raise _Corrupt(f"its outline is broken: {wrong}") from None
    if len(expected) != len(header.leaves):
        raise _Corrupt(f"it declares {len(header.leaves)} arrays, its outline {len(expected)}")
    leaves, end = [], start
    data = _aligned(start)
    for fact, kind in zip(header.leaves, expected, strict=True):
        begin = _aligned(end)
        if fact.offset != begin - data:
            raise _Corrupt("its arrays do not follow one another")
        if held[end:begin].any():
            raise _Corrupt("there is something between its arrays")
        leaf, end = _leaf(held, fact, begin)
        _fits(leaf, kind)
        leaves.append(leaf)
    if end != held.size:
        raise _Corrupt(f"it has {held.size} bytes and declares {end}")
    return unflatten(header.outline, leaves)


def _header(held: Bytes) -> tuple[_Header, int]:
    """The header, and where it ends."""
    head = held[:_START].tobytes()
    if len(head) < _START or not head.startswith(MAGIC):
        raise _Corrupt("it does not begin as one")
    (length,) = _LENGTH.unpack(head[len(MAGIC) :])
    if length > HEADER_LIMIT or length > held.size - _START:
        raise _Corrupt(f"its header declares {length} bytes")
    try:
        text = held[_START : _START + length].tobytes()
        return msgspec.json.decode(text, type=_Header), _START + length
    except (ValueError, RecursionError):
        raise _Corrupt("its header is broken") from None


def _leaf(held: Bytes, fact: _Leaf, begin: int) -> tuple[Leaf, int]:
    """An array as a view of the bytes, and where it ends."""
    if _DTYPE.fullmatch(fact.dtype) is None:
        raise _Corrupt("an array is of no plain type")
    if len(fact.shape) > _AXES or any(axis < 0 for axis in fact.shape):
        raise _Corrupt("an array has no possible shape")
    dtype = np.dtype(fact.dtype)
    if math.prod(max(axis, 1) for axis in fact.shape) * dtype.itemsize >= 1 << 62:
        raise _Corrupt("an array has no possible shape")
    end = begin + math.prod(fact.shape) * dtype.itemsize
    if end > held.size:
        raise _Corrupt(f"it has {held.size} bytes and declares {end} or more")
    leaf = held[begin:end].view(dtype).reshape(fact.shape, order=fact.order)
    leaf.flags.writeable = False
    return leaf, end


def _fits(leaf: Leaf, kind: str) -> None:
    """Refuse numbers that are none: a half-true, a text beyond Unicode, a list as one number."""
    if kind != "array" and leaf.ndim:
        raise _Corrupt("one number is declared as an array")
    wanted = {"float": "<f8", "int": "<i8"}.get(kind, leaf.dtype.str)
    if leaf.dtype.str != wanted:
        raise _Corrupt(f"a {kind} is declared as {leaf.dtype.str}")
    flat = leaf.reshape(-1, order="A")
    if leaf.dtype.kind == "b" and flat.size and flat.view(np.uint8).max() > 1:
        raise _Corrupt("a truth is neither true nor false")
    if leaf.dtype.kind == "U" and flat.size and flat.view(np.uint32).max() > 0x10FFFF:
        raise _Corrupt("a text is not Unicode")
