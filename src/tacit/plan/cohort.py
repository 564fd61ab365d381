"""Who takes part in a round: the sampling laws, and what each earns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, final

import numpy as np

from tacit.base.errors import TacitError
from tacit.base.key import Key

_AT_ONCE = 1 << 16
"""Coins tossed at once; the stream of coins does not depend on it."""


class Cohort(Protocol):
    """A law by which clients are drawn for a round."""

    kind: ClassVar[str]

    @property
    def rate(self) -> float | None:
        """Poisson rate that earns privacy amplification; None where the law earns none."""
        ...

    def target(self, clients: int) -> int:
        """Answers that close a round."""
        ...

    def draw(self, clients: int, key: Key) -> tuple[int, ...]:
        """Indices of the clients that are asked, in ascending order."""
        ...


@final
@dataclass(frozen=True)
class Everyone:
    """Every client in every round."""

    kind: ClassVar[str] = "everyone"

    @property
    def rate(self) -> float | None:
        """Everybody takes part with certainty."""
        return 1.0

    def target(self, clients: int) -> int:
        """All of them."""
        return clients

    def draw(self, clients: int, key: Key) -> tuple[int, ...]:
        """All of them."""
        return tuple(range(clients))


@final
@dataclass(frozen=True)
class Fixed:
    """`size` clients a round, drawn without replacement; `spare` more are asked and the first win.

    Over-selection (Bonawitz et al. 2019, "Towards Federated Learning at Scale") keeps slow clients
    from holding a round up. Which clients answer first is not random, so no amplification.
    """

    kind: ClassVar[str] = "fixed"

    size: int
    spare: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (("size", self.size, 1), ("spare", self.spare, 0)):
            if value < least:
                rule = f"a whole number from {least}"
                raise TacitError("task.setting", name=name, value=value, rule=rule)

    @property
    def rate(self) -> float | None:
        """No amplification is claimed."""
        return None

    def target(self, clients: int) -> int:
        """`size`, if there are as many."""
        return min(self.size, clients)

    def draw(self, clients: int, key: Key) -> tuple[int, ...]:
        """`size` + `spare` distinct clients."""
        asked = min(self.size + self.spare, clients)
        return tuple(sorted(int(i) for i in key.generator().choice(clients, asked, replace=False)))


@final
@dataclass(frozen=True)
class Poisson:
    """Each client takes part with probability `rate`, independently: the law DP amplifies by."""

    kind: ClassVar[str] = "poisson"

    rate: float

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise TacitError("task.setting", name="rate", value=self.rate, rule="in (0, 1]")

    def target(self, clients: int) -> int:
        """The expected number."""
        return max(1, math.floor(self.rate * clients + 0.5))

    def draw(self, clients: int, key: Key) -> tuple[int, ...]:
        """Independent coins; the number drawn varies."""
        coins, drawn = key.generator(), []
        for start in range(0, clients, _AT_ONCE):  # memory for the cohort, not for the population
            some = coins.random(min(_AT_ONCE, clients - start)) < self.rate
            drawn += [start + int(i) for i in np.flatnonzero(some)]
        return tuple(drawn)


@final
@dataclass(frozen=True)
class Buffered:
    """Asynchronous rounds: `concurrency` clients are always at work, `size` arrivals make a round.

    Nguyen et al. 2022, "Federated Learning with Buffered Asynchronous Aggregation", Algorithm 1.
    An update made with a model that is s rounds old is weighted by (1 + s)^-`staleness`; 0 weights
    all alike. A federation's `deadline` is how long one answer is waited for. Who answers sooner
    takes part more often, so no amplification.
    """

    kind: ClassVar[str] = "buffered"

    size: int
    concurrency: int
    staleness: float = 0.5

    def __post_init__(self) -> None:
        for name, value in (("size", self.size), ("concurrency", self.concurrency)):
            if value < 1:
                rule = "a whole number from 1"
                raise TacitError("task.setting", name=name, value=value, rule=rule)
        if not 0 <= self.staleness < math.inf:
            rule = "0 or more"
            raise TacitError("task.setting", name="staleness", value=self.staleness, rule=rule)

    @property
    def rate(self) -> float | None:
        """No amplification is claimed."""
        return None

    def target(self, clients: int) -> int:
        """`size`, if there are as many."""
        return min(self.size, clients)

    def weight(self, rounds: int) -> float:
        """What an update counts for that is so many rounds old."""
        return float((1.0 + rounds) ** -self.staleness)

    def draw(self, clients: int, key: Key) -> tuple[int, ...]:
        """The first clients at work."""
        return self.pick(clients, self.concurrency, frozenset(), key)

    def pick(self, clients: int, count: int, without: frozenset[int], key: Key) -> tuple[int, ...]:
        """`count` clients in random order, or as many as there are, none of them in `without`."""
        asked = min(count + len(without), clients)
        found = key.generator().choice(clients, asked, replace=False)
        return tuple(int(i) for i in found if int(i) not in without)[:count]


COHORTS = {"everyone": Everyone, "fixed": Fixed, "poisson": Poisson, "buffered": Buffered}
