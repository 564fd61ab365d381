"""Closing a round: add the answers, open the sum, apply the mean.

Addition is order-free: integers modulo a power of two, or floats added in cohort order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from tacit.base.key import Key
from tacit.base.vector import Kind, Layout, Vector
from tacit.learn.algorithm import Aggregate, State
from tacit.plan.build import BINS, Plan
from tacit.protect.stage import At


def add(answers: Iterable[Vector]) -> tuple[Vector, int]:
    """Sum of answers in the given order (float64 or int64), and how many there were."""
    total: Any = None
    count = 0
    for answer in answers:
        if total is None:
            wide = np.int64 if answer.dtype.kind == "i" else np.float64
            total = answer.astype(wide)
        else:
            total += answer
        count += 1
    return total, count


def open_sum(plan: Plan, total: Vector, answers: int, key: Key) -> Aggregate:
    """Undo the client half of the chain, innermost last; then the stages behind the sum."""
    none: npt.NDArray[np.int64] = np.empty(0, np.int64)
    for place in reversed(range(len(plan.client_steps))):
        stage, before, after = plan.client_steps[place]
        total = stage.down(total, At(before, after, (key / place,), none, answers))
    for place, (stage, before, after) in enumerate(plan.total_steps):
        name = f"total:{place}"
        total = stage.down(total, At(before, after, (key / name,), none, answers))
    spans = plan.message.spans
    model = [total[spans[b.name]] for b in plan.message.of(Kind.TRAINED, Kind.BUFFER)]
    beside = plan.message.of(Kind.TALLY, Kind.AVERAGE)
    tallies = {b.name.removeprefix("algorithm:"): total[spans[b.name]] for b in beside}
    if plan.form.noise:
        # How many answered would be an un-noised count in the public model.
        answers = plan.team.cohort
    return Aggregate(np.concatenate(model), tallies, answers, plan.team.clients)


def apply(plan: Plan, state: State, found: Aggregate, layout: Layout | None = None) -> State:
    """The algorithm's step; parameters keep their type. `layout`: of a piece of the model."""
    dtype = state["params"].dtype
    after = plan.algorithm.apply(state, found, layout or plan.layout)
    return {**after, "params": after["params"].astype(dtype, copy=False)}


def reported(opening: Aggregate) -> dict[str, float]:
    """What the tallies say about clients: mean loss, worst accuracy, spread; noised if the plan is.

    From a histogram with noise the worst client is the lowest bin that holds at least half a
    client; resolution is one bin.
    """
    found: dict[str, float] = {}
    if "loss" in opening.tallies:
        found["reported_loss"] = float(opening.tallies["loss"][0]) / opening.answers
    if "accuracy" in opening.tallies:
        counts = np.maximum(opening.tallies["accuracy"], 0.0)
        centres = (np.arange(BINS) + 0.5) / BINS
        shares = counts / max(counts.sum(), 1e-9)
        mean = float(shares @ centres)
        held = np.flatnonzero(counts >= 0.5)
        found["reported_accuracy"] = mean
        found["reported_worst"] = float(centres[held[0]]) if held.size else float("nan")
        found["reported_spread"] = float(np.sqrt(shares @ (centres - mean) ** 2))
    return found
