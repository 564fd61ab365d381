"""A trained model: a task and its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from tacit.base.vector import Vector
from tacit.learn.examples import Examples
from tacit.learn.task import Tallies, Task


@final
@dataclass(frozen=True, eq=False)
class Model:
    """What a run leaves; `params` is the flat vector of `task.layout`."""

    task: Task
    params: Vector

    def predict(self, x: npt.ArrayLike) -> npt.NDArray[Any]:
        """Predicted class (or value) of each row of `x`."""
        return self.task.predict(self.params, np.asarray(x))

    def evaluate(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Tallies:
        """Exact summed loss and right answers; `.accuracy` and `.mean_loss` divide them."""
        return self.task.evaluate(self.params, Examples(np.asarray(x), np.asarray(y)))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The parameters by name."""
        return self.task.layout.unpack(self.params)
