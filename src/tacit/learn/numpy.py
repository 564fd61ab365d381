"""Models in plain numpy: logistic (softmax) regression, ridge regression, and an MLP.

All three are one network with ReLU hidden layers, so one file of mathematics serves them. Users
reach it as `tacit.numpy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Literal, final

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.vector import Layout, Tensor, Vector
from tacit.learn.contract import DataContract, check_examples
from tacit.learn.examples import Examples
from tacit.learn.losses import LOSSES, Loss
from tacit.learn.numpy_stacked import StackedNetwork
from tacit.learn.represent import Pull
from tacit.learn.task import NO_CLASSES, Gradient, Tallies, clip_factors

Array = npt.NDArray[Any]


@final
@dataclass(frozen=True)
class NumpyTask:
    """Settings of a numpy model; `build` makes the `Task` once the data contract is known.

    `hidden`: widths of the ReLU layers; `l2`: penalty l2/2 * |weights|^2 per example, biases free.
    """

    kind: ClassVar[str] = "numpy"

    model: Literal["logistic_regression", "ridge_regression", "mlp"]
    hidden: tuple[int, ...] = ()
    l2: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.l2) and self.l2 >= 0):
            raise TacitError("task.setting", name="l2", value=self.l2, rule="zero or more")
        if any(width < 1 for width in self.hidden):
            raise TacitError("task.setting", name="hidden", value=self.hidden, rule="widths from 1")

    @property
    def code(self) -> str:
        """User code that a client would run: none."""
        return ""

    def build(self, contract: DataContract | None) -> Network:
        """The network for a contract's features and classes."""
        if contract is None:
            raise TacitError("task.no-shape")
        regression = self.model == "ridge_regression" or not contract.classes
        if regression:
            return Network(contract.shape, 0, self.hidden, self.l2, 1, "squared")
        if contract.classes == 2:
            return Network(contract.shape, 2, self.hidden, self.l2, 1, "sigmoid")
        return Network(
            contract.shape, contract.classes, self.hidden, self.l2, contract.classes, "softmax"
        )


def logistic_regression(l2: float = 0.0) -> NumpyTask:
    """Logistic regression: one logit for two classes, softmax for more."""
    return NumpyTask("logistic_regression", (), l2)


def ridge_regression(l2: float = 0.0) -> NumpyTask:
    """Linear regression with a squared loss 0.5 (prediction - label)^2 and an L2 penalty."""
    return NumpyTask("ridge_regression", (), l2)


def mlp(hidden: tuple[int, ...] = (32,), l2: float = 0.0) -> NumpyTask:
    """A multi-layer perceptron with ReLU layers; classes or regression by the contract."""
    return NumpyTask("mlp", tuple(hidden), l2)


