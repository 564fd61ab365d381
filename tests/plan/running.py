"""Run a chain's two halves on given rows, through the very functions that a round uses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tacit.base.key import Key
from tacit.base.vector import Kind, Rows
from tacit.learn.algorithm import Aggregate
from tacit.plan.build import Plan, Step
from tacit.protect.form import Form, Team
from tacit.protect.stage import At
from tacit.protect.topk import TopK
from tacit.round.close import add, open_sum
from tacit.round.turn import turn
from tests.plan.chains import AVERAGE

Array = npt.NDArray[Any]


def with_chain(plan: Plan, steps: tuple[Step, ...], team: Team) -> Plan:
    """The plan with another chain."""
    return replace(plan, steps=steps, team=team)


def opened(
    plan: Plan, rows: Rows, examples: Array, memory: Array, key: Key, keys: tuple[Key, ...] = ()
) -> Aggregate:
    """Rows through the clients' half, the sum, and the coordinator's half."""
    keys = keys or tuple(key / "client" / i for i in range(len(rows)))
    held = {
        f"{place}:{TopK.kind}": memory
        for place, step in enumerate(plan.client_steps)
        if isinstance(step.stage, TopK) and step.stage.feedback
    }
    answers, _ = turn(plan, rows, held, keys, examples)
    total, count = add(answers)
    return open_sum(plan, total, count, key / "open")


def totals(plan: Plan, opening: Aggregate) -> dict[str, Array]:
    """The opened sums by block, with the mean's division undone."""
    form = plan.form
    by = form.denominator
    if not by:
        weight = float(opening.tallies["weight"][0])
        by = max(weight, 1.0) if form.noise else weight or 1.0
    found, start = {}, 0
    for block in form.blocks:
        if block.kind in (Kind.TALLY, Kind.AVERAGE):
            tally = opening.tallies[block.name.removeprefix("algorithm:")]
            found[block.name] = tally * (by if block.kind is Kind.AVERAGE else 1.0)
        else:
            found[block.name] = opening.mean[start : start + block.size] * by
            start += block.size
    return found


def up(
    steps: tuple[Step, ...], rows: Rows, examples: Array, memory: Array, keys: tuple[Key, ...]
) -> Rows:
    """Rows through the client halves of some steps only."""
    for place, (stage, before, after) in enumerate(steps):
        own = tuple(key / place for key in keys)
        held = memory if isinstance(stage, TopK) and stage.feedback else None
        rows, _ = stage.up(rows, held, At(before, after, own, examples))
    return rows


def grid(steps: tuple[Step, ...]) -> float:
    """The grid on which a chain rounds, in scaled units; 0 where it does not."""
    return max(step.after.step for step in steps)


def random_rows(form: Form, count: int, rng: np.random.Generator, record_sum: bool) -> Rows:
    """Rows that a task could send: tallies in their ranges, updates short, long and one-hot."""
    rows = np.zeros((count, form.size))
    counts = rng.integers(1, 40, count).astype(float)
    for block in form.blocks:
        part = rows[:, form.spans[block.name]]
        match block.name:
            case "weight":
                part[:, 0] = counts if record_sum else 1.0
            case "loss":
                part[:, 0] = rng.choice([0.0, 10.0, 2.5], count)
            case "accuracy":
                part[np.arange(count), rng.integers(0, block.size, count)] = 1.0
            case "algorithm:normaliser":
                part[:, 0] = rng.choice([0.0, AVERAGE, AVERAGE / 3], count)
            case _:
                part[:] = _vectors(block.size, count, rng)
    if record_sum:
        update = rows[:, form.spans["update"]]
        update *= (counts / np.maximum(np.linalg.norm(update, axis=1), counts))[:, None]
    return rows


def _vectors(size: int, count: int, rng: np.random.Generator) -> Array:
    """Directions that are random, one-hot or nearly constant, of lengths from tiny to huge."""
    kinds = rng.integers(0, 3, count)
    found = rng.normal(size=(count, size))
    found[kinds == 1] = np.eye(size)[rng.integers(0, size, int((kinds == 1).sum()))]
    found[kinds == 2] = np.linspace(1.0, 1.001, size)
    lengths = 10.0 ** rng.uniform(-2, 3, count)
    found *= (lengths / np.linalg.norm(found, axis=1))[:, None]
    found *= rng.choice([-1.0, 1.0], (count, 1))
    return found
