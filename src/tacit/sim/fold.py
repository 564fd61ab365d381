"""Answers of many clients: by blocks, and summed at once where the chain only scales and adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np
import numpy.typing as npt

from tacit.base.vector import Rows, Vector
from tacit.learn.algorithm import Contribution
from tacit.learn.task import Tallies
from tacit.plan.build import Plan
from tacit.protect.form import Form
from tacit.protect.stage import At, Stage
from tacit.protect.sum import PlainSum
from tacit.protect.weigh import Weigh
from tacit.round.turn import Memories, pack

Counts = npt.NDArray[np.int64]
Parts = Mapping[str, Rows]
"""The blocks of answers by name, one row a client."""

LONG = 2_000
"""Coordinates from which rows are added one by one, each as a whole."""

PIECE = 32_768
"""Coordinates of all rows that are added before the next ones."""

VISITED = ("algorithm", "personal")
"""Memories that visits keep, without a clients axis; those of stages have one (1, dim)."""


@final
@dataclass(frozen=True)
class Fold:
    """How answers add up.

    `linear`: the chain's client half is a factor for each block of an answer, so the sum is one
    contraction of what left the algorithm.
    """

    plan: Plan
    linear: bool

    @staticmethod
    def of(plan: Plan) -> Fold:
        """The fold of a plan's chain."""
        stages = [step.stage for step in plan.client_steps]
        return Fold(plan, all(isinstance(stage, Weigh | PlainSum) for stage in stages))

    def total(self, answers: Parts, counts: Counts) -> Vector:
        """Sum of answers by blocks, as `parts` gives them, where the chain is linear; float64."""
        factors, total = self._factors(counts), np.empty(self.plan.message.size)
        for place, (name, span) in enumerate(self.plan.message.spans.items()):
            one = answers[name]
            total[span] = _weighted(factors[:, place].astype(one.dtype), one)
        return total

    def _factors(self, counts: Counts) -> Rows:
        """What the chain multiplies each block of each row by: one coordinate of each, sent up."""
        rows: Rows = np.ones((len(counts), len(self.plan.message.blocks)))
        for stage, small, after in self._small:
            rows, _ = stage.up(rows, None, At(small, after, (), counts))
        return rows

    @cached_property
    def _small(self) -> list[tuple[Stage, Form, Form]]:
        """The client half of the chain, as if every block had one coordinate."""
        return [
            (stage, replace(before, blocks=tuple(replace(b, size=1) for b in before.blocks)), after)
            for stage, before, after in self.plan.client_steps
        ]


def _weighted(factors: Vector, rows: Rows) -> Vector:
    """factors @ rows, without the threads that a product of matrices would start."""
    total = np.empty(rows.shape[1], rows.dtype)
    for first in range(0, rows.shape[1], PIECE):
        piece = slice(first, first + PIECE)
        _add_up(factors, rows[:, piece], total[piece])
    return total


def _add_up(factors: Vector, rows: Rows, total: Vector) -> None:
    """The same, short enough to stay in a core's cache."""
    if rows.shape[1] < LONG:
        np.einsum("i,ij->j", factors, rows, out=total)
        return
    np.multiply(rows[0], factors[0], out=total)
    scaled = np.empty_like(total)
    for row, factor in zip(rows[1:], factors[1:], strict=True):
        total += np.multiply(row, factor, out=scaled)


def parts(plan: Plan, found: Contribution, reports: Sequence[Tallies] | None) -> Parts:
    """A message's blocks (clients, size), from a contribution with a leading clients axis."""
    clients = len(found.update)
    weights = np.broadcast_to(found.weight, clients)
    if reports is not None:
        rows = np.empty((clients, plan.message.size), found.update.dtype)
        for i, report in enumerate(reports):
            extra = {name: value[i] for name, value in found.extra.items()}
            rows[i] = pack(plan, Contribution(found.update[i], weights[i], 0.0, extra), report)
        return cut(plan, rows)
    trained = plan.algorithm.width * plan.layout.trained
    blocks = {"update": found.update[:, :trained], "buffers": found.update[:, trained:]}
    blocks["weight"] = weights[:, None]
    blocks |= {f"algorithm:{name}": value for name, value in found.extra.items()}
    return {name: blocks[name] for name in plan.message.spans}


def cut(plan: Plan, rows: Rows) -> Parts:
    """The blocks of packed rows."""
    return {name: rows[:, span] for name, span in plan.message.spans.items()}


def packed(plan: Plan, answers: Parts, room: Rows) -> Rows:
    """Blocks side by side, as `tacit.round.turn.pack` has them, in `room`."""
    for name, span in plan.message.spans.items():
        room[:, span] = answers[name]
    return room


def marks(answers: Parts) -> Vector:
    """A number for each client that is finite only if all of its answer is (clients,)."""
    found: Vector = np.sum([np.sum(one, axis=1) for one in answers.values()], axis=0)
    return found


def form_of(tree: Any) -> Any:
    """What memories must share to be stacked: names, shapes and types."""
    if isinstance(tree, dict):
        return tuple((name, form_of(held)) for name, held in tree.items())
    if isinstance(tree, list | tuple):
        return (type(tree).__name__, *map(form_of, tree))
    return (tree.shape, tree.dtype.str) if isinstance(tree, np.ndarray) else type(tree).__name__


def stacked_memories(each: Sequence[Memories]) -> Memories:
    """Memories of one form with a leading clients axis; what stages keep has one already."""
    return {
        name: _stack([one[name] for one in each])
        if name in VISITED
        else np.concatenate([one[name] for one in each])
        for name in each[0]
    }


def memory_at(stacked: Memories, place: int) -> Memories:
    """One client's memory, in arrays of its own."""
    return {
        name: _row(tree, place) if name in VISITED else tree[place : place + 1].copy()
        for name, tree in stacked.items()
    }


def _stack(trees: Sequence[Any]) -> Any:
    first = trees[0]
    if isinstance(first, dict):
        return {name: _stack([tree[name] for tree in trees]) for name in first}
    if isinstance(first, list | tuple):
        return type(first)(_stack(list(held)) for held in zip(*trees, strict=True))
    return None if first is None else np.stack(trees)


def _row(tree: Any, place: int) -> Any:
    if isinstance(tree, dict):
        return {name: _row(held, place) for name, held in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_row(held, place) for held in tree)
    return None if tree is None else tree[place].copy()
