"""What a federation may assume of every client's data, agreed before any data is touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, final

import numpy as np

from tacit.base.errors import TacitError
from tacit.learn.examples import Examples


class DataContract(Protocol):
    """The shape of one example and the labels it may carry. `Schema` and `Arrays` are contracts."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example's features as the task receives them."""
        ...

    @property
    def classes(self) -> int:
        """Number of classes; 0 for regression."""
        ...

    def check(self, client: str, examples: Examples) -> None:
        """Raise a `TacitError` that names the client when its examples break the contract."""
        ...


@final
@dataclass(frozen=True)
class Arrays:
    """The contract for data that already is numbers: images, token ids, feature vectors.

    `low`..`high` is the public range of every feature (both None: not promised).
    """

    kind: ClassVar[str] = "arrays"

    shape: tuple[int, ...]
    classes: int = 0
    low: float | None = None
    high: float | None = None

    def check(self, client: str, examples: Examples) -> None:
        """Shape, finiteness, range, and labels of one client's examples."""
        check_examples(client, examples, self.shape, self.classes)
        if self.low is not None and self.high is not None and examples.count:
            self._check_range(client, examples)

    def _check_range(self, client: str, examples: Examples) -> None:
        outside = int(((examples.x < self.low) | (examples.x > self.high)).sum())
        if outside:
            raise TacitError(
                "data.range", client=client, low=self.low, high=self.high, outside=outside
            )


def check_examples(client: str, examples: Examples, shape: tuple[int, ...], classes: int) -> None:
    """What every contract checks: not empty, the right shape, finite, labels in range."""
    x, y = examples
    if not examples.count:
        raise TacitError("data.empty", client=client)
    if x.shape[1:] != shape:
        raise TacitError("data.shape", client=client, found=x.shape[1:], expected=shape)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        row = int(np.argwhere(~np.isfinite(x.reshape(len(x), -1)))[0][0])
        raise TacitError("data.not-finite", client=client, row=row)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        row = int(np.argwhere(~np.isfinite(y.reshape(len(y), -1)))[0][0])
        raise TacitError("data.label-not-finite", client=client, row=row)
    if classes and not _labels_fit(y, classes):
        raise TacitError("data.label-range", client=client, classes=classes, last=classes - 1)


def _labels_fit(y: np.ndarray[tuple[int, ...], np.dtype[np.generic]], classes: int) -> bool:
    whole = bool((np.mod(y, 1) == 0).all()) if y.dtype.kind == "f" else True
    return whole and int(y.min()) >= 0 and int(y.max()) < classes
