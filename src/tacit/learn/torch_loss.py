"""Losses on a torch model's output: the mean to differentiate, sums to report, decisions.

Imported only where torch is there (see `tacit.learn.torch`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, final

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.base.extras import optional
from tacit.learn.code import user_code
from tacit.learn.task import NO_CLASSES, Tallies
from tacit.learn.torch_flat import tensor_of

if TYPE_CHECKING:
    import torch
    from torch.nn import functional
else:
    torch = optional("torch", "tacit.torch")
    functional = optional("torch.nn.functional", "tacit.torch")

Array = npt.NDArray[Any]

_IGNORE_NONE = -(2**63)
"""torch ignores the label -100 unless told otherwise; a wrong label is an error here."""


class Loss(Protocol):
    """What a task needs of its loss."""

    def target(self, y: Array) -> torch.Tensor:
        """Labels as the loss wants them."""
        ...

    def mean(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The mean loss, a scalar; refuses an output that does not fit the labels."""
        ...

    def tallies(self, output: torch.Tensor, target: torch.Tensor) -> Tallies:
        """Sums over predictions: a sequence counts as many as it has labels."""
        ...

    def decide(self, output: torch.Tensor) -> torch.Tensor:
        """Predicted classes (int64) or values."""
        ...


def loss_named(name: str, custom: Callable[..., Any] | None, classes: int) -> Loss:
    """The loss of a description, for a contract's number of classes."""
    if custom is not None:
        return Custom(name, custom, classes)
    if name == "mse":
        return SquaredError()
    if name == "bce":
        return BinaryCrossEntropy()
    if classes < 2:
        raise TacitError("task.classes", what="The loss cross_entropy", classes=classes)
    return CrossEntropy(classes)


@final
@dataclass(frozen=True)
class CrossEntropy:
    """Softmax cross-entropy over `classes`; the class axis is the last one, or torch's axis 1."""

    classes: int

    def target(self, y: Array) -> torch.Tensor:
        """int64."""
        return tensor_of(y, np.int64)

    def mean(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean over all predictions."""
        return self._of(output, target, "mean")

    def tallies(self, output: torch.Tensor, target: torch.Tensor) -> Tallies:
        """Right where the largest logit is the label's."""
        total = self._of(output, target, "sum")
        right = (self.decide(output) == target).sum()
        return Tallies(float(target.numel()), float(total), float(right))

    def decide(self, output: torch.Tensor) -> torch.Tensor:
        """The class with the largest logit."""
        return self._logits(output).argmax(1)

    def _of(self, output: torch.Tensor, target: torch.Tensor, reduction: str) -> torch.Tensor:
        logits = self._logits(output)
        expected = (*target.shape[:1], self.classes, *target.shape[1:])
        if logits.shape != expected:
            raise unfit(output, f"{expected} or the {self.classes} classes last")
        try:
            return functional.cross_entropy(
                logits, target, ignore_index=_IGNORE_NONE, reduction=reduction
            )
        except IndexError as outside:
            last = self.classes - 1
            raise TacitError("task.label-range", classes=self.classes, last=last) from outside

    def _logits(self, output: torch.Tensor) -> torch.Tensor:
        """Classes as axis 1, where torch has them."""
        last = output.ndim > 2 and output.shape[-1] == self.classes
        return output.movedim(-1, 1) if last else output


@final
@dataclass(frozen=True)
class SquaredError:
    """Mean of (output - target)^2 over all values, as torch's `mse_loss`."""

    def target(self, y: Array) -> torch.Tensor:
        """Floating point."""
        return floats(y)

    def mean(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean over all values."""
        return functional.mse_loss(output, like(target, output))

    def tallies(self, output: torch.Tensor, target: torch.Tensor) -> Tallies:
        """Nothing is right or wrong in a regression."""
        total = functional.mse_loss(output, like(target, output), reduction="sum")
        return Tallies(float(target.numel()), float(total), NO_CLASSES)

    def decide(self, output: torch.Tensor) -> torch.Tensor:
        """The values; (n, 1) becomes (n,)."""
        return squeeze(output)


@final
@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Binary cross-entropy on logits, for labels 0 and 1; several labels an example may be."""

    def target(self, y: Array) -> torch.Tensor:
        """Floating point."""
        return floats(y)

    def mean(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean over all labels."""
        return functional.binary_cross_entropy_with_logits(output, like(target, output))

    def tallies(self, output: torch.Tensor, target: torch.Tensor) -> Tallies:
        """Right where the logit's sign says the label."""
        labels = like(target, output)
        total = functional.binary_cross_entropy_with_logits(output, labels, reduction="sum")
        right = ((output > 0) == (labels > 0.5)).sum()
        return Tallies(float(target.numel()), float(total), float(right))

    def decide(self, output: torch.Tensor) -> torch.Tensor:
        """1 where the logit is positive."""
        return squeeze(output > 0).long()


@final
@dataclass(frozen=True)
class Custom:
    """A user's (output, target) -> mean loss; with classes, the largest output is the decision."""

    name: str
    function: Callable[..., Any]
    classes: int

    def target(self, y: Array) -> torch.Tensor:
        """int64 or floating point, as the labels are."""
        return floats(y) if y.dtype.kind == "f" else tensor_of(y, np.int64)

    def mean(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """What the user's function returns."""
        labels = target.to(output.dtype) if target.is_floating_point() else target
        with user_code(self.name, "called"):
            found: Any = self.function(output, labels)
        if not isinstance(found, torch.Tensor) or found.ndim:
            raise TacitError("task.torch-loss", loss=self.name)
        mean: torch.Tensor = found
        return mean

    def tallies(self, output: torch.Tensor, target: torch.Tensor) -> Tallies:
        """The mean loss times the number of labels."""
        count = float(target.numel())
        decided = self.decide(output)
        comparable = self.classes and decided.shape == target.shape
        right = (decided == target).sum() if comparable else NO_CLASSES
        return Tallies(count, float(self.mean(output, target)) * count, float(right))

    def decide(self, output: torch.Tensor) -> torch.Tensor:
        """The largest output, or the values when there are no classes."""
        return output.argmax(-1) if self.classes else squeeze(output)


def floats(y: Array) -> torch.Tensor:
    """float64 labels become float32, unless the output asks for more (see `like`)."""
    return tensor_of(y, np.float64)


def like(target: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """Labels in the output's dtype and shape; (n,) fits (n, 1), nothing else is broadcast."""
    if tuple(output.shape) not in {tuple(target.shape), (*target.shape, 1)}:
        raise unfit(output, f"{tuple(target.shape)}, like the labels")
    return target.to(output.dtype).view(output.shape)


def squeeze(output: torch.Tensor) -> torch.Tensor:
    """(n, 1) as (n,)."""
    return output[:, 0] if output.ndim == 2 and output.shape[1] == 1 else output


def unfit(output: torch.Tensor, expected: str) -> TacitError:
    """The error for an output whose shape is not the labels'."""
    return TacitError("task.torch-output", found=tuple(output.shape), expected=expected)
