"""Local steps by an optimiser and a learning-rate schedule, at one client or in a block of them.

An algorithm's settings become `Steps`; a visit completes them from what it received and remembers
(`arranged`), takes them (`descend`, by the local loop), and keeps what is to be kept (`kept`). The
round reaches a client as a number of the offer, so that it needs nothing but what it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from tacit.base.errors import TacitError
from tacit.base.vector import Layout, Vector
from tacit.learn.algorithm import Aggregate, Algorithm, Need, Offer, State, Steps, Trained
from tacit.learn.optimiser import SGD, Moments, Optimiser
from tacit.learn.rate import RateSchedule

PIECE = 1 << 15
"""Numbers that an optimiser works on at once."""

Begun = tuple[Moments | None, ...]
"""The state to begin with of each training of a visit."""


def descending(algorithm: Algorithm, local: Steps) -> Algorithm:
    """The algorithm with what these local steps ask for: memory, and the round in its offer."""
    if keeps(local):
        algorithm = algorithm._replace(needs=algorithm.needs | {Need.MEMORY})
    counted = local.schedule is not None and "rounds" in local.schedule.units
    return counting(algorithm) if counted else algorithm


def counting(algorithm: Algorithm) -> Algorithm:
    """The same algorithm, whose state and offer say how many models were made: "round" (1,)."""

    def start(params: Vector) -> State:
        return {**algorithm.start(params), "round": 0}

    def offer(state: State) -> Offer:
        round_ = np.full(1, state["round"], state["params"].dtype)
        return {**algorithm.offer(state), "round": round_}

    def apply(state: State, found: Aggregate, layout: Layout) -> State:
        return {**algorithm.apply(state, found, layout), "round": state["round"] + 1}

    return algorithm._replace(start=start, offer=offer, apply=apply)


def check_descent(local_momentum: float, optimiser: Optimiser | None) -> None:
    """Refuse momentum that is said twice."""
    if local_momentum and optimiser is not None:
        raise TacitError("task.optimiser-momentum", optimiser=optimiser.kind)


def refuse_descent(
    algorithm: str, why: str, optimiser: Optimiser | None, schedule: RateSchedule | None
) -> None:
    """Refuse what is not SGD with one learning rate a visit, which an algorithm needs."""
    if optimiser is not None:
        raise TacitError("task.needs-sgd", algorithm=algorithm, name="optimiser", why=why)
    if schedule is not None and "steps" in schedule.units:
        name = "schedule over local steps"
        raise TacitError("task.needs-sgd", algorithm=algorithm, name=name, why=why)


def keeps(local: Steps) -> bool:
    """Whether a client keeps the optimiser's state between rounds."""
    return local.optimiser is not None and local.optimiser.keep


def recalled(local: Steps, memory: Any, trainings: int = 1) -> tuple[Any, Begun]:
    """A memory as the algorithm's own part, and the state that each training begins with."""
    if not keeps(local):
        return memory, (None,) * trainings
    if memory is None:
        return None, (None,) * trainings
    return memory.get("own"), tuple(memory["moments"])


def kept(local: Steps, own: Any, *after: Trained) -> Any:
    """What a client keeps: the algorithm's `own` part, and where it is wanted, each state."""
    if not keeps(local):
        return own
    moments = tuple(one.moments for one in after)
    return {"moments": moments} if own is None else {"own": own, "moments": moments}


def arranged(local: Steps, received: Offer, begun: Moments | None = None) -> Steps:
    """The steps of a visit: in this round, from this state.

    A schedule over rounds alone is one learning rate for the whole visit.
    """
    if local.plain:
        return local
    round_ = float(received["round"].flat[0]) if "round" in received else 0.0
    if local.schedule is not None and "steps" not in local.schedule.units:
        return replace(local, lr=lr_in(local, round_), schedule=None, begun=begun)
    return replace(local, round=round_, begun=begun)


def lr_in(local: Steps, round_: float) -> float:
    """The learning rate of a round, by a schedule over rounds alone."""
    return local.lr if local.schedule is None else local.lr * float(local.schedule.at(round_, 0, 1))


@final
@dataclass(frozen=True)
class Descent:
    """Steps on `weights` (trained,) or (clients, trained), which it moves in place.

    `total` steps of each client: a number, or (clients,).
    """

    steps: Steps
    weights: Vector
    total: Any
    moments: Mapping[str, Vector]

    @staticmethod
    def of(steps: Steps, weights: Vector, total: Any) -> Descent:
        """Before the first step: with the state to begin with, in arrays of its own."""
        begun = steps.begun or _optimiser(steps).start(weights)
        own = {name: np.array(held) for name, held in begun.items()}
        return Descent(steps, weights, total, own)

    @property
    def plain(self) -> bool:
        """Whether it is SGD with one learning rate and nothing else."""
        return self.steps.plain and not self.steps.momentum

    def move(self, step: int, direction: Vector, active: int | None = None) -> None:
        """Take step `step` (from 0) along a gradient; of a block, only the first `active` rows."""
        rows = slice(active) if active is not None else ...
        weights, direction = self.weights[rows], direction[rows]
        if self.plain:
            weights -= self.steps.lr * direction
            return
        moments = {name: held[rows] for name, held in self.moments.items()}
        lr = self._lr(step, active)
        counts: dict[str, Vector] = {}
        for place in _pieces(weights):
            found = self._moved(weights[..., place], direction[..., place], moments, place, lr)
            counts.update(found)
        for name, count in counts.items():
            moments[name][...] = count

    def _moved(
        self, weights: Vector, direction: Vector, moments: Moments, place: slice, lr: Any
    ) -> Moments:
        """Move some coordinates and their moments; returns moments that are not by coordinate."""
        wide = {name: held.shape[-1] == self.weights.shape[-1] for name, held in moments.items()}
        before = {name: held[..., place] if wide[name] else held for name, held in moments.items()}
        after, found = _optimiser(self.steps).step(weights, direction, before, lr)
        only = self.steps.only
        weights[...] = after if only is None else np.where(only[place], after, weights)
        for name, held in before.items():
            if wide[name]:
                held[...] = found[name]
        return {name: held for name, held in found.items() if not wide[name]}

    def _lr(self, step: int, active: int | None) -> Any:
        """The learning rate of a step: a number, or one for each client (active, 1)."""
        lr, schedule = self.steps.lr, self.steps.schedule
        if schedule is None:
            return lr
        total = self.total if active is None else self.total[:active, None]
        return lr * schedule.at(self.steps.round, step, total)


def _optimiser(steps: Steps) -> Optimiser:
    return SGD(steps.momentum) if steps.optimiser is None else steps.optimiser


def _pieces(weights: Vector) -> Iterator[slice]:
    """Coordinates in pieces of which all intermediate results stay in a core's cache."""
    rows = weights.size // max(weights.shape[-1], 1)
    width = max(PIECE // max(rows, 1), 1)
    return (slice(at, at + width) for at in range(0, weights.shape[-1], width))
