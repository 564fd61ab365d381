"""Closing a round of a large model in pieces: memory does not grow with the model.

The numbers, and the bytes of the packs, are those of closing it at once. Files are read and
written, not mapped: what is mapped counts as this process's memory for as long as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from tacit.base.errors import TacitError
from tacit.base.vector import Layout, Vector
from tacit.deploy.coordinator.sums import Stored, Sum, weight_of
from tacit.deploy.store import faults, files
from tacit.deploy.store.blobs import Blobs
from tacit.deploy.wire.answers import Answer
from tacit.deploy.wire.packs import Blank, Part, blank_pack, file_digest, open_answer, open_pack
from tacit.learn.algorithm import State
from tacit.plan.build import Plan
from tacit.round.close import reported
from tacit.round.ranged import Piece, close_by_range, rangeable

LARGE: Final = 4 << 20
"""Bytes of a model from which on it is closed in pieces."""

WIDTH: Final = 1 << 18
"""Coordinates of a piece: few enough for a processor's cache."""


@final
@dataclass(frozen=True)
class Weighed:
    """A stored answer whose trained coordinates count `weight` times; a `ranged.Source`."""

    answer: Answer
    weight: float
    trained: int

    @property
    def size(self) -> int:
        """Its length."""
        return self.answer.size

    def read(self, start: int, stop: int) -> Vector:
        """Coordinates from `start` up to `stop`."""
        row = self.answer.read(start, stop)
        if self.weight != 1.0:
            row = row.astype(np.float64)
            row[: max(0, self.trained - start)] *= self.weight
        return row


def piecewise(what: Sum) -> bool:
    """Whether a round is closed in pieces: a large model, and rules that allow it."""
    plan, sources = what.plan, (what.offer, *what.answers)
    large = plan.layout.size * plan.layout.itemsize >= LARGE
    return large and rangeable(plan) and all(isinstance(one, Path) for one in sources)


def closed_in_pieces(what: Sum, blobs: Blobs) -> tuple[Stored, dict[str, float]]:
    """As `closing.closed`."""
    pieces = _pieces(what)
    first = next(pieces)
    with _beside(blobs) as offer, _beside(blobs) as own:
        offered = _offered(what.plan, first.state)
        parts = _begun(what.plan, first.state, offered, offer, own)
        _fill(parts, what, first)
        for piece in pieces:
            _fill(parts, what, piece)
        size = offer.stat().st_size
        row = {name: float(value) for name, value in reported(first.found).items()}
        state, told = _adopted((own, offer), blobs)
        return Stored(state, told, size), row


def _pieces(what: Sum) -> Iterator[Piece]:
    plan, trained = what.plan, what.plan.layout.trained
    answers = [
        Weighed(open_answer(path, plan.message.size, checked=True), weight_of(plan, age), trained)
        for path, age in zip(what.answers, what.ages, strict=True)
    ]
    held, offer = open_pack(what.state), open_pack(what.offer)
    state = {**held["own"], **{name: offer[name] for name in held["offered"]}}
    with np.errstate(over="ignore", invalid="ignore"):  # found and named below
        yield from close_by_range(plan, answers, state, what.key, WIDTH)


def _offered(plan: Plan, state: State) -> list[str]:
    """Names of what an offer has of the state as it is."""
    offer = plan.algorithm.offer(state)
    return [name for name, held in state.items() if offer.get(name) is held]


def _begun(
    plan: Plan, state: State, offered: Sequence[str], offer: Path, own: Path
) -> dict[str, Part]:
    """Both packs with their vectors still to be written, by the names of the state."""
    blank = {name: _blank(plan.layout, name, held) for name, held in state.items()}
    told = {
        name: blank[name] if name in offered else held
        for name, held in plan.algorithm.offer(state).items()
    }
    rest = {name: held for name, held in blank.items() if name not in offered}
    found = blank_pack(own, {"own": rest, "offered": list(offered)})["own"]
    parts = {**found, **blank_pack(offer, told)}
    return {name: parts[name] for name, held in blank.items() if isinstance(held, Blank)}


def _blank(layout: Layout, name: str, held: Any) -> Any:
    """A vector of the state as one to be written: of the model, or of what is trained of it."""
    if not isinstance(held, np.ndarray):
        return held
    return Blank(held.dtype.str, layout.size if name == "params" else layout.trained)


def _fill(parts: Mapping[str, Part], what: Sum, piece: Piece) -> None:
    if not np.isfinite(piece.state["params"]).all():
        raise TacitError("round.model-not-finite", round=what.round + 1)
    for name, part in parts.items():
        numbers = piece.state[name]
        stop = min(piece.stop, part.size)
        if numbers.shape != (max(0, stop - piece.start),):
            raise ValueError(f"{name} has {numbers.shape} numbers for {piece.start}..{stop}")
        if numbers.size:
            part.write(piece.start, numbers)


@contextmanager
def _beside(blobs: Blobs) -> Iterator[Path]:
    """A new file that is gone afterwards, unless it was adopted."""
    path = blobs.beside()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _adopted(paths: Sequence[Path], blobs: Blobs) -> list[str]:
    """Keep new files as blobs; they are hashed while the disk writes them."""
    with faults.disk(paths[0].parent), ThreadPoolExecutor(len(paths)) as pool:
        flushed = pool.map(files.flush, paths)
        digests = [file_digest(path) for path in paths]
        list(flushed)
    return [blobs.adopt(path, digest) for path, digest in zip(paths, digests, strict=True)]
