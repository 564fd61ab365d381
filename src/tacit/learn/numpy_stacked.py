"""Fully connected networks for many clients at once: one batched product a layer.

Goodfellow 2015, "Efficient per-example gradient computations", for the norms of clipped sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from tacit.base.vector import Layout, Rows, Vector
from tacit.learn.examples import Examples
from tacit.learn.losses import Loss
from tacit.learn.schedule import Batch, Form, Loader
from tacit.learn.task import clip_factors

Array = npt.NDArray[Any]
Layers = list[Array]
"""Weight and bias of each layer as one matrix a client (clients, in + 1, out): inputs end in 1."""


@final
@dataclass(frozen=True)
class StackedNetwork:
    """A numpy network whose layout is weight0 (in, out), bias0 (out,), ...; see `StackedTask`."""

    layout: Layout
    l2: float
    loss: Loss

    @property
    def touched(self) -> int:
        """All of it."""
        return self.layout.size

    def form(self, held: Examples) -> Form:
        """float64 features with a 1 behind them, labels as they are."""
        return Form(np.dtype(np.float64), held.y.dtype, constant=True)

    def grad_rows(self, params: Rows, batch: Batch, into: Rows) -> Vector:
        """Backpropagation of each client's mean loss, penalty included."""
        layers, found = self._layers(params), self._layers(into)
        inputs, losses, error = self._errors(layers, batch)
        losses += self._penalty(layers)
        for i in reversed(range(len(layers))):
            np.matmul(inputs[i].swapaxes(1, 2), error, out=found[i])
            if self.l2:
                found[i][:, :-1] += self.l2 * layers[i][:, :-1]
            error = _back(layers, inputs, i, error)
        return losses

    def step_rows(self, params: Rows, batch: Batch, lr: float) -> Vector:
        """The same, each layer moved as soon as its error has gone through it."""
        layers = self._layers(params)
        inputs, losses, error = self._errors(layers, batch)
        losses += self._penalty(layers)
        error *= lr
        for i in reversed(range(len(layers))):
            below = _back(layers, inputs, i, error)
            if self.l2:
                layers[i][:, :-1] *= 1.0 - lr * self.l2
            layers[i] -= np.matmul(inputs[i].swapaxes(1, 2), error)
            error = below
        return losses

    def sgd_rows(self, params: Rows, loader: Loader, lr: float, alike: bool) -> None:
        """Step by step: nothing here is shorter."""

    def clipped_rows(self, params: Rows, batch: Batch, clip: float) -> Rows:
        """Exact per-example clipping; with a penalty each example's gradient is written out."""
        layers = self._layers(params)
        inputs, _, error = self._errors(layers, batch._replace(share=np.sign(batch.share)))
        errors = [error]
        for i in reversed(range(1, len(layers))):
            errors.insert(0, _back(layers, inputs, i, errors[0]))
        pairs = list(zip(inputs, errors, strict=True))
        if self.l2:
            return self._with_penalty(layers, pairs, batch.share, clip)
        squares: Array = np.sum([_square(error) * _square(x) for x, error in pairs], axis=0)
        factors = clip_factors(np.sqrt(squares), clip)[..., None]
        total = np.empty_like(params)
        for layer, (x, error) in zip(self._layers(total), pairs, strict=True):
            np.matmul(x.swapaxes(1, 2), error * factors, out=layer)
        return total

    def _with_penalty(
        self, layers: Layers, pairs: list[tuple[Array, Array]], share: Rows, clip: float
    ) -> Rows:
        """Example by example, for all clients together."""
        total = np.zeros((len(share), self.layout.size))
        one = np.empty_like(total)
        for slot in range(share.shape[1]):
            for layer, own, (x, error) in zip(self._layers(one), layers, pairs, strict=True):
                np.multiply(x[:, slot, :, None], error[:, slot, None], out=layer)
                layer[:, :-1] += self.l2 * own[:, :-1]
            factors = clip_factors(np.sqrt(_square(one)), clip) * np.sign(share[:, slot])
            total += one * factors[:, None]
        return total

    def _layers(self, rows: Rows) -> Layers:
        """Views of rows: a layer's bias lies behind its weight."""
        layers, start = [], 0
        for weight, bias in zip(self.layout.tensors[::2], self.layout.tensors[1::2], strict=True):
            end = start + weight.size + bias.size
            layers.append(rows[:, start:end].reshape(len(rows), -1, bias.size))
            start = end
        return layers

    def _errors(self, layers: Layers, batch: Batch) -> tuple[list[Array], Vector, Array]:
        """Inputs of every layer, the clients' losses, and the last layer's error."""
        x, y, share = batch
        inputs = [x]
        for layer in layers[:-1]:
            hidden = np.empty((*share.shape, layer.shape[2] + 1))
            np.matmul(inputs[-1], layer, out=hidden[..., :-1])
            hidden[..., -1] = 1.0
            inputs.append(np.maximum(hidden, 0.0, out=hidden))
        logits = np.matmul(inputs[-1], layers[-1])
        each, error = self.loss.both(logits.reshape(-1, logits.shape[-1]), y.reshape(share.size))
        error = error.reshape(logits.shape)
        error *= share[..., None]
        return inputs, np.einsum("ij,ij->i", each.reshape(share.shape), share), error

    def _penalty(self, layers: Layers) -> Any:
        if not self.l2:
            return 0.0
        return 0.5 * self.l2 * sum((layer[:, :-1] ** 2).sum(axis=(1, 2)) for layer in layers)


def _back(layers: Layers, inputs: list[Array], i: int, error: Array) -> Array:
    """The error of the layer below `i`."""
    if not i:
        return error
    below: Array = np.matmul(error, layers[i][:, :-1].swapaxes(1, 2))
    below *= inputs[i][..., :-1] > 0
    return below


def _square(array: Array) -> Array:
    return np.asarray(np.einsum("...i,...i->...", array, array))
