"""Closing a round of a large model in pieces: memory does not grow with the model.

The numbers, and the bytes of the packs, are those of closing it at once. Files are read and
written, not mapped: what is mapped counts as this process's memory for as long as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from tacit.base.errors import TacitError
from tacit.base.vector import Vector
from tacit.deploy.coordinator.sums import Stored, Sum, weight_of
from tacit.deploy.store import faults, files
from tacit.deploy.store.blobs import Blobs
from tacit.deploy.wire.answers import Answer
from tacit.deploy.wire.packs import Blank, Part, blank_pack, file_digest, open_answer, open_pack
from tacit.learn.algorithm import Aggregate, State
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


def large(plan: Plan) -> bool:
    """Whether a model is worth the pieces, and its rules allow them."""
    return plan.layout.size * plan.layout.itemsize >= LARGE and rangeable(plan)


def piecewise(what: Sum) -> bool:
    """Whether a round is closed in pieces."""
    sources = (what.offer, *what.answers)
    return large(what.plan) and all(isinstance(one, Path) for one in sources)


def begun_in_pieces(plan: Plan, start: Part, blobs: Blobs) -> Stored:
    """As `closing.begun` with an uploaded start."""
    sizes = dict.fromkeys(plan.algorithm.start(start.read(0, 1)), start.size)
    places = range(0, start.size, WIDTH)
    ranges = ((at, min(at + WIDTH, start.size)) for at in places)
    pieces = ((at, end, plan.algorithm.start(start.read(at, end))) for at, end in ranges)
    return _written(plan, sizes, pieces, blobs)


def closed_in_pieces(what: Sum, blobs: Blobs) -> tuple[Stored, dict[str, float]]:
    """As `closing.closed`."""
    plan, before, found = what.plan, _state(what), list[Aggregate]()
    sizes = {name: held.size for name, held in before.items() if isinstance(held, Part)}

    def pieces() -> Iterator[tuple[int, int, State]]:
        for piece in _pieces(what, before):
            if not np.isfinite(piece.state["params"]).all():
                raise TacitError("round.model-not-finite", round=what.round + 1)
            found[:] = found or [piece.found]
            yield piece.start, piece.stop, piece.state

    stored = _written(plan, sizes, pieces(), blobs)
    return stored, {name: float(value) for name, value in reported(found[0]).items()}


def _state(what: Sum) -> State:
    held, offer = open_pack(what.state), open_pack(what.offer)
    return {**held["own"], **{name: offer[name] for name in held["offered"]}}


def _pieces(what: Sum, state: State) -> Iterator[Piece]:
    plan, trained = what.plan, what.plan.layout.trained
    answers = [
        Weighed(open_answer(path, plan.message.size, checked=True), weight_of(plan, age), trained)
        for path, age in zip(what.answers, what.ages, strict=True)
    ]
    with np.errstate(over="ignore", invalid="ignore"):  # found and named below
        yield from close_by_range(plan, answers, state, what.key, WIDTH)


def _written(
    plan: Plan, sizes: Mapping[str, int], pieces: Iterator[tuple[int, int, State]], blobs: Blobs
) -> Stored:
    """Pieces of a state as the two packs; `sizes` of its vectors, else those that are trained."""
    first = next(pieces)
    with _beside(blobs) as offer, _beside(blobs) as own:
        offered = _offered(plan, first[2])
        blank = {name: _blank(plan, sizes, name, held) for name, held in first[2].items()}
        parts = _begun(plan, first[2], blank, offered, offer, own)
        for start, stop, state in chain([first], pieces):
            _fill(parts, start, stop, state)
        size = offer.stat().st_size
        state_digest, offer_digest = _adopted((own, offer), blobs)
        return Stored(state_digest, offer_digest, size)


def _offered(plan: Plan, state: State) -> list[str]:
    """Names of what an offer has of the state as it is."""
    offer = plan.algorithm.offer(state)
    return [name for name, held in state.items() if offer.get(name) is held]


def _begun(
    plan: Plan,
    state: State,
    blank: Mapping[str, Any],
    offered: Sequence[str],
    offer: Path,
    own: Path,
) -> dict[str, Part]:
    """Both packs with their vectors still to be written, by the names of the state."""
    told = {
        name: blank[name] if name in offered else held
        for name, held in plan.algorithm.offer(state).items()
    }
    rest = {name: held for name, held in blank.items() if name not in offered}
    found = blank_pack(own, {"own": rest, "offered": list(offered)})["own"]
    parts = {**found, **blank_pack(offer, told)}
    return {name: parts[name] for name, held in blank.items() if isinstance(held, Blank)}


def _blank(plan: Plan, sizes: Mapping[str, int], name: str, held: Any) -> Any:
    """A vector of the state as one to be written."""
    if not isinstance(held, np.ndarray):
        return held
    return Blank(held.dtype.str, sizes.get(name, plan.layout.trained))


def _fill(parts: Mapping[str, Part], start: int, stop: int, state: State) -> None:
    for name, part in parts.items():
        numbers, end = state[name], min(stop, part.size)
        if numbers.shape != (max(0, end - start),):
            raise ValueError(f"{name} has {numbers.shape} numbers for {start} to {end}")
        if numbers.size:
            part.write(start, numbers)


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
