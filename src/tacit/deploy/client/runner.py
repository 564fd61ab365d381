"""Who takes a turn for the agent: it gets files and a key for randomness, and gives files back.

The agent never computes itself. A runner may be this process (tests, trusted code) or a child
process without the owner's keys; either way it knows nothing of the coordinator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, final, runtime_checkable

from tacit.base.key import Key

Phase: TypeAlias = Literal["policy", "data", "code", "resources", "storage", "answer"]
"""Where a turn went wrong, as `wire.messages.Failure` says it."""


@final
@dataclass(frozen=True)
class Work:
    """One turn to take: `round` counts from 0, `index` is the client's place in the run.

    `federation` is the description as plain data; `dataset` a name that the owner registered;
    `offer` and `memory` are packs (`memory` is None before the first included answer); `key` is
    the client's key of this round; what the runner writes goes into `folder`, which exists and
    is empty.
    """

    run: str
    round: int
    index: int
    federation: Mapping[str, Any]
    dataset: str
    offer: Path
    memory: Path | None
    key: Key
    folder: Path


@final
@dataclass(frozen=True)
class Done:
    """A turn that was taken. `answer` is what `wire.packs.write_answer` wrote, inside `folder`.

    `digest` is the SHA-256 (hex) of the answer's file and `size` its bytes; `pending` is a pack
    of the memory to keep if the answer is included (None: nothing to keep).
    """

    answer: Path
    digest: str
    size: int
    pending: Path | None
    examples: int


class TurnFailed(Exception):
    """A turn that could not be taken; the texts are for the owner's log first.

    `code` is of the catalogue; `error` the exception's class; `traceback` without data values;
    `environment` a digest of Python and package versions. The agent decides what of it leaves.
    """

    def __init__(
        self,
        phase: Phase,
        code: str,
        *,
        error: str = "",
        traceback: str = "",
        environment: str = "",
        reason: str = "",
    ) -> None:
        super().__init__(phase, code, error)
        self.phase: Phase = phase
        self.code = code
        self.error = error
        self.traceback = traceback
        self.environment = environment
        self.reason = reason

    def __str__(self) -> str:
        return self.reason or f"{self.code} ({self.error or self.phase})"


class Runner(Protocol):
    """Takes turns, one at a time. Cancelling `turn` stops the work and leaves nothing running."""

    async def turn(self, work: Work) -> Done:
        """Take one turn; raises `TurnFailed`."""
        ...

    async def close(self) -> None:
        """End what still runs."""
        ...


@runtime_checkable
class Warm(Protocol):
    """A runner that can prepare itself for a run that nobody has asked for yet."""

    async def warm(self) -> None:
        """Return when the next run will begin sooner."""
        ...
