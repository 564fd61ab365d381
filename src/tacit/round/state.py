"""The state of a run, as the round machine folds it from events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import final

from tacit.round.events import Effect
from tacit.round.grown import Grown


class Phase(StrEnum):
    """What the run waits for."""

    DRAWING = "drawing"
    COLLECTING = "collecting"
    CLOSING = "closing"
    DONE = "done"
    FAILED = "failed"


_OVER = (Phase.DONE, Phase.FAILED)


@final
@dataclass(frozen=True)
class Rules:
    """Settings of the machine: see `Federation`; `target` answers close a round early.

    `concurrency` > 0: rounds are buffered, this many clients work at once, and `target` arrivals
    make a round.
    """

    rounds: int
    target: int
    quorum: int
    patience: int = 3
    concurrency: int = 0


@final
@dataclass(frozen=True)
class Run:
    """State of a run: a fold of its events.

    `answered` and `failed` belong to the open round, in the order of their arrival; `missed` counts
    rounds in a row that fell short of their quorum; `model` is the digest of the latest model. In
    buffered rounds `busy` are clients at work, `versions` whose answers wait in the buffer, each
    with the round whose model it was asked with.
    """

    rules: Rules
    round: int = 0
    phase: Phase = Phase.DRAWING
    cohort: tuple[int, ...] = ()
    deadline: float = 0.0
    answered: Grown[str] = field(default_factory=Grown)
    failed: Grown[str] = field(default_factory=Grown)
    included: tuple[int, ...] = ()
    missed: int = 0
    model: str = ""
    busy: Mapping[int, int] = field(default_factory=dict)
    versions: Mapping[int, int] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Finished, well or badly."""
        return self.phase in _OVER

    def heard(self, **change: Grown[str]) -> Run:
        """`answered` or `failed` anew.

        It is done once an answer, and `replace` would take ten times as long.
        """
        new = object.__new__(Run)
        new.__dict__.update(self.__dict__, **change)
        return new


Outcome = tuple[Run, tuple[Effect, ...]]
