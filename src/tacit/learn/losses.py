"""Losses on logits (n, outputs): per-example value, derivative, decision and scores."""

from __future__ import annotations

from typing import Any, Protocol, final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Loss(Protocol):
    """Values (n,) and derivatives (n, outputs) of a loss at its logits."""

    def both(self, logits: Array, labels: Array) -> tuple[Array, Array]:
        """Loss of each example, and its derivative by each logit."""
        ...

    def decide(self, logits: Array) -> Array:
        """The predicted class or value of each example."""
        ...

    def scores(self, logits: Array) -> Array:
        """Class probabilities, or values."""
        ...


@final
class Sigmoid:
    """Binary cross-entropy on one logit."""

    def both(self, logits: Array, labels: Array) -> tuple[Array, Array]:
        """log(1 + e^z) - y z, and sigmoid(z) - y."""
        z, y = logits[:, 0], labels.astype(np.float64)
        return np.logaddexp(0.0, z) - y * z, (_expit(z) - y)[:, None]

    def decide(self, logits: Array) -> Array:
        """Class 1 where the logit is positive."""
        return (logits[:, 0] > 0).astype(np.int64)

    def scores(self, logits: Array) -> Array:
        """Probabilities of both classes."""
        one = _expit(logits[:, 0])
        return np.stack([1 - one, one], axis=1)


@final
class Softmax:
    """Cross-entropy on one logit a class."""

    def both(self, logits: Array, labels: Array) -> tuple[Array, Array]:
        """-log p[label], and p - onehot(label)."""
        rows, chosen = np.arange(len(logits)), labels.astype(np.int64)
        # Along the rows of the transpose: numpy is ten times slower along short ones.
        shifted = logits - np.ascontiguousarray(logits.T).max(axis=0)[:, None]
        at_label = shifted[rows, chosen]
        errors = np.exp(shifted, out=shifted)
        total = errors @ np.ones(errors.shape[1])
        errors /= total[:, None]
        errors[rows, chosen] -= 1.0
        return np.log(total) - at_label, errors

    def decide(self, logits: Array) -> Array:
        """The class with the largest logit."""
        return np.asarray(logits.argmax(axis=1))

    def scores(self, logits: Array) -> Array:
        """Probabilities of the classes."""
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


@final
class Squared:
    """Half the squared error of one output."""

    def both(self, logits: Array, labels: Array) -> tuple[Array, Array]:
        """0.5 (z - y)^2, and z - y."""
        error = logits - labels.astype(np.float64).reshape(len(logits), -1)
        return 0.5 * (error**2).sum(axis=1), error

    def decide(self, logits: Array) -> Array:
        """The value itself."""
        return logits[:, 0]

    def scores(self, logits: Array) -> Array:
        """The value itself."""
        return logits[:, 0]


def _expit(z: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * z))


LOSSES: dict[str, Loss] = {"sigmoid": Sigmoid(), "softmax": Softmax(), "squared": Squared()}
