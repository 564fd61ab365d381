"""Closing a round piece by piece, so that memory does not grow with the model.

Where every stage behind the clients works on each coordinate by itself, a range of the model
follows from the same range of the answers and of the state, together with the tallies, which are
few. The numbers are those of `tacit.round.close`, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from tacit.base.key import Key
from tacit.base.vector import Kind, Layout, Tensor, Vector
from tacit.learn.algorithm import Aggregate, State
from tacit.plan.build import Plan, Step
from tacit.protect.form import Form
from tacit.round.close import add, apply, open_sum

MODEL = ("update", "buffers")
"""Blocks of a message that are as long as the model's parts; all others are tallies."""

WIDTH = 1 << 20
"""Coordinates of a piece."""


class Source(Protocol):
    """A vector that is read in pieces, such as a stored answer."""

    @property
    def size(self) -> int:
        """Its length."""
        ...

    def read(self, start: int, stop: int) -> Vector:
        """Coordinates from `start` up to `stop`."""
        ...


class Piece(NamedTuple):
    """Coordinates `start` to `stop` of the model after a round.

    Arrays of `state` are as long as the piece, or, where they hold trained coordinates alone, as
    the trained part of it; numbers stand for the whole state. `found` is what the algorithm was
    given, its mean for this piece alone.
    """

    start: int
    stop: int
    state: State
    found: Aggregate


def rangeable(plan: Plan) -> bool:
    """Whether a plan's rounds can be closed in pieces: one model, and no noise of one draw."""
    central = plan.form.noise is not None and plan.form.noise.where == "central"
    return plan.algorithm.width == 1 and not plan.layout.answer and not central


def close_by_range(
    plan: Plan, answers: Sequence[Source], state: Mapping[str, Any], key: Key, width: int = WIDTH
) -> Iterator[Piece]:
    """The pieces of the next state, in order. `state` holds numbers and `Source`s by name."""
    tallies, _ = add(_tail(plan, answer) for answer in answers)
    layout = plan.layout
    for start, stop in _ranges(layout, width):
        cut = _narrowed(plan, start, stop)
        model, _ = add(answer.read(start, stop) for answer in answers)
        found = open_sum(cut, np.concatenate([model, tallies]), len(answers), key)
        held = {name: _part(value, start, stop, layout) for name, value in state.items()}
        after = apply(plan, held, found, _sub_layout(layout, start, stop))
        yield Piece(start, stop, after, found)


def _ranges(layout: Layout, width: int) -> Iterator[tuple[int, int]]:
    """Pieces that hold trained coordinates or buffers, never both."""
    for first, last in ((0, layout.trained), (layout.trained, layout.size)):
        for start in range(first, last, width):
            yield start, min(start + width, last)


def _tail(plan: Plan, answer: Source) -> Vector:
    """An answer's tallies, which lie behind its part of the model."""
    return answer.read(plan.layout.size, plan.message.size)


def _narrowed(plan: Plan, start: int, stop: int) -> Plan:
    """The plan as if the model were this piece of it."""
    sizes = _sizes(plan.layout, start, stop)

    def cut(form: Form) -> Form:
        blocks = [
            replace(block, size=sizes[block.name], layers=()) if block.name in MODEL else block
            for block in form.blocks
        ]
        return replace(form, blocks=tuple(blocks))

    steps = tuple(Step(stage, cut(before), cut(after)) for stage, before, after in plan.steps)
    return replace(plan, steps=steps)


def _sizes(layout: Layout, start: int, stop: int) -> dict[str, int]:
    trained = max(0, min(stop, layout.trained) - start)
    return {"update": trained, "buffers": stop - start - trained}


def _sub_layout(layout: Layout, start: int, stop: int) -> Layout:
    sizes = _sizes(layout, start, stop)
    trained = Tensor("trained", (sizes["update"],))
    buffers = Tensor("buffers", (sizes["buffers"],), Kind.BUFFER)
    return Layout((trained, buffers), layout.dtype)


def _part(value: Any, start: int, stop: int, layout: Layout) -> Any:
    """A number, or the piece of a vector; trained coordinates alone have no part in buffers."""
    if not hasattr(value, "read"):
        return value
    return value.read(min(start, value.size), min(stop, value.size))
