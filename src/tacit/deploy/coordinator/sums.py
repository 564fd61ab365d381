"""What goes into a closing, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from tacit.base.key import Key
from tacit.deploy.coordinator.book import Kept
from tacit.deploy.store.blobs import Source
from tacit.plan.build import Plan
from tacit.plan.cohort import Buffered


@final
@dataclass(frozen=True)
class Sum:
    """What a closing needs: the stored answers in the order of addition, each with its age."""

    plan: Plan
    state: Source
    offer: Source
    answers: tuple[Source, ...]
    ages: tuple[int, ...]
    key: Key
    round: int


@final
@dataclass(frozen=True)
class Stored:
    """State and offer by their digests, and the offer's size in bytes.

    `small`: those of both that are no files yet, but rows of the transaction that names them.
    """

    state: str
    offer: str
    size: int
    small: dict[str, bytes] = field(default_factory=dict)

    @property
    def kept(self) -> Kept:
        """As the journal has it."""
        return Kept(self.state, self.offer, self.size)


def weight_of(plan: Plan, age: int) -> float:
    """How much an answer of this age counts: in buffered rounds less, the older its model is."""
    law = plan.federation.cohort
    return law.weight(age) if age and isinstance(law, Buffered) else 1.0