@final
@dataclass(frozen=True)
class Network:
    """A fully connected network on flat float64 vectors; see `tacit.learn.task.Task`."""

    shape: tuple[int, ...]
    classes: int
    hidden: tuple[int, ...]
    l2: float
    outputs: int
    head: str

    @cached_property
    def layout(self) -> Layout:
        """weight0 (in, out), bias0 (out,), weight1, ..."""
        widths = (int(np.prod(self.shape)), *self.hidden, self.outputs)
        tensors: list[Tensor] = []
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            tensors += [Tensor(f"weight{i}", (inputs, outputs)), Tensor(f"bias{i}", (outputs,))]
        return Layout(tuple(tensors))

    @property
    def mixes(self) -> str | None:
        """No layer mixes examples."""
        return None

    def start(self, key: Key) -> Vector:
        """Zeros without hidden layers (the problem is convex), He initialisation with them."""
        vector = np.zeros(self.layout.size)
        if not self.hidden:
            return vector
        draw = (key / "weights").generator()
        for name, view in self.layout.unpack(vector).items():
            if name.startswith("weight"):
                view[...] = draw.normal(0.0, np.sqrt(2.0 / view.shape[0]), view.shape)
        return vector

    def check(self, examples: Examples) -> None:
        """Shapes, finiteness and labels."""
        check_examples("this client", examples, self.shape, self.classes)

    def grad(self, params: Vector, batch: Examples, key: Key) -> Gradient:
        """Backpropagation of the mean loss, penalty included."""
        layers = self._layers(params)
        inputs, logits = _forward(layers, self._flat(batch.x))
        losses, errors = self._loss.both(logits, batch.y)
        deltas = _backward(layers, inputs, errors / batch.count)
        return self._gradient(layers, inputs, deltas, float(losses.mean()))

    @property
    def representations(self) -> tuple[str, ...]:
        """What the last layer receives, if there are others."""
        return ("",) if self.hidden else ()

    def represent(self, params: Vector, x: Array, layer: str) -> Array:
        """What the last layer receives (n, hidden[-1]); see `tacit.learn.represent`."""
        if layer not in self.representations:
            known = "the last hidden one, without a name"
            raise TacitError("task.no-layer", layer=layer, known=known)
        return _forward(self._layers(params), self._flat(x))[0][-1]

    def pulled_grad(
        self, params: Vector, batch: Examples, layer: str, pull: Pull, key: Key
    ) -> Gradient:
        """As `grad`, with the mean of a loss on the last hidden layer."""
        layers = self._layers(params)
        inputs, logits = _forward(layers, self._flat(batch.x))
        losses, errors = self._loss.both(logits, batch.y)
        pulled, slopes = pull(inputs[-1])
        error = errors / batch.count
        below = (error @ layers[-1][0].T + slopes / batch.count) * (inputs[-1] > 0)
        deltas = [(len(self.hidden), error), *_backward(layers[:-1], inputs, below)]
        return self._gradient(layers, inputs, deltas, float((losses + pulled).mean()))

    def _gradient(
        self,
        layers: list[tuple[Array, Array]],
        inputs: list[Array],
        deltas: list[tuple[int, Array]],
        loss: float,
    ) -> Gradient:
        flat = np.empty(self.layout.size)
        views = self.layout.unpack(flat)
        for i, delta in deltas:
            np.matmul(inputs[i].T, delta, out=views[f"weight{i}"])
            views[f"weight{i}"] += self.l2 * layers[i][0]
            views[f"bias{i}"][...] = delta.sum(axis=0)
        return Gradient(flat, np.empty(0), loss + self._penalty(layers))

    def clipped_grad_sum(self, params: Vector, batch: Examples, clip: float, key: Key) -> Vector:
        """Exact per-example clipping without per-example gradients.

        For a linear layer the example's gradient is the outer product of its input and its error,
        so its norm follows from theirs (Goodfellow 2015, "Efficient per-example gradient
        computations"). With `l2 > 0` the penalty belongs to every example's loss, and gradients
        are materialised.
        """
        layers = self._layers(params)
        inputs, logits = _forward(layers, self._flat(batch.x))
        deltas = dict(_backward(layers, inputs, self._loss.both(logits, batch.y)[1]))
        if self.l2:
            return self._clipped_with_penalty(layers, inputs, deltas, clip)
        squares = sum(
            (delta**2).sum(axis=1) * ((inputs[i] ** 2).sum(axis=1) + 1.0)
            for i, delta in deltas.items()
        )
        factors = clip_factors(np.sqrt(squares), clip)[:, None]
        return self._pack(
            {i: (inputs[i].T @ (d * factors), (d * factors).sum(0)) for i, d in deltas.items()}
        )

    def evaluate(self, params: Vector, examples: Examples) -> Tallies:
        """Summed loss (without penalty) and right answers."""
        logits = self._logits(params, examples.x)
        losses, _ = self._loss.both(logits, examples.y)
        right = float((self._loss.decide(logits) == examples.y).sum())
        right = right if self.classes else NO_CLASSES
        return Tallies(float(examples.count), float(losses.sum()), right)

    def predict(self, params: Vector, x: Array) -> Array:
        """Classes (int) or values (float), one a row."""
        return self._loss.decide(self._logits(params, x))

    def stacked(self) -> StackedNetwork:
        """The same for many clients at once (see `tacit.learn.stacked`)."""
        return StackedNetwork(self.layout, self.l2, self._loss)

    def scores(self, params: Vector, x: Array) -> Array:
        """Probabilities of the classes (n, classes), or values (n,) for regression."""
        return self._loss.scores(self._logits(params, x))

    @property
    def _loss(self) -> Loss:
        return LOSSES[self.head]

    def _flat(self, x: Array) -> Array:
        return np.asarray(x, np.float64).reshape(len(x), -1)

    def _logits(self, params: Vector, x: Array) -> Array:
        return _forward(self._layers(params), self._flat(x))[1]

    def _layers(self, params: Vector) -> list[tuple[Array, Array]]:
        views = self.layout.unpack(params)
        return [(views[f"weight{i}"], views[f"bias{i}"]) for i in range(len(self.hidden) + 1)]

    def _penalty(self, layers: list[tuple[Array, Array]]) -> float:
        return 0.5 * self.l2 * float(sum((weight**2).sum() for weight, _ in layers))

    def _pack(self, parts: dict[int, tuple[Array, Array]]) -> Vector:
        flat = np.empty(self.layout.size)
        views = self.layout.unpack(flat)
        for i, (weight, bias) in parts.items():
            views[f"weight{i}"][...], views[f"bias{i}"][...] = weight, bias
        return flat

    def _clipped_with_penalty(
        self,
        layers: list[tuple[Array, Array]],
        inputs: list[Array],
        deltas: dict[int, Array],
        clip: float,
    ) -> Vector:
        total = np.zeros(self.layout.size)
        for row in range(len(inputs[0])):
            one = self._pack(
                {
                    i: (np.outer(inputs[i][row], d[row]) + self.l2 * layers[i][0], d[row])
                    for i, d in deltas.items()
                }
            )
            total += one * clip_factors(np.sqrt((one**2).sum(keepdims=True)), clip)
        return total


def _forward(layers: list[tuple[Array, Array]], x: Array) -> tuple[list[Array], Array]:
    """Inputs of every layer, and the last layer's output."""
    inputs = [x]
    for weight, bias in layers[:-1]:
        inputs.append(np.maximum(inputs[-1] @ weight + bias, 0.0))
    weight, bias = layers[-1]
    return inputs, inputs[-1] @ weight + bias


def _backward(
    layers: list[tuple[Array, Array]], inputs: list[Array], error: Array
) -> list[tuple[int, Array]]:
    """Error of every layer's output, last layer first."""
    deltas = []
    for i in reversed(range(len(layers))):
        deltas.append((i, error))
        if i:
            error = (error @ layers[i][0].T) * (inputs[i] > 0)
    return deltas
