"""The local loop on a block of clients: `Home`, with a leading axis over clients.

The visits of algorithms run unchanged on it. Every client takes the batches that it would take
alone, in the same order; only the arithmetic is done for many at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import count
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import numpy.typing as npt

from tacit.base.key import Key
from tacit.base.vector import Rows, Vector
from tacit.learn.algorithm import Contribution, Rule, Step, Steps, Trained
from tacit.learn.descent import Descent
from tacit.learn.examples import Examples
from tacit.learn.local import Home, RecordRule
from tacit.learn.personal import Split
from tacit.learn.represent import PullBeside
from tacit.learn.schedule import Batch, Form, Loader, Part, Schedule, Workspace
from tacit.learn.task import Gradient, Tallies, Task

WHOLE = Steps(lr=0.0, batch=0, shuffle=False)
"""One step over all records."""

ROUNDING = 1e-3
"""Largest relative difference between gradients that is laid to rounding, in any precision."""


class StackedTask(Protocol):
    """The mathematics of a task for many clients at once; rows are (clients, layout.size).

    Answers a client's row as the task itself would alone, but for rounding.
    """

    @property
    def touched(self) -> int:
        """Coordinates of a model that plain steps read and write again and again."""
        ...

    def form(self, held: Examples) -> Form:
        """How features and labels are to be laid out."""
        ...

    def grad_rows(self, params: Rows, batch: Batch, into: Rows) -> Vector:
        """Gradients of the mean losses into `into` (clients, trained); returns the losses.

        The buffers of `params` become those after this batch.
        """
        ...

    def step_rows(self, params: Rows, batch: Batch, lr: float) -> Vector:
        """One step of plain SGD on `params` in place, buffers included; returns the losses."""
        ...

    def sgd_rows(self, params: Rows, loader: Loader, lr: float, alike: bool) -> Vector | None:
        """All steps of plain SGD on `params` in place; returns each client's sum of losses.

        `alike`: they begin with the same model. None, and nothing done, where there is no shorter
        way than step by step.
        """
        ...

    def clipped_rows(self, params: Rows, batch: Batch, clip: float) -> Rows:
        """Sums over each client's examples of clipped gradients (clients, trained)."""
        ...


@runtime_checkable
class Stackable(Protocol):
    """A task that may have a stacked form."""

    def stacked(self) -> StackedTask | str:
        """The stacked form, or in one clause why there is none."""
        ...


