"""What tests of torch tasks share: some examples, a built task, and the refusal of a call."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tacit.base.errors import TacitError
from tacit.learn.contract import Arrays
from tacit.learn.torch import task
from tacit.learn.torch_model import TorchModel
from tests.learn.torch_modules import Linear

Array = npt.NDArray[Any]


def some_x(rows: int = 8, *shape: int) -> Array:
    return np.random.default_rng(0).normal(size=(rows, *(shape or (5,))))


def some_y(rows: int = 8, classes: int = 3) -> Array:
    return np.random.default_rng(1).integers(0, classes, rows)


def build(
    model: Any = Linear,
    loss: Any = "cross_entropy",
    classes: int = 3,
    shape: tuple[int, ...] = (5,),
    **options: Any,
) -> TorchModel:
    return task(model, loss, **options).build(Arrays(shape, classes))


def refusal(code: str, action: Any) -> TacitError:
    with pytest.raises(TacitError) as refused:
        action()
    assert refused.value.code == code, refused.value
    return refused.value
