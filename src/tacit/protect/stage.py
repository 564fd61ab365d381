"""The type of a stage: what it does to the facts, on the way up at clients, on the way down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, final

import numpy as np
import numpy.typing as npt

from tacit.base.key import Key
from tacit.base.vector import Rows, Vector
from tacit.protect.form import Form, Team
from tacit.protect.keys import Keys

Memory = npt.NDArray[Any] | None


@final
@dataclass(frozen=True)
class At:
    """Where a stage runs: the facts before and after it, and the rows' clients.

    `keys`: one source of randomness a row (on the way down: one, the coordinator's);
    `examples`: records of each row's client; `answers`: rows in the sum (on the way down).
    """

    before: Form
    after: Form
    keys: tuple[Key, ...] | Keys
    examples: npt.NDArray[np.int64]
    answers: int = 0


class Stage(Protocol):
    """Both halves of one protection. Frozen plain data; `kind` names it in a description."""

    kind: ClassVar[str]

    @property
    def source(self) -> str:
        """Paper and theorem that it rests on."""
        ...

    def says(self, before: Form, after: Form) -> str:
        """One plain sentence for the trust statement, from the facts around this stage."""
        ...

    def after(self, form: Form, team: Team) -> Form:
        """The facts after this stage; raises `Unsound` with why and remedy."""
        ...

    def up(self, rows: Rows, memory: Memory, at: At) -> tuple[Rows, Memory]:
        """At the clients: rows (clients, dim) to rows, and memory (clients, dim) or None."""
        ...

    def down(self, total: Vector, at: At) -> Vector:
        """At the coordinator, on the opened sum (dim,)."""
        ...


class Unchanged:
    """Default halves for stages that act on one side only."""

    def up(self, rows: Rows, memory: Memory, at: At) -> tuple[Rows, Memory]:
        """Nothing to do at the clients."""
        return rows, memory

    def down(self, total: Vector, at: At) -> Vector:
        """Nothing to do at the coordinator."""
        return total