@final
@dataclass(frozen=True)
class StackedHome:
    """The data and compute of several clients, longest first; see `Local`.

    `keys` gives each client's own key by its place in the block; `space` is memory to work in.
    `models` is memory for what `train` answers: it is used again by whoever gives it twice.
    """

    task: Task
    stacked: StackedTask
    held: Sequence[Examples]
    keys: Callable[[int], Key]
    records: RecordRule | None
    split: Split
    space: Workspace
    models: Workspace = field(default_factory=Workspace)
    taken: Iterator[int] = field(default_factory=count)

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """Number of records of each client (clients,)."""
        return np.array([one.count for one in self.held], np.int64)

    @property
    def examples(self) -> Any:
        """Number of records of each client (clients,)."""
        return self.counts

    @property
    def trained(self) -> int:
        """Trained coordinates of the model."""
        return self.task.layout.trained

    @cached_property
    def personal(self) -> npt.NDArray[np.bool_]:
        """Which trained coordinates stay at home (trained,)."""
        return self.split.stays[: self.trained]

    def train(self, params: Vector, steps: Steps, rule: Rule | None = None) -> Trained:
        """Minibatch SGD with momentum from `params`, (dim,) or (clients, dim); see `Home.train`."""
        schedule = Schedule(self.counts, steps)
        shape = (len(self.held), params.shape[-1])
        alike = params.ndim == 1 or not params.strides[0]
        rows = self.models.array(f"{next(self.taken)}", shape, params.dtype)
        rows[...] = params
        loader = self.loader(schedule)
        descent = Descent.of(steps, rows[:, : self.trained], schedule.total)
        if rule is None and descent.plain:
            losses = self._plain(rows, loader, steps.lr, alike)
        else:
            losses = self._ruled(rows, loader.steps(), descent, rule)
        losses = _finite(losses) / schedule.total
        return Trained(rows, schedule.total, losses, descent.moments)

    def _plain(self, params: Rows, loader: Loader, lr: float, alike: bool) -> Vector:
        at_once = self.stacked.sgd_rows(params, loader, lr, alike)
        if at_once is not None:
            return at_once
        losses = np.zeros(len(self.held))
        for parts in loader.steps():
            for rows, batch in parts:
                losses[rows] += self.stacked.step_rows(params[rows], batch, lr)
        return losses

    def _ruled(
        self, params: Rows, every: Iterator[list[Part]], descent: Descent, rule: Rule | None
    ) -> Vector:
        """The rule sees the whole block, finished clients too, which it then does not move."""
        losses, weights = np.zeros(len(self.held)), params[:, : self.trained]
        gradients = np.zeros_like(weights)
        for step, parts in enumerate(every):
            for rows, batch in parts:
                losses[rows] += self.stacked.grad_rows(params[rows], batch, gradients[rows])
            active = parts[-1].rows.stop
            direction = rule(gradients, weights) if rule else gradients
            descent.move(step, direction, active)
        return losses

    def train_pulled(
        self, params: Vector, steps: Steps, layer: str, others: Sequence[Vector], pull: PullBeside
    ) -> Trained:
        """As `train`, with a loss on the representation: client by client, each on its own."""
        rows, beside = self._rows(params), [self._rows(other) for other in others]
        each = [
            Home(self.task, held, self.keys(i), None, self.split).train_pulled(
                rows[i], steps, layer, [other[i] for other in beside], pull
            )
            for i, held in enumerate(self.held)
        ]
        models, taken, losses, _ = zip(*each, strict=True)
        return Trained(np.stack(models), np.array(taken), np.array(losses))

    def batches(self, steps: Steps) -> Iterator[Step]:
        """The batches of `train`; only for clients that all take the same number of steps."""
        schedule = Schedule(self.counts, steps)
        if schedule.total[0] != schedule.total[-1]:
            raise ValueError("the clients of this block take unequal numbers of steps")
        for parts in self.loader(schedule).steps():
            yield partial(self._gradient, parts)

    def _gradient(self, parts: Sequence[Part], params: Vector) -> Gradient:
        params = self._rows(params)
        found = np.empty_like(params[:, : self.trained])
        losses: Any = np.zeros(len(self.held))
        for rows, batch in parts:
            losses[rows] = self.stacked.grad_rows(params[rows], batch, found[rows])
        return Gradient(found, params[:, self.trained :], losses)

    def gradient(self, params: Vector) -> Contribution:
        """One gradient over all records of each client, or the chain's clipped sums."""
        params = self._rows(params)
        if self.records is not None:
            return self._clipped(params, self.records.clip)
        parts = next(self.loader(Schedule(self.counts, WHOLE)).steps())
        found = self._gradient(parts, params)
        update = np.concatenate([found.trained, found.buffers], axis=1)
        return Contribution(update, np.ones(len(self.held)), _finite(np.asarray(found.loss)))

    def _clipped(self, params: Rows, clip: float) -> Contribution:
        """Clients of whom no record was drawn add nothing."""
        counts = np.array([one.count for one in self.drawn], np.float64)
        some: Any = np.flatnonzero(counts)
        update = np.zeros((len(self.held), self.trained), params.dtype)
        if some.size:
            drawn = replace(self, held=[self.drawn[i] for i in some], records=None)
            schedule = Schedule(drawn.counts, WHOLE)
            for rows, batch in next(drawn.loader(schedule).steps()):
                at = some[rows]
                update[at] = self.stacked.clipped_rows(params[at], batch, clip)
        return Contribution(update, counts, np.full(len(self.held), np.nan))

    @cached_property
    def drawn(self) -> Sequence[Examples]:
        """The records of this visit, client by client (see `Home.drawn`)."""
        return [
            Home(self.task, held, self.keys(i), self.records).drawn()
            for i, held in enumerate(self.held)
        ]

    def loss(self, params: Vector) -> Any:
        """Mean losses on the records of this visit, penalties apart (clients,)."""
        return np.array([one.mean_loss for one in self.reports(params)])

    def reports(self, params: Vector) -> list[Tallies]:
        """Each client's loss and right answers of its model on the records of this visit."""
        every = np.broadcast_to(params, (len(self.held), params.shape[-1]))
        none = Tallies(0.0, 0.0, 0.0)
        return [
            self.task.evaluate(row, held) if held.count else none
            for row, held in zip(every, self.drawn, strict=True)
        ]

    def _rows(self, params: Vector) -> Rows:
        """A copy, one row a client."""
        rows = np.empty((len(self.held), params.shape[-1]), params.dtype)
        rows[...] = params
        return rows

    def loader(self, schedule: Schedule) -> Loader:
        """The batches of a schedule."""
        form = self.stacked.form(self.held[0])
        return Loader(schedule, self.held, form, self._order, self.space)

    def _order(self, client: int, turn: int) -> npt.NDArray[Any]:
        draw = (self.keys(client) / "order" / turn).generator()
        return draw.permutation(self.held[client].count)


def _finite(losses: Vector) -> Vector:
    """A loss that is not finite has a client, who is found by going through them one by one."""
    if not np.isfinite(losses).all():
        raise FloatingPointError("a loss is not finite")
    return losses


def cannot_stack(task: Task, stacked: StackedTask, params: Vector, held: Examples) -> str:
    """Why a task cannot be stacked, in one clause; found by a step of four clients, both ways.

    Raises what the task itself raises on these records.
    """
    few = [held.take(rows) for rows in (slice(4), slice(-4, None), slice(3), slice(-3, None))]
    alone = [task.grad(params, one, Key.seed(0)) for one in few]
    rows = np.array([params] * len(few))
    found = np.empty_like(rows[:, : task.layout.trained])
    counts = np.array([one.count for one in few])
    form = stacked.form(held)
    loader = Loader(Schedule(counts, WHOLE), few, form, _no_order, Workspace())
    try:
        ((_, batch),) = next(loader.steps())
        losses = stacked.grad_rows(rows, batch, found)
    except Exception as error:  # noqa: BLE001  # a user's module may raise anything
        return _reason(error)
    pairs = zip(alone, found, rows[:, task.layout.trained :], losses, strict=True)
    agree = all(
        _apart(expected, own) <= ROUNDING
        for one, *answer in pairs
        for expected, own in zip(one, answer, strict=True)
    )
    return "" if agree else "its gradients come out different when clients are stacked"


def _apart(expected: Any, found: Any) -> float:
    """The largest difference, in terms of the largest number."""
    scale = np.max(np.abs(expected), initial=1e-6)
    return float(np.max(np.abs(expected - found), initial=0.0) / scale)


def _reason(error: Exception) -> str:
    lines = (str(error) or type(error).__name__).splitlines()
    random = any("random" in line for line in lines)
    return "it draws random numbers, as dropout does" if random else f"torch says: {lines[0]}"


def _no_order(client: int, turn: int) -> npt.NDArray[Any]:
    raise ValueError("nothing is shuffled in a trial")
