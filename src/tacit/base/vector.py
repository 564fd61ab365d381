"""Flat vectors and their layouts: a model is one vector, a message is one row of blocks."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, final

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[Any]
"""A one-dimensional array (dim,), float64 unless a task says otherwise."""

Rows = npt.NDArray[Any]
"""A two-dimensional array (clients, dim): one row at a device, many when stacked."""


class Kind(StrEnum):
    """What a block's coordinates are.

    TRAINED and BUFFER are the model's. A TALLY is summed and counts clients, whatever their
    weights; an AVERAGE is an algorithm's number that is weighed and averaged as the update is.
    """

    TRAINED = "trained"
    BUFFER = "buffer"
    TALLY = "tally"
    AVERAGE = "average"


@final
@dataclass(frozen=True)
class Tensor:
    """One named array of a model; only TRAINED and BUFFER tensors belong to a layout."""

    name: str
    shape: tuple[int, ...]
    kind: Kind = Kind.TRAINED

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return math.prod(self.shape)


@final
@dataclass(frozen=True)
class Layout:
    """How a model's arrays lie in one flat vector of `dtype`: trained tensors, then buffers.

    `answer`: what a client's update holds, where that is not a change of the trained tensors.
    """

    tensors: tuple[Tensor, ...]
    dtype: str = "float64"
    answer: tuple[Tensor, ...] = ()

    def __post_init__(self) -> None:
        kinds = [tensor.kind for tensor in self.tensors]
        if kinds != sorted(kinds, key=lambda kind: kind is Kind.BUFFER):
            raise ValueError("a layout lists trained tensors before buffers")
        if len({tensor.name for tensor in self.tensors}) != len(self.tensors):
            raise ValueError("a layout needs distinct names")

    @cached_property
    def size(self) -> int:
        """Coordinates of the whole vector."""
        return sum(tensor.size for tensor in self.tensors)

    @cached_property
    def trained(self) -> int:
        """Coordinates that are trained; they come first."""
        return sum(tensor.size for tensor in self.tensors if tensor.kind is Kind.TRAINED)

    @cached_property
    def update(self) -> int:
        """Coordinates of an update, buffers apart."""
        return sum(tensor.size for tensor in self.answer) or self.trained

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over names, shapes and kinds, in order."""
        listed = [
            ";".join(f"{t.name}:{t.kind}:{','.join(map(str, t.shape))}" for t in part)
            for part in (self.tensors, self.answer)
        ]
        text = "|".join(listed) if self.answer else listed[0]
        return hashlib.sha256(f"{self.dtype};{text}".encode()).hexdigest()

    @property
    def itemsize(self) -> int:
        """Bytes of one coordinate."""
        return np.dtype(self.dtype).itemsize

    def pack(self, arrays: Mapping[str, Any]) -> Vector:
        """Copy named arrays into one flat vector."""
        vector = np.empty(self.size, self.dtype)
        for name, view in self.unpack(vector).items():
            view[...] = arrays[name]
        return vector

    def unpack(self, vector: Vector) -> dict[str, npt.NDArray[Any]]:
        """Named views of a flat vector; writing to them writes to the vector."""
        views, start = {}, 0
        for tensor in self.tensors:
            views[tensor.name] = vector[start : start + tensor.size].reshape(tensor.shape)
            start += tensor.size
        return views


@final
@dataclass(frozen=True)
class Bound:
    """L2 bound on what one unit can change in a block, in the block's natural units.

    `record`: adding or removing one record of one client; `client`: adding or removing one client.
    """

    record: float = math.inf
    client: float = math.inf


@final
@dataclass(frozen=True)
class Block:
    """A run of coordinates of a message that is bounded, scaled and noised as one.

    `layers` are the sizes of the tensors inside a TRAINED block (they sum to `size`);
    `limit` bounds the magnitude of any single coordinate of one client's row;
    `scale` is the factor by which the chain has multiplied the block since it left the task.
    """

    name: str
    size: int
    kind: Kind
    bound: Bound = Bound()
    limit: float = math.inf
    scale: float = 1.0
    layers: tuple[int, ...] = ()
