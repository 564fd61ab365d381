"""Fully connected networks for many clients at once: one batched product a layer.

Goodfellow 2015, "Efficient per-example gradient computations", for the norms of clipped sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
import numpy.typing as npt

from tacit.base.vector import Layout, Rows, Vector
from tacit.learn.examples import Examples
from tacit.learn.losses import Loss
from tacit.learn.schedule import Batch, Dtypes
from tacit.learn.task import clip_factors

Array = npt.NDArray[Any]
Layers = list[tuple[Array, Array]]


@final
@dataclass(frozen=True)
class StackedNetwork:
    """A numpy network whose layout is weight0 (in, out), bias0 (out,), ...; see `StackedTask`."""

    layout: Layout
    l2: float
    loss: Loss

    def dtypes(self, held: Examples) -> Dtypes:
        """float64 features, labels as they are."""
        return np.dtype(np.float64), held.y.dtype

    def grad_rows(self, params: Rows, batch: Batch, into: Rows) -> Vector:
        """Backpropagation of each client's mean loss, penalty included."""
        layers, found = self._layers(params), self._layers(into)
        inputs, losses, error = self._errors(layers, batch)
        losses += self._penalty(layers)
        for i in reversed(range(len(layers))):
            weight, bias = found[i]
            np.matmul(inputs[i].swapaxes(1, 2), error, out=weight)
            if self.l2:
                weight += self.l2 * layers[i][0]
            np.sum(error, axis=1, out=bias)
            error = _back(layers, inputs, i, error)
        return losses

    def step_rows(self, params: Rows, batch: Batch, lr: float) -> Vector:
        """The same, each layer moved as soon as its error has gone through it."""
        layers = self._layers(params)
        inputs, losses, error = self._errors(layers, batch)
        losses += self._penalty(layers)
        error *= lr
        for i in reversed(range(len(layers))):
            weight, bias = layers[i]
            below = _back(layers, inputs, i, error)
            if self.l2:
                weight *= 1.0 - lr * self.l2
            weight -= np.matmul(inputs[i].swapaxes(1, 2), error)
            bias -= error.sum(axis=1)
            error = below
        return losses

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
        squares: Array = np.sum([_square(error) * (_square(x) + 1.0) for x, error in pairs], axis=0)
        factors = clip_factors(np.sqrt(squares), clip)[..., None]
        total = np.empty_like(params)
        for (weight, bias), (x, error) in zip(self._layers(total), pairs, strict=True):
            scaled = error * factors
            np.matmul(x.swapaxes(1, 2), scaled, out=weight)
            np.sum(scaled, axis=1, out=bias)
        return total

    def _with_penalty(
        self, layers: Layers, pairs: list[tuple[Array, Array]], share: Rows, clip: float
    ) -> Rows:
        """Example by example, for all clients together."""
        total = np.zeros((len(share), self.layout.size))
        one = np.empty_like(total)
        for slot in range(share.shape[1]):
            views = self._layers(one)
            for (weight, bias), (own, _), (x, error) in zip(views, layers, pairs, strict=True):
                np.multiply(x[:, slot, :, None], error[:, slot, None], out=weight)
                weight += self.l2 * own
                bias[...] = error[:, slot]
            factors = clip_factors(np.sqrt(_square(one)), clip) * np.sign(share[:, slot])
            total += one * factors[:, None]
        return total

    @cached_property
    def _places(self) -> list[tuple[slice, tuple[int, ...], slice]]:
        """Where each layer's weight (of that shape) and bias lie."""
        found, start = [], 0
        for weight, bias in zip(self.layout.tensors[::2], self.layout.tensors[1::2], strict=True):
            middle, end = start + weight.size, start + weight.size + bias.size
            found.append((slice(start, middle), weight.shape, slice(middle, end)))
            start = end
        return found

    def _layers(self, rows: Rows) -> Layers:
        """Views (clients, in, out) and (clients, out)."""
        return [
            (rows[:, weight].reshape(len(rows), *shape), rows[:, bias])
            for weight, shape, bias in self._places
        ]

    def _errors(self, layers: Layers, batch: Batch) -> tuple[list[Array], Vector, Array]:
        """Inputs of every layer, the clients' losses, and the last layer's error."""
        x, y, share = batch
        inputs = [x.reshape(*share.shape, -1)]
        for weight, bias in layers[:-1]:
            hidden = np.matmul(inputs[-1], weight)
            hidden += bias[:, None]
            inputs.append(np.maximum(hidden, 0.0, out=hidden))
        weight, bias = layers[-1]
        logits = np.matmul(inputs[-1], weight)
        logits += bias[:, None]
        each, error = self.loss.both(logits.reshape(-1, logits.shape[-1]), y.reshape(share.size))
        error = error.reshape(logits.shape)
        error *= share[..., None]
        return inputs, (each.reshape(share.shape) * share).sum(axis=1), error

    def _penalty(self, layers: Layers) -> Any:
        if not self.l2:
            return 0.0
        return 0.5 * self.l2 * sum((weight**2).sum(axis=(1, 2)) for weight, _ in layers)


def _back(layers: Layers, inputs: list[Array], i: int, error: Array) -> Array:
    """The error of the layer below `i`."""
    if not i:
        return error
    below = np.matmul(error, layers[i][0].swapaxes(1, 2))
    below *= inputs[i] > 0
    return below


def _square(array: Array) -> Array:
    return np.einsum("...i,...i->...", array, array)
