"""An Efficient Framework for Clustered Federated Learning.

Ghosh, Chung, Yin, Ramchandran, NeurIPS 2020, Algorithm 1 (IFCA), option II (model averaging):
k models; a client receives all of them, trains the one with the lowest loss on its records, and
each model becomes the mean of those who chose it.

The answer holds a change for every model, zero but for the chosen one, and the choice as a
one-hot average: what leaves has the same shape whatever was chosen, so clips, noise and secure
sums apply, and only the sum need be seen. Models are kept in the order of how much they were
chosen, so "params", the model of whom nothing is known, is the largest cluster's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.vector import Block, Bound, Kind, Layout, Rows, Vector
from tacit.learn.algorithm import (
    Aggregate,
    Algorithm,
    Contribution,
    Device,
    Local,
    Offer,
    State,
    Steps,
)
from tacit.learn.descent import arranged, descending
from tacit.learn.fedavg import change, check_local_steps
from tacit.learn.optimiser import AnyOptimiser
from tacit.learn.rate import AnySchedule
from tacit.learn.settings import positive


@final
@dataclass(frozen=True)
class IFCA:
    """Settings of IFCA; see `ifca`."""

    kind: ClassVar[str] = "ifca"

    lr: float
    clusters: int
    epochs: int = 1
    batch: int = 32
    steps: int = 0
    spread: float = 0.1
    seed: int = 0
    least: float = 1e-6
    shuffle: bool = True
    optimiser: AnyOptimiser | None = None
    schedule: AnySchedule | None = None

    source = "Ghosh et al. 2020, Algorithm 1, option II (IFCA, model averaging)"

    def __post_init__(self) -> None:
        check_local_steps(self.lr, self.epochs, self.batch, self.steps)
        positive("spread", self.spread)
        positive("least", self.least)
        if self.clusters < 2:
            rule = "a whole number from 2"
            raise TacitError("task.setting", name="clusters", value=self.clusters, rule=rule)
        if self.optimiser is not None and self.optimiser.keep:
            rule = "False: another round may train another model"
            raise TacitError("task.setting", name="keep", value=True, rule=rule)

    def build(self) -> Algorithm:
        """The pure functions."""
        bound = Bound(math.sqrt(2), 1.0)
        chosen = Block("chosen", self.clusters, Kind.AVERAGE, bound, 1.0)
        algorithm = Algorithm(
            self._start,
            self._offer,
            self._visit,
            self._apply,
            extra=(chosen,),
            model=self._model,
            width=self.clusters,
        )
        return descending(algorithm, self._local)

    @property
    def _local(self) -> Steps:
        return Steps(
            self.lr,
            self.batch,
            self.epochs,
            self.steps,
            shuffle=self.shuffle,
            optimiser=self.optimiser,
            schedule=self.schedule,
        )

    def _start(self, params: Vector) -> State:
        """The model, moved in `clusters` random directions, by a part of each coordinate."""
        draw = (Key.seed(self.seed) / "ifca").generator()
        moves = draw.standard_normal((self.clusters, params.size))
        size = self.spread * np.where(params == 0, 1.0, np.abs(params))
        return _state((params + size * moves).astype(params.dtype))

    @property
    def _names(self) -> list[str]:
        return ["params", *(f"model{j}" for j in range(1, self.clusters))]

    def _offer(self, state: State) -> Offer:
        return dict(zip(self._names, state["models"], strict=True))

    def _visit(self, received: Offer, memory: Any, home: Local) -> tuple[Contribution, Any]:
        before, one_hot = self._chosen(received, home)
        after = home.train(before, arranged(self._local, received))
        update = _placed(change(before, after.params, home), one_hot, home.trained)
        return Contribution(update, 1.0, after.loss, {"chosen": one_hot.astype(float)}), memory

    def _model(self, received: Offer, memory: Any, device: Device) -> Vector:
        return self._chosen(received, device)[0]

    def _chosen(self, received: Offer, home: Local) -> tuple[Vector, Any]:
        """The model with the lowest loss (..., dim), and which one it is, one-hot (..., k)."""
        models = [received[name] for name in self._names]
        losses = np.stack([np.asarray(home.loss(model)) for model in models], axis=-1)
        one_hot = np.arange(len(models)) == losses.argmin(axis=-1)[..., None]
        zero = np.zeros((), models[0].dtype)
        parts = [np.where(one_hot[..., j, None], model, zero) for j, model in enumerate(models)]
        return np.asarray(np.sum(parts, axis=0)), one_hot

    def _apply(self, state: State, found: Aggregate, layout: Layout) -> State:
        """The mean change of each model over those who chose it, by their weights."""
        shares = found.tallies["chosen"]
        models = state["models"].copy()
        split = self.clusters * layout.trained
        changes = found.mean[:split].reshape(self.clusters, -1)
        buffers = found.mean[split:].reshape(self.clusters, -1)
        for j in np.flatnonzero(shares >= self.least):
            models[j, : layout.trained] += changes[j] / shares[j]
            models[j, layout.trained :] = buffers[j] / shares[j]
        return _state(models[np.argsort(-shares, kind="stable")])


def ifca(  # noqa: PLR0913  # one argument a setting
    lr: float,
    clusters: int,
    epochs: int = 1,
    batch: int = 32,
    steps: int = 0,
    spread: float = 0.1,
    seed: int = 0,
    least: float = 1e-6,
    shuffle: bool = True,
    optimiser: AnyOptimiser | None = None,
    schedule: AnySchedule | None = None,
) -> IFCA:
    """`clusters` models; each client trains the one that fits its records best.

    The models start as the task's own, each coordinate moved by a normal number of `spread` times
    its size (`spread` itself where it is zero), drawn from `seed`: equal models could not be told
    apart. A cluster that holds less than the part `least` of a round's weights keeps its model;
    under noise, give the part of one client.
    """
    return IFCA(
        lr, clusters, epochs, batch, steps, spread, seed, least, shuffle, optimiser, schedule
    )


def _state(models: Rows) -> State:
    return {"params": models[0], "models": models}


def _placed(update: Vector, one_hot: Any, trained: int) -> Vector:
    """(..., dim) to (..., k * dim): the change at the chosen place, then the buffers likewise."""
    wide = np.where(one_hot[..., None], update[..., None, :], np.zeros((), update.dtype))
    lead = update.shape[:-1]
    parts = (wide[..., :trained].reshape(*lead, -1), wide[..., trained:].reshape(*lead, -1))
    return np.concatenate(parts, axis=-1)
