"""The noise in every accepted chain is the noise that its form claims, measured."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import chi2

from tacit.base.key import Key
from tacit.plan.build import Step
from tacit.protect.form import Form, Noise, Place
from tacit.protect.stage import Stage
from tests.plan.chains import CLIENTS, LONG, TEAMS, Start, starts, steps_of, walk_all
from tests.plan.running import Array, grid, opened, totals, with_chain

RUNS = 300
ALARM = 1e-7
"""A right standard deviation is refused this rarely; the seeds are fixed."""

Claimed = dict[str, float]


def claimed(steps: tuple[Step, ...], factor: float = 1.0) -> Claimed:
    """Standard deviation of a decoded coordinate of each block, from the form alone."""
    noise = steps[-1].after.noise
    assert noise is not None
    added = 1 if noise.where == "central" else CLIENTS
    unit = grid(steps) if noise.law == "discrete_gaussian" else 1.0
    sd = factor * noise.sd * math.sqrt(added) * unit
    return {block.name: sd / block.scale for block in steps[-1].after.blocks}


def measured(start: Start, steps: tuple[Step, ...]) -> dict[str, Array]:
    """Decoded sums (RUNS, size) of clients that all answer zero."""
    plan = with_chain(start.plan, steps, TEAMS["four sites"])
    rows, examples = np.zeros((CLIENTS, start.form.size)), np.ones(CLIENTS, np.int64)
    memory = np.zeros((CLIENTS, start.form.blocks[0].size))
    found = [
        totals(plan, opened(plan, rows, examples, memory, Key.seed(run))) for run in range(RUNS)
    ]
    return {name: np.array([one[name] for one in found]) for name in found[0]}


def agrees(found: dict[str, Array], expected: Claimed) -> bool:
    """Two chi-square tests: of all coordinates together, and of each alone."""
    squares = np.concatenate(
        [(values / expected[name]) ** 2 for name, values in found.items()], axis=1
    )
    return within(squares.ravel()) and all(within(one) for one in squares.T)


def within(squares: Array) -> bool:
    """Whether a sum of squared standard normals lies in its two-sided interval."""
    low, high = chi2.ppf([ALARM / 2, 1 - ALARM / 2], squares.size)
    return bool(low <= squares.sum() <= high)


def made_of(steps: tuple[Step, ...]) -> tuple[object, ...]:
    """What the noise of a chain depends on: chains that agree in it are measured once."""
    end = steps[-1].after
    noise = end.noise
    assert noise is not None
    scales = tuple(block.scale for block in end.blocks)
    sums = tuple(step.stage.kind for step in steps if step.after.place is not Place.CLIENT)
    return (noise.law, noise.where, noise.sd, noise.shares, scales, grid(steps), sums)


def distinct(start: str) -> Iterator[tuple[Step, ...]]:
    """One accepted chain of each make."""
    found: dict[tuple[object, ...], tuple[Step, ...]] = {}
    for steps in walk_all(start, "four sites").complete:
        if steps[-1].after.noise:
            found.setdefault(made_of(steps), steps)
    return iter(found.values())


@pytest.mark.parametrize("start", ["one step, metrics", "several steps, an average"])
def test_the_noise_is_the_noise_that_is_claimed(start: str) -> None:
    chains = list(distinct(start))
    wrong = [
        [step.stage for step in steps]
        for steps in chains
        if not agrees(measured(starts()[start], steps), claimed(steps))
    ]
    assert len(chains) > 20
    assert wrong == []


@pytest.mark.parametrize("chain", LONG, ids=lambda chain: "-".join(s.kind for s in chain))
@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_the_same_test_fails_where_sigma_is_ten_percent_off(
    chain: tuple[Stage, ...], factor: float
) -> None:
    start = starts()["one step, metrics"]
    steps = steps_of(chain, start.form, TEAMS["four sites"])
    found = measured(start, steps)
    assert agrees(found, claimed(steps))
    assert not agrees(found, claimed(steps, factor))


def test_the_same_test_fails_where_one_block_is_scaled_wrongly() -> None:
    start = starts()["one step, metrics"]
    steps = steps_of(LONG[2], start.form, TEAMS["four sites"])
    found, expected = measured(start, steps), claimed(steps)
    assert not agrees(found, {**expected, "weight": 1.5 * expected["weight"]})


def minimum(form: Form) -> float:
    """Claimed noise of the smallest sum that is certain, in its units: multiplier * sensitivity."""
    noise: Noise | None = form.noise
    assert noise is not None
    return noise.multiplier * noise.sensitivity


def test_dropouts_never_thin_the_noise_below_the_claim() -> None:
    """The quorum answers, and accomplices give no noise: what is left is the claim, exactly."""
    start, team = starts()["several steps"], TEAMS["a Poisson cohort"]
    steps = steps_of(LONG[1], start.form, team)
    noise, step = steps[-1].after.noise, grid(steps)
    assert noise is not None
    assert noise.shares == team.quorum - team.collusion
    plan = with_chain(start.plan, steps, team)
    rows = np.zeros((noise.shares, start.form.size))
    examples, memory = np.ones(len(rows), np.int64), np.zeros((len(rows), 9))
    sums = [totals(plan, opened(plan, rows, examples, memory, Key.seed(i))) for i in range(RUNS)]
    found = np.array([one["update"] for one in sums])
    assert agrees({"update": found}, {"update": minimum(steps[-1].after) * step})
    assert not agrees({"update": found}, {"update": 1.1 * minimum(steps[-1].after) * step})
