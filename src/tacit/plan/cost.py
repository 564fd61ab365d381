"""What a plan costs: bytes on the wire, per client and in all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from tacit.base.vector import Kind
from tacit.protect.form import Form, Team


@final
@dataclass(frozen=True)
class Cost:
    """Bytes: one offer down to a client, one answer up, and both for all clients and rounds."""

    down: int
    up: int
    round: int
    total: int


def cost(wire: Form, offered: int, itemsize: int, team: Team) -> Cost:
    """`wire`: the form in which an answer leaves; `offered`: coordinates that a client receives."""
    down, up = offered * itemsize, answer_bytes(wire, itemsize, team)
    each = (down + up) * team.cohort
    return Cost(down, up, each, each * team.rounds)


def answer_bytes(wire: Form, itemsize: int, team: Team) -> int:
    """Bytes of one answer: whole numbers at the modulus' width, sparse blocks as index and value.

    Noise leaves no coordinate at zero, so behind it nothing is sparse.
    """
    if wire.bits:
        return math.ceil(wire.size * wire.bits / 8)
    each = itemsize if wire.real else _grid_bytes(wire)
    if wire.kept and not wire.noise:
        others = sum(block.size for block in wire.blocks if block.kind is not Kind.TRAINED)
        return min(wire.kept * (each + 4) + others * each, wire.size * each)
    return wire.size * each


def _grid_bytes(wire: Form) -> int:
    """Smallest signed integer type that holds a coordinate."""
    largest = wire.limit() + (12 * wire.noise.sd if wire.noise else 0.0)
    return next(size for size in (1, 2, 4, 8) if largest < 2 ** (8 * size - 1))
