"""The type of a federated algorithm: four pure functions over explicit state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol, final

import numpy as np
import numpy.typing as npt

from tacit.base.vector import Block, Layout, Vector
from tacit.learn.optimiser import Moments, Optimiser
from tacit.learn.rate import RateSchedule
from tacit.learn.task import Gradient, Tallies

Rule = Callable[[Vector, Vector], Vector]
"""Corrects a gradient elementwise: (gradient, trained parameters) -> gradient."""

Step = Callable[[Vector], Gradient]
"""One minibatch: parameters -> gradient, new buffers and loss."""


@final
@dataclass(frozen=True)
class Steps:
    """How much local work: `steps` minibatch steps, or `epochs` passes when `steps` is 0.

    By SGD with `momentum`, unless there is an `optimiser` or a `schedule`. For these a visit adds
    the `round`, the optimiser's state to begin with (`begun`, None: fresh) and which trained
    coordinates move (`only`, None: all); see `tacit.learn.descent`.
    """

    lr: float
    batch: int
    epochs: int = 1
    steps: int = 0
    momentum: float = 0.0
    shuffle: bool = True
    optimiser: Optimiser | None = None
    schedule: RateSchedule | None = None
    round: float = 0.0
    begun: Moments | None = None
    only: npt.NDArray[np.bool_] | None = None

    @property
    def plain(self) -> bool:
        """Whether it is SGD with one learning rate."""
        return self.optimiser is None and self.schedule is None

    def count(self, examples: Any) -> Any:
        """Minibatch steps of clients with so many records."""
        size = np.minimum(self.batch, examples) if self.batch else examples
        return self.steps or self.epochs * -(-examples // size)


class Contribution(NamedTuple):
    """What one visit yields before any protection: model-sized update and its weight.

    `update` is (..., layout.size): the change of trained coordinates, then the buffers themselves.
    `weight` is what the update counts for when it is averaged: 1, or the number of records in a
    record sum. `extra` holds the algorithm's own tallies by name (see `Algorithm.extra`). A
    leading axis, if any, runs over clients.
    """

    update: Vector
    weight: Any
    loss: Any
    extra: Mapping[str, Vector] = MappingProxyType({})


class Trained(NamedTuple):
    """The model after local work, the number of steps taken, and the mean training loss.

    `moments` is the state of the optimiser after it, if `Steps` named one.
    """

    params: Vector
    steps: Any
    loss: Any
    moments: Moments | None = None


class Aggregate(NamedTuple):
    """What a round yields: the mean of updates (width * layout.size,), tallies, and answers.

    `tallies` are sums, or averages where the block says so (`Kind.AVERAGE`); `answers` were
    summed, of `clients` members of the federation (0: not known).
    """

    mean: Vector
    tallies: Mapping[str, Vector]
    answers: int
    clients: int = 0

    @property
    def share(self) -> float:
        """The part of all clients that answered: |S| / N."""
        return self.answers / self.clients if self.clients else 1.0


class Local(Protocol):
    """A client's own data and compute, as an algorithm may use them."""

    @property
    def examples(self) -> int:
        """Number of records at home."""
        ...

    @property
    def trained(self) -> int:
        """Trained coordinates of the model; buffers follow them."""
        ...

    def train(self, params: Vector, steps: Steps, rule: Rule | None = None) -> Trained:
        """Run local minibatch SGD from `params`."""
        ...

    def gradient(self, params: Vector) -> Contribution:
        """One gradient over the client's records, or a clipped sum where the chain says so."""
        ...

    @property
    def personal(self) -> npt.NDArray[np.bool_]:
        """Which trained coordinates stay at home (trained,); see `Algorithm.personal`."""
        ...

    def batches(self, steps: Steps) -> Iterator[Step]:
        """The batches of `train`, each as a gradient: for steps of several models at once."""
        ...

    def loss(self, params: Vector) -> Any:
        """Mean loss of a model on the client's records, penalties apart; (...,) one a client."""
        ...


class Device(Local, Protocol):
    """One client alone, as it makes a model of its own (see `Algorithm.model`)."""

    def held_out(self, fraction: float) -> tuple[Device, Device]:
        """The client's records in two parts, the second with about `fraction` of them."""
        ...

    def evaluate(self, params: Vector) -> Tallies:
        """Exact sums of loss and right answers over all of the client's records."""
        ...


class Need(StrEnum):
    """What an algorithm asks of the engine."""

    MEMORY = "memory"
    STALENESS = "staleness"
    BATCHES = "batches"
    REPRESENTATION = "representation"
    ANSWER = "answer"


State = dict[str, Any]
"""Named vectors and numbers; always has "params"."""

Offer = Mapping[str, Vector]
"""What clients receive: named vectors; always has "params"."""


class Algorithm(NamedTuple):
    """Pure functions; one paper a file. Vectors may carry a leading clients axis: index with `...`.

    `one_step` is true when a visit computes a single gradient at the offered parameters, so that
    its contribution is a sum over records: what record-level privacy needs. `extra` are tallies
    and averages that the algorithm adds to the message, with their bounds. `width` is the number
    of models in an update: trained coordinates of each come first, then buffers of each.

    `personal` names the tensors that stay at home (see `tacit.learn.personal.split`): state, offers
    as they travel and messages hold shared coordinates only, while a visit works on whole models.
    `model` gives the whole model that a client uses, from an offer, the client's memory (None
    before its first round) and its own compute; by default it is the offer, joined with what
    stayed at home.
    """

    start: Callable[[Vector], State]
    offer: Callable[[State], Offer]
    visit: Callable[[Offer, Any, Local], tuple[Contribution, Any]]
    apply: Callable[[State, Aggregate, Layout], State]
    one_step: bool = False
    extra: tuple[Block, ...] = ()
    needs: frozenset[Need] = frozenset()
    personal: tuple[str, ...] = ()
    model: Callable[[Offer, Any, Device], Vector] | None = None
    width: int = 1


class AlgorithmSpec(Protocol):
    """A named algorithm with its settings: plain data that builds an `Algorithm`."""

    kind: ClassVar[str]

    @property
    def source(self) -> str:
        """The paper."""
        ...

    def build(self) -> Algorithm:
        """The pure functions for these settings."""
        ...
