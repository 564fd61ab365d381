"""Learning-rate schedules: what a client's learning rate is multiplied by, as plain data.

A schedule is a pure function of the round, the local step and the number of local steps. It counts
`over` rounds (models made so far, from 0) or over the steps of one visit; its formulas are those
of `torch.optim.lr_scheduler`, named at each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, final

import numpy as np

from tacit.base.errors import TacitError
from tacit.learn.settings import part, whole

Over = Literal["rounds", "steps"]


class RateSchedule(Protocol):
    """A schedule with its settings."""

    kind: ClassVar[str]

    @property
    def units(self) -> frozenset[str]:
        """What it counts: "rounds", "steps", both or neither."""
        ...

    def at(self, round_: float, step: Any, steps: Any) -> Any:
        """The factor at local step `step` (from 0) of `steps`; shapes broadcast."""
        ...


@final
@dataclass(frozen=True)
class Constant:
    """Always 1; see `constant`."""

    kind: ClassVar[str] = "constant"

    @property
    def units(self) -> frozenset[str]:
        """It counts nothing."""
        return frozenset()

    def at(self, round_: float, step: Any, steps: Any) -> Any:
        """1."""
        return 1.0


@final
@dataclass(frozen=True)
class Cosine:
    """Half a cosine from 1 down; see `cosine`."""

    kind: ClassVar[str] = "cosine"

    length: int
    least: float = 0.0
    over: Over = "rounds"

    def __post_init__(self) -> None:
        _check_over(self.over)
        whole("length", self.length, 0 if self.over == "steps" else 1)
        part("least", self.least)

    @property
    def units(self) -> frozenset[str]:
        """Rounds or steps."""
        return frozenset({self.over})

    def at(self, round_: float, step: Any, steps: Any) -> Any:
        """least + (1 - least) (1 + cos(pi t / T)) / 2, and `least` after T."""
        time = round_ if self.over == "rounds" else step
        done = np.minimum(time / (self.length or steps), 1.0)
        return self.least + (1.0 - self.least) * 0.5 * (1.0 + np.cos(np.pi * done))


@final
@dataclass(frozen=True)
class StepDecay:
    """A power of `factor`; see `step_decay`."""

    kind: ClassVar[str] = "step_decay"

    every: int
    factor: float = 0.1
    over: Over = "rounds"

    def __post_init__(self) -> None:
        _check_over(self.over)
        whole("every", self.every, 1)
        if not 0 < self.factor <= 1:
            rule = "more than 0 and at most 1"
            raise TacitError("task.setting", name="factor", value=self.factor, rule=rule)

    @property
    def units(self) -> frozenset[str]:
        """Rounds or steps."""
        return frozenset({self.over})

    def at(self, round_: float, step: Any, steps: Any) -> Any:
        """factor^floor(t / every)."""
        time = round_ if self.over == "rounds" else step
        return self.factor ** (time // self.every)


@final
@dataclass(frozen=True)
class Warmup:
    """A ramp up to 1, times a schedule that begins behind it; see `warmup`."""

    kind: ClassVar[str] = "warmup"

    length: int
    first: float = 0.1
    then: Constant | Cosine | StepDecay | None = None
    over: Over = "rounds"

    def __post_init__(self) -> None:
        _check_over(self.over)
        whole("length", self.length, 1)
        part("first", self.first)

    @property
    def units(self) -> frozenset[str]:
        """Its own, and those of what follows."""
        return frozenset({self.over}) | (self.then.units if self.then else frozenset())

    def at(self, round_: float, step: Any, steps: Any) -> Any:
        """first + (1 - first) t / T up to T, times what follows, whose time begins at T."""
        time = round_ if self.over == "rounds" else step
        ramp = self.first + (1.0 - self.first) * np.minimum(time / self.length, 1.0)
        if self.then is None:
            return ramp
        if self.over == "rounds":
            return ramp * self.then.at(max(round_ - self.length, 0.0), step, steps)
        left = np.maximum(steps - self.length, 1)
        return ramp * self.then.at(round_, np.maximum(step - self.length, 0), left)


AnySchedule = Constant | Cosine | StepDecay | Warmup


def constant() -> Constant:
    """The learning rate as it was given: what holds without a schedule."""
    return Constant()


def cosine(length: int, least: float = 0.0, over: Over = "rounds") -> Cosine:
    """Half a cosine from 1 to `least`, where it stays (torch: CosineAnnealingLR).

    `length` is in rounds, or with `over="steps"` in local steps, 0 for all steps of a visit,
    however many a client takes.
    """
    return Cosine(length, least, over)


def step_decay(every: int, factor: float = 0.1, over: Over = "rounds") -> StepDecay:
    """Times `factor` every so many rounds, or local steps with `over="steps"` (torch: StepLR)."""
    return StepDecay(every, factor, over)


def warmup(
    length: int,
    first: float = 0.1,
    then: Constant | Cosine | StepDecay | None = None,
    over: Over = "rounds",
) -> Warmup:
    """Evenly from `first` to 1 in `length` rounds or steps (torch: LinearLR), then `then`.

    Where `then` counts the same, its count begins where the ramp ends (torch: SequentialLR);
    where it counts the other, both hold at once.
    """
    return Warmup(length, first, then, over)


def _check_over(over: str) -> None:
    if over not in ("rounds", "steps"):
        raise TacitError("task.setting", name="over", value=over, rule='"rounds" or "steps"')
