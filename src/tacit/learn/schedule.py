"""Which records a block of clients takes at which step: the batches of `local`, side by side.

Clients are rows, longest first, so that those who have finished are a suffix that is dropped.
A step's batches lie in slots of one width; where a client has fewer records than the slot, its
share of the loss is zero there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt

from tacit.base.vector import Rows
from tacit.learn.algorithm import Steps
from tacit.learn.examples import Examples

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
Order = Callable[[int, int], Array]
"""(client, pass) -> the order in which the client takes its records in that pass."""

WASTE = 0.15
"""The largest part of all slots that may be padding before a step is cut into parts."""

WINDOW = 2**25
"""Bytes of features laid out at once."""


class Form(NamedTuple):
    """How features and labels are laid out; `constant`: flat features, and a 1 behind them.

    `share`: the type of shares, which otherwise is that of floating features, or float64.
    """

    x: np.dtype[Any]
    y: np.dtype[Any]
    constant: bool = False
    share: np.dtype[Any] | None = None


class Batch(NamedTuple):
    """One minibatch of some clients: x (clients, slots, ...), y, and each example's share.

    `share` (clients, slots) is 1 / (the client's examples) where there is one, and 0 elsewhere.
    """

    x: Array
    y: Array
    share: Rows


class Part(NamedTuple):
    """Neighbouring rows of a block, and their batch."""

    rows: slice
    batch: Batch


@final
@dataclass(frozen=True)
class Workspace:
    """Arrays that are used again: fresh memory costs as much as the arithmetic on it."""

    held: dict[str, Array] = field(default_factory=dict)

    def array(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array with any content; the next one of that name takes its memory."""
        size = int(np.prod(shape)) * dtype.itemsize
        if name not in self.held or self.held[name].size < size:
            self.held[name] = np.empty(size, np.uint8)
        return self.held[name][:size].view(dtype).reshape(shape)


@final
@dataclass(frozen=True)
class Schedule:
    """Step sizes of clients with `counts` records each; see `tacit.learn.local`."""

    counts: Ints
    steps: Steps

    def __post_init__(self) -> None:
        if (np.diff(self.total) > 0).any():
            raise ValueError("clients with more steps come first")

    @cached_property
    def size(self) -> Ints:
        """Records in a full batch of each client."""
        batch = self.steps.batch
        return np.minimum(batch, self.counts) if batch else self.counts

    @cached_property
    def per_pass(self) -> Ints:
        """Steps of one pass."""
        return -(-self.counts // self.size)

    @cached_property
    def total(self) -> Ints:
        """Steps of each client."""
        if self.steps.steps:
            return np.full_like(self.counts, self.steps.steps)
        return self.steps.epochs * self.per_pass

    @cached_property
    def each(self) -> list[tuple[int, int, int]]:
        """Size, steps of one pass and steps of each client."""
        numbers = (self.size, self.per_pass, self.total)
        return list(zip(*(one.tolist() for one in numbers), strict=True))

    @cached_property
    def width(self) -> int:
        """Slots of a step."""
        return int(self.size.max())

    @cached_property
    def lengths(self) -> Ints:
        """Records of each client at each step (clients, steps); 0 when it has finished."""
        step = np.arange(self.total[0])
        done = (step % self.per_pass[:, None]) * self.size[:, None]
        left = np.minimum(self.counts[:, None] - done, self.size[:, None])
        return np.where(step < self.total[:, None], left, 0)

    @cached_property
    def active(self) -> list[int]:
        """Clients that have not finished, by step."""
        found: list[int] = np.count_nonzero(self.lengths, axis=0).tolist()
        return found

    @cached_property
    def waste(self) -> float:
        """The part of slots that would be padding if no step were cut."""
        return 1.0 - float(self.lengths.sum()) / (sum(self.active) * self.width)

    def parts(self, step: int) -> Iterator[tuple[int, int, int]]:
        """Neighbouring clients that are computed together: first, end, and their width."""
        if self.waste <= WASTE:
            yield 0, self.active[step], self.width
            return
        lengths = self.lengths[: self.active[step], step].tolist()
        first = filled = width = 0
        for end, length in enumerate(lengths):
            slots = max(width, length) * (end - first + 1)
            if end > first and filled + length < (1 - WASTE) * slots:
                yield first, end, width
                first, filled, width = end, 0, 0
            filled, width = filled + length, max(width, length)
        yield first, len(lengths), width


@final
@dataclass(frozen=True)
class Loader:
    """Lays the records of a block's clients into slots, as many steps at once as a window holds."""

    schedule: Schedule
    held: Sequence[Examples]
    form: Form
    order: Order
    space: Workspace

    def steps(self) -> Iterator[list[Part]]:
        """The parts of every step; arrays are good until the next step is asked for."""
        plan, end = self.schedule, len(self.schedule.active)
        many = self._many()
        for first in range(0, end, many):
            last = min(first + many, end)
            window = self._window(first, last)
            for step in range(first, last):
                at = (step - first) * plan.width
                yield [
                    Part(slice(a, b), Batch(*(one[a:b, at : at + width] for one in window)))
                    for a, b, width in plan.parts(step)
                ]

    def _many(self) -> int:
        """Steps of one window."""
        plan, one = self.schedule, self.held[0].x[:1]
        each = one.size * self.form.x.itemsize * plan.width * len(self.held)
        return max(1, WINDOW // max(each, 1))

    def _window(self, first: int, last: int) -> tuple[Array, Array, Rows]:
        """Features, labels and shares (clients, slots, ...) of some steps."""
        plan, (one, label) = self.schedule, self.held[0]
        clients, slots = plan.active[first], (last - first) * plan.width
        shape = (one[0].size + 1,) if self.form.constant else one.shape[1:]
        x = self.space.array("x", (clients, slots, *shape), self.form.x)
        y = self.space.array("y", (clients, slots, *label.shape[1:]), self.form.y)
        for client in range(clients):
            self._fill(client, first, last, x[client], y[client])
        return x, y, self._shares(first, last).reshape(clients, slots)

    def _shares(self, first: int, last: int) -> Rows:
        """(clients, steps, width)."""
        plan = self.schedule
        every = plan.lengths[: plan.active[first], first:last]
        if plan.width < every.size:
            lengths, which = np.arange(plan.width + 1), every
        else:
            lengths, which = np.unique(every, return_inverse=True)
        real = np.arange(plan.width) < lengths[:, None]
        shares: Rows = real / np.maximum(lengths, 1)[:, None]
        floats = self.form.x if self.form.x.kind == "f" else self.form.share or shares.dtype
        return shares.astype(floats)[which]

    def _fill(self, client: int, first: int, last: int, x: Array, y: Array) -> None:
        """One client's slots of steps `first` to `last`; slots without a record are zero."""
        plan, (records, labels) = self.schedule, self.held[client]
        width, count = plan.width, len(records)
        size, per_pass, total = plan.each[client]
        features = x
        if self.form.constant:
            features, records = x[:, :-1], records.reshape(count, -1)
        step, end = first, min(last, total)
        while step < end:
            turn, within = divmod(step, per_pass)
            after = min(end, (turn + 1) * per_pass)
            start, stop = within * size, min((within + after - step) * size, count)
            rows: Any = slice(start, stop)
            if plan.steps.shuffle:
                rows = self.order(client, turn)[rows]
            at = (step - first) * width
            filled, over = at + stop - start, (after - first) * width
            features[at:filled], y[at:filled] = records[rows], labels[rows]
            if filled < over:
                features[filled:over], y[filled:over] = 0, 0
            step = after
        if self.form.constant:
            x[: (end - first) * width, -1] = 1
