"""Arrays in shared memory: written once by this process, seen by others without a copy."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError

Array = npt.NDArray[Any]

ALIGNED = 64
"""Arrays begin at multiples of this many bytes, as vector instructions like it."""

MOUNTED = Path("/dev/shm")  # noqa: S108  # only asked how much room it has


class Placed(NamedTuple):
    """Where an array lies in a block."""

    dtype: str
    shape: tuple[int, ...]
    start: int


class Spec(NamedTuple):
    """A block by name and what lies in it: this travels, the bytes do not."""

    block: str
    arrays: tuple[Placed, ...]


def places(arrays: Sequence[Array]) -> tuple[tuple[Placed, ...], int]:
    """Where arrays lie behind one another, and the bytes that they need together."""
    found, start = [], 0
    for array in arrays:
        found.append(Placed(array.dtype.str, array.shape, start))
        start += -(-array.nbytes // ALIGNED) * ALIGNED
    return tuple(found), start


@final
class Block:
    """Shared memory that this process owns; `drop` removes it when nobody is to see it any more.

    Raises `run.no-shared-memory` where there is too little: past its end lies a crash.
    """

    def __init__(self, size: int) -> None:
        free = shutil.disk_usage(MOUNTED).free if MOUNTED.exists() else math.inf
        if size > free:
            raise TacitError("run.no-shared-memory", wanted=size >> 20, free=int(free) >> 20)
        self.memory = SharedMemory(create=True, size=max(size, 1))

    @property
    def size(self) -> int:
        """Bytes there are."""
        return self.memory.size

    def write(self, arrays: Sequence[Array]) -> Spec:
        """Copy arrays in, over what was there."""
        placed, _ = places(arrays)
        for array, place in zip(arrays, placed, strict=True):
            _view(self.memory, place)[...] = array
        return Spec(self.memory.name, placed)

    def drop(self) -> None:
        """Remove the block."""
        self.memory.close()
        self.memory.unlink()


def share(arrays: Sequence[Array]) -> tuple[Block, Spec]:
    """Arrays in a block of their own."""
    block = Block(places(arrays)[1])
    return block, block.write(arrays)


@final
class Window:
    """Blocks of another process; they stay mapped as long as this one is seen through."""

    def __init__(self) -> None:
        self.seen: dict[str, SharedMemory] = {}

    def look(self, spec: Spec) -> list[Array]:
        """The arrays, not to be written to: others see the same bytes."""
        if spec.block not in self.seen:
            self.seen[spec.block] = SharedMemory(spec.block)
        views = [_view(self.seen[spec.block], place) for place in spec.arrays]
        for view in views:
            view.flags.writeable = False
        return views


def _view(memory: SharedMemory, place: Placed) -> Array:
    return np.ndarray(place.shape, place.dtype, memory.buf, place.start)
