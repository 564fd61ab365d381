"""A task's outline: what a coordinator needs of it, without the code behind it.

A coordinator never loads user code. It adds answers and applies the algorithm, for which the layout
is enough; whoever submits such a run sends the layout and uploads the model's start. Clients build
the plan from the code itself and answer nothing that does not fit it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.plain import from_plain, to_plain
from tacit.base.vector import Layout, Vector
from tacit.learn.contract import DataContract
from tacit.learn.examples import Examples
from tacit.learn.personal import Normalised
from tacit.learn.represent import Pull, Represents
from tacit.learn.task import Gradient, Tallies, Task
from tacit.plan.build import Plan

_DTYPES = ("float32", "float64")


@final
@dataclass(frozen=True)
class Outline:
    """The whole layout of a model; see `Task.mixes`, `Normalised` and `Represents`."""

    layout: Layout
    mixes: str = ""
    norms: tuple[str, ...] = ()
    representations: tuple[str, ...] = ()


def outline_of(plan: Plan) -> dict[str, Any] | None:
    """What a submission of this plan carries; None where the task is tacit's own."""
    if not plan.federation.task.code:
        return None
    task: Task = plan.task
    outline = Outline(
        task.layout,
        task.mixes or "",
        task.norms if isinstance(task, Normalised) else (),
        tuple(task.representations) if isinstance(task, Represents) else (),
    )
    found: dict[str, Any] = to_plain(outline)
    return found


def outlined(plain: Any) -> OutlinedSpec:
    """A stand-in for the task of a description; raises `deploy.outline` for nonsense."""
    try:
        outline = from_plain(Outline, plain, ("outline",))
    except ValueError as wrong:
        raise TacitError("deploy.outline", problem=str(wrong)) from wrong
    if outline.layout.dtype not in _DTYPES:
        raise TacitError("deploy.outline", problem=f"numbers are none of {', '.join(_DTYPES)}")
    if any(size < 0 for tensor in outline.layout.tensors for size in tensor.shape):
        raise TacitError("deploy.outline", problem="a tensor has a negative size")
    return OutlinedSpec(outline)


@final
@dataclass(frozen=True)
class OutlinedSpec:
    """Builds the stand-in; has no code to run."""

    kind: ClassVar[str] = "outlined"

    outline: Outline

    @property
    def code(self) -> str:
        """None: that is the point."""
        return ""

    def build(self, contract: DataContract | None) -> Task:
        """The stand-in."""
        return Outlined(self.outline)


@final
@dataclass(frozen=True)
class Outlined:
    """A `Task` that knows its layout and can compute nothing."""

    outline: Outline

    @property
    def layout(self) -> Layout:
        """How the model lies in its vector."""
        return self.outline.layout

    @property
    def mixes(self) -> str | None:
        """A layer that mixes the examples of a batch."""
        return self.outline.mixes or None

    @property
    def norms(self) -> tuple[str, ...]:
        """Tensors of batch normalisation."""
        return self.outline.norms

    @property
    def representations(self) -> tuple[str, ...]:
        """Names of layers that can be looked at."""
        return self.outline.representations

    def start(self, key: Key) -> Vector:
        """Nothing is known of it; uploaded starts take its place."""
        return np.zeros(self.layout.size, self.layout.dtype)

    def check(self, examples: Examples) -> None:
        """Never asked: no data is here."""
        raise TacitError("deploy.outlined")

    def grad(self, params: Vector, batch: Examples, key: Key) -> Gradient:
        """Never asked."""
        raise TacitError("deploy.outlined")

    def clipped_grad_sum(self, params: Vector, batch: Examples, clip: float, key: Key) -> Vector:
        """Never asked."""
        raise TacitError("deploy.outlined")

    def evaluate(self, params: Vector, examples: Examples) -> Tallies:
        """Never asked."""
        raise TacitError("deploy.outlined")

    def predict(self, params: Vector, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Never asked."""
        raise TacitError("deploy.outlined")

    def represent(self, params: Vector, x: npt.NDArray[Any], layer: str) -> npt.NDArray[Any]:
        """Never asked."""
        raise TacitError("deploy.outlined")

    def pulled_grad(
        self, params: Vector, batch: Examples, layer: str, pull: Pull, key: Key
    ) -> Gradient:
        """Never asked."""
        raise TacitError("deploy.outlined")
