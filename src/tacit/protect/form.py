"""`Form`: everything that is known about a message before any data exists.

A chain of stages is checked by walking this record through it. The same numbers that are claimed
(bounds, grid step, noise) are the ones that the arithmetic uses, so they cannot drift apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Literal, final

from tacit.base.vector import Block, Kind

Unit = Literal["record", "client"]
"""Whose presence is hidden: one record of a client, or one whole client (add or remove)."""


class Place(StrEnum):
    """Where a message is: one row a client, the opened sum, or the mean."""

    CLIENT = "client"
    TOTAL = "total"
    MEAN = "mean"


@final
@dataclass(frozen=True)
class Team:
    """Who takes part: facts of the federation that stages rely on.

    `cohort`: clients that make up a round; `quorum`: fewest answers that may be opened;
    `collusion`: clients that may side with the coordinator; `rate`: Poisson rate at which a
    client is drawn, 1 for everyone, and None for a law that earns no amplification.
    """

    clients: int
    cohort: int
    quorum: int
    collusion: int
    rounds: int
    rate: float | None = 1.0

    @property
    def honest(self) -> int:
        """Answers in the smallest sum that are certainly nobody's accomplices'."""
        return self.quorum - self.collusion


@final
@dataclass(frozen=True)
class Noise:
    """Noise in a message: `sd` of one addition and L2 `sensitivity`, in units of the row there.

    `shares` additions are certain to be in the smallest honest sum. On the grid both numbers are
    in grid steps and the law is the discrete Gaussian.
    """

    law: Literal["gaussian", "discrete_gaussian"]
    where: Literal["local", "share", "central"]
    unit: Unit
    sd: float
    sensitivity: float
    shares: int

    @property
    def multiplier(self) -> float:
        """Standard deviation of the certain noise in a sum, over the sensitivity."""
        return self.sd * math.sqrt(self.shares) / self.sensitivity


@final
@dataclass(frozen=True)
class Form:
    """Facts about a message at one point of its chain; see the fields' names.

    `step` is the grid step in scaled units (0: real numbers); `bits` the width of the modulus
    (0: none); `record_sum`: the update is a sum over records; `rate`: Poisson rate of records;
    `weights`: what the denominator counts; `hidden`: nobody reads one client's answer;
    `memory`: a client carries state from round to round; `kept`: coordinates sent (top-k);
    `rounding`: what rounding has added to the sensitivity of a decoded sum; `denominator`: the
    public number that a mean divides by (0: the summed weights of the message).
    """

    blocks: tuple[Block, ...]
    one_step: bool = False
    mixes: str | None = None
    place: Place = Place.CLIENT
    step: float = 0.0
    rounding: float = 0.0
    bits: int = 0
    record_sum: bool = False
    rate: float = 1.0
    weights: Literal["uniform", "examples", "capped", "records"] = "uniform"
    clipped: bool = False
    balanced: bool = False
    memory: bool = False
    kept: int = 0
    hidden: bool = False
    ideal: bool = False
    denominator: float = 0.0
    noise: Noise | None = None

    @cached_property
    def size(self) -> int:
        """Coordinates of a row."""
        return sum(block.size for block in self.blocks)

    @cached_property
    def spans(self) -> dict[str, slice]:
        """Where each block lies in a row."""
        spans, start = {}, 0
        for block in self.blocks:
            spans[block.name] = slice(start, start + block.size)
            start += block.size
        return spans

    @property
    def real(self) -> bool:
        """Real numbers, as opposed to whole numbers on a grid."""
        return self.step == 0.0

    def block(self, name: str) -> Block | None:
        """The block of that name, if the message has it."""
        return next((block for block in self.blocks if block.name == name), None)

    def of(self, *kinds: Kind) -> tuple[Block, ...]:
        """The blocks of these kinds."""
        return tuple(block for block in self.blocks if block.kind in kinds)

    def sensitivity(self, unit: Unit) -> float:
        """Joint L2 sensitivity of a row in its current units (McMahan et al. 2018, section 2).

        The square root of the sum over blocks of (scale * bound)^2. On a grid, in steps, plus
        sqrt(size): with one dither for both neighbours, rounding moves each coordinate by less
        than one step more than the change itself.
        """
        joint = math.hypot(*(block.scale * getattr(block.bound, unit) for block in self.blocks))
        if self.real:
            return joint + self.rounding
        return joint / self.step + math.sqrt(self.size)

    def limit(self) -> float:
        """Largest magnitude of any coordinate of a row, in its current units (noise apart)."""
        largest = max(block.scale * block.limit for block in self.blocks)
        return largest if self.real else math.ceil(largest / self.step) + 1.0

    def with_blocks(self, changed: Iterable[Block]) -> Form:
        """The form with some blocks replaced by those of the same name."""
        new = {block.name: block for block in changed}
        return replace(self, blocks=tuple(new.get(block.name, block) for block in self.blocks))
