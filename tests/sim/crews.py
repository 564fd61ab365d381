"""Clients for tests of engines with several processes, which must be able to import them."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import tacit
from tacit.learn.examples import Examples

COUNT = 7


def data(count: int = COUNT) -> dict[str, tuple[Any, Any]]:
    draw = np.random.default_rng(3)
    return {
        f"site-{i}": (draw.normal(size=(5 + 4 * i, 4)), draw.integers(0, 2, 5 + 4 * i))
        for i in range(count)
    }


def federation(**changes: Any) -> tacit.Federation:
    base = tacit.Federation(
        task=tacit.numpy.logistic_regression(),
        clients=COUNT,
        data=tacit.arrays(shape=(4,), classes=2),
        algorithm=tacit.fedavg(lr=0.1, batch=4),
        rounds=3,
    )
    return base.replace(**changes)


@dataclass
class Troubled:
    """Clients by index, one of which raises, or ends its process until `deaths` files are there."""

    folder: Path
    raising: int = -1
    deadly: int = -1
    deaths: int = 0
    home: int = field(default_factory=os.getpid)

    def __len__(self) -> int:
        return COUNT

    def name(self, index: int) -> str:
        return f"site-{index}"

    def examples(self, index: int) -> Examples:
        if index == self.raising:
            raise KeyError(f"record 17 of {self.name(index)} is broken")
        died = len(list(self.folder.iterdir())) if self.deaths else 0
        if index == self.deadly and os.getpid() != self.home and died < self.deaths:
            (self.folder / f"died-{died}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Examples(*data()[self.name(index)])


class Unpicklable(Troubled):
    """Holds what only this process has."""

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle an open file")
