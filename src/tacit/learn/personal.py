"""What stays at home: a model's layout in two parts, of which only the shared one ever travels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.base.nearest import did_you_mean
from tacit.base.vector import Layout, Vector
from tacit.learn.task import Task

NORMS = "@norm"
"""Stands for the parameters and buffers of the model's batch-normalisation layers."""


@runtime_checkable
class Normalised(Protocol):
    """A task that knows which of its tensors belong to batch normalisation."""

    @property
    def norms(self) -> tuple[str, ...]:
        """Names of these tensors, as in the task's layout."""
        ...


@final
@dataclass(frozen=True)
class Split:
    """A model's layout (`whole`), what of it travels (`shared`) and what stays (`home`).

    Vectors may carry leading axes. Where nothing stays, both ways return the vector they got.
    """

    whole: Layout
    shared: Layout
    home: Layout

    @cached_property
    def stays(self) -> npt.NDArray[np.bool_]:
        """Which coordinates of the whole stay at home (whole.size,)."""
        kept = {tensor.name for tensor in self.home.tensors}
        marks = [np.full(tensor.size, tensor.name in kept) for tensor in self.whole.tensors]
        return np.concatenate(marks)

    def join(self, shared: Vector, home: Vector) -> Vector:
        """The whole model (..., whole.size) from its parts."""
        if not self.home.size:
            return shared
        leading = np.broadcast_shapes(shared.shape[:-1], home.shape[:-1])
        whole = np.empty((*leading, self.whole.size), shared.dtype)
        whole[..., ~self.stays], whole[..., self.stays] = shared, home
        return whole

    def parts(self, whole: Vector) -> tuple[Vector, Vector]:
        """What travels (..., shared.size) and what stays (..., home.size)."""
        if not self.home.size:
            return whole, whole[..., :0]
        return whole[..., ~self.stays], whole[..., self.stays]

    def advanced(self, before: Vector, update: Vector) -> Vector:
        """What stays at home after a visit: moved by the update, buffers replaced by theirs.

        `before` and `update` are of the whole model; see `Contribution`.
        """
        stays, trained = self.stays, self.home.trained
        after = update[..., stays]
        after[..., :trained] += before[..., stays][..., :trained]
        return after


def split(task: Task, patterns: Iterable[str]) -> Split:
    """Divide a task's layout by tensor names: `head.*`, `bias?`, or `@norm` (see `NORMS`).

    Raises `task.personal-nothing` for a pattern that matches no tensor, `task.personal-no-norm`
    where there is no batch normalisation, `task.personal-all` where nothing is left to share.
    """
    layout = task.layout
    kept = {name for pattern in patterns for name in _matching(task, pattern)}
    shared = _only(layout, [t.name not in kept for t in layout.tensors])
    if not shared.trained:
        raise TacitError("task.personal-all")
    home = _only(layout, [t.name in kept for t in layout.tensors])
    return Split(layout, shared if kept else layout, home)


def check_patterns(patterns: tuple[str, ...]) -> None:
    """Refuse a personalised algorithm that names nothing."""
    if not patterns or not all(patterns):
        rule = 'at least one pattern of tensor names, such as "head.*"'
        raise TacitError("task.setting", name="personal", value=patterns, rule=rule)


def _matching(task: Task, pattern: str) -> tuple[str, ...]:
    if pattern == NORMS:
        norms = task.norms if isinstance(task, Normalised) else ()
        if not norms:
            raise TacitError("task.personal-no-norm")
        return norms
    names = [tensor.name for tensor in task.layout.tensors]
    found = tuple(name for name in names if fnmatchcase(name, pattern))
    if not found:
        hint = did_you_mean(pattern, [*names, *_prefixes(names)])
        known = ", ".join(names[:20])
        raise TacitError("task.personal-nothing", pattern=pattern, hint=hint, known=known)
    return found


def _prefixes(names: list[str]) -> Iterable[str]:
    """Patterns for whole layers: `head.*` for `head.weight`."""
    return dict.fromkeys(f"{name.rpartition('.')[0]}.*" for name in names if "." in name)


def _only(layout: Layout, keep: list[bool]) -> Layout:
    chosen: Any = [tensor for tensor, one in zip(layout.tensors, keep, strict=True) if one]
    return Layout(tuple(chosen), layout.dtype)
