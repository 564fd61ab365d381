"""The first layer of a chain in dual form: plain SGD without its weights ever being moved.

What SGD adds to a linear layer is a sum of outer products of inputs and errors, so the layer
answers x W0 - lr sum_i (x . x_i) e_i: all it needs is W0 x of every record once, the products of
the records with one another, and the errors so far (Irie, Csordas, Schmidhuber 2022, "The Dual
Form of Neural Networks Revisited", section 3). Inputs of the first layer are the records
themselves, so both are known before the first step. The products are large, where those of single
batches are too narrow to use a core well, and no weight is read or written until the last step.
Imported only where torch is there (see `tacit.learn.torch`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, Protocol, final

import numpy as np

from tacit.base.extras import optional
from tacit.base.vector import Rows, Vector
from tacit.learn.examples import Examples
from tacit.learn.schedule import Batch, Form, Loader, Schedule
from tacit.learn.torch_product import product, quick
from tacit.learn.torch_rows import Layer, LinearChain, descend, forward, loss_of

if TYPE_CHECKING:
    import torch
else:
    torch = optional("torch", "tacit.torch")


ROOM = 2**27
"""Bytes that records and what is known of them may take beside each other."""


@final
@dataclass(frozen=True)
class Dual:
    """A first layer: what it answers before the first step, and the errors since, -lr times.

    Each client has `slots` rows, behind one that is nobody's, where padding points: `x` is (rows,
    in), `start` and `moved` (rows, out), `gram` (rows, slots). A client's records lie in the order
    of its first pass, so that a step of it is a run of slots that nothing has moved yet.
    """

    layer: Layer
    plan: Schedule
    slots: int
    x: torch.Tensor
    start: torch.Tensor
    gram: torch.Tensor
    moved: torch.Tensor

    def step(self, number: int, rows: slice, at: torch.Tensor) -> Step:
        """The slots of a step: of clients in their first pass, or anywhere."""
        if number >= self.plan.per_pass[rows.stop - 1]:
            return _Anywhere(self, rows, at)
        first = number * self.plan.width
        return _First(self, rows, slice(first, first + at.shape[1]))

    def of(self, held: torch.Tensor) -> torch.Tensor:
        """Rows as (clients, slots, ...)."""
        return held[1:].view(-1, self.slots, held.shape[1])

    def finish(self) -> None:
        """Add up what the layer's weights should have become."""
        each = zip(self.of(self.x), self.of(self.moved), self.plan.counts.tolist(), strict=True)
        for client, (x, moved, count) in enumerate(each):
            self.layer.weight[client].add_(product(moved[:count].T, x[:count].T))
        if self.layer.bias is not None:
            self.layer.bias.add_(self.of(self.moved).sum(1))


class Step(Protocol):
    """The first layer in one step of some clients."""

    def outputs(self) -> torch.Tensor:
        """(clients, width, out)."""
        ...

    def move(self, error: torch.Tensor, lr: float) -> None:
        """Take the step, by the errors (clients, width, out)."""
        ...


class _First(NamedTuple):
    dual: Dual
    rows: slice
    run: slice

    def outputs(self) -> torch.Tensor:
        own, before = self.dual, self.run.start
        start = own.of(own.start)[self.rows, self.run]
        if not before:
            return start.clone()
        gram = own.of(own.gram)[self.rows, self.run, :before]
        return torch.baddbmm(start, gram, own.of(own.moved)[self.rows, :before])

    def move(self, error: torch.Tensor, lr: float) -> None:
        own = self.dual
        torch.mul(error, -lr, out=own.of(own.moved)[self.rows, self.run])


class _Anywhere(NamedTuple):
    dual: Dual
    rows: slice
    at: torch.Tensor

    def outputs(self) -> torch.Tensor:
        own, flat, shape = self.dual, self.at.flatten(), self.at.shape
        gram = own.gram.index_select(0, flat).view(*shape, -1)
        start = own.start.index_select(0, flat).view(*shape, -1)
        return start.baddbmm_(gram, own.of(own.moved)[self.rows])

    def move(self, error: torch.Tensor, lr: float) -> None:
        moved, flat = self.dual.moved, self.at.flatten()
        moved[flat] = moved.index_select(0, flat).sub_(error.flatten(0, 1), alpha=lr)


def pays(chain: LinearChain, loader: Loader) -> bool:
    """Whether the dual form has less to do, or little more of what goes at twice the speed."""
    out, features = chain.layers[0].shape
    plan, item = loader.schedule, loader.form.x.itemsize
    slots = plan.width * int(plan.per_pass[0])
    rows, counts, taken = slots * len(plan.counts), plan.counts.astype(float), plan.lengths.sum()
    if rows * (features + slots + 2 * out) * item > ROOM:
        return False
    at_ends = features * (out * (rows + counts.sum()) + np.square(counts).sum())
    in_steps = taken * counts.max() * out
    worth = 2.0 if quick(loader.form.x) else 1.0
    return bool(at_ends + in_steps < worth * 2 * taken * features * out)


def sgd(chain: LinearChain, params: Rows, loader: Loader, lr: float, alike: bool) -> Vector:
    """All steps of plain SGD on `params` in place; returns each client's sum of losses.

    `alike`: all clients begin with the same model.
    """
    losses = np.zeros(len(params))
    loader = replace(loader, order=cache(loader.order))
    with torch.no_grad():
        layers = chain.on(params)
        dual = _begun(layers[0], loader, alike)
        for number, parts in enumerate(_numbered(loader, dual.slots).steps()):
            for rows, batch in parts:
                rest = [layer.of(rows) for layer in layers[1:]]
                first = dual.step(number, rows, torch.from_numpy(batch.x))
                losses[rows] += _step(chain, first, rest, batch, lr)
        dual.finish()
    return losses


def _step(chain: LinearChain, first: Step, rest: list[Layer], batch: Batch, lr: float) -> Vector:
    below, relu = first.outputs(), chain.layers[0].relu
    if relu:
        below.relu_()
    inputs, output = forward(rest, below)
    share = torch.from_numpy(batch.share)
    losses, error = loss_of(chain.loss, output, torch.from_numpy(batch.y), share)
    first.move(descend(rest, inputs, error, lr, relu), lr)
    return losses.sum(1).to(torch.float64).numpy()


def _begun(layer: Layer, loader: Loader, alike: bool) -> Dual:
    """Everything that is known before the first step; slots without a record are zero."""
    plan, clients = loader.schedule, len(loader.held)
    slots = int(plan.width * plan.per_pass[0])
    x = _laid(loader, slots)
    gram, moved = (
        torch.from_numpy(loader.space.array(name, (len(x), size), loader.form.x)).zero_()
        for name, size in (("gram", slots), ("moved", layer.weight.shape[1]))
    )
    for client, count in enumerate(plan.counts.tolist()):
        first = 1 + client * slots
        own = slice(first, first + count)
        torch.add(product(x[own], x[own]), float(layer.bias is not None), out=gram[own, :count])
    biases = [None] * clients if layer.bias is None else list(layer.bias)
    if alike:
        start = product(x, layer.weight[0], biases[0])
    else:
        each = zip(x[1:].split(slots), layer.weight, biases, strict=True)
        start = torch.cat([x.new_zeros(1, layer.weight.shape[1]), *(product(*one) for one in each)])
    return Dual(layer, plan, slots, x, start, gram, moved)


def _laid(loader: Loader, slots: int) -> torch.Tensor:
    """All records (1 + clients * slots, features), each client's in the order of its first pass."""
    features = int(np.prod(loader.held[0].x.shape[1:]))
    every = loader.space.array("records", (1 + len(loader.held) * slots, features), loader.form.x)
    every[0] = 0
    for client, held in enumerate(loader.held):
        rows = every[1 + client * slots :][:slots]
        x = held.x[loader.order(client, 0)] if loader.schedule.steps.shuffle else held.x
        rows[: held.count] = x.reshape(held.count, -1)
        rows[held.count :] = 0
    return torch.from_numpy(every)


def _numbered(loader: Loader, slots: int) -> Loader:
    """The same batches, with the row of each record for its features."""
    numbered = []
    for client, held in enumerate(loader.held):
        places = np.arange(held.count) + (1 + client * slots)
        if loader.schedule.steps.shuffle:
            places[loader.order(client, 0)] = places.copy()
        numbered.append(Examples(places, held.y))
    form = Form(np.dtype(np.int64), loader.form.y, share=loader.form.x)
    return replace(loader, held=numbered, form=form)
