"""Every form keeps its word: no neighbour moves a row further than the sensitivity it claims."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from tacit.base.key import Key
from tacit.learn.examples import Examples
from tacit.learn.local import Home, RecordRule
from tacit.plan.build import Plan, Step
from tacit.protect.clip import Clip, ClipExamples
from tacit.protect.form import Place, Unit
from tacit.protect.noise import Gaussian
from tacit.protect.quantise import Quantise
from tacit.protect.stage import Stage
from tacit.protect.sum import PlainSum
from tacit.protect.topk import TopK
from tacit.protect.weigh import Weigh
from tacit.round.turn import pack
from tests.plan.chains import CAP, FEATURES, LONG, TEAMS, starts, steps_of, walk_all
from tests.plan.running import Array, random_rows, up

PAIRS = 150

ROUNDING = 1 + 1e-9
"""Sums of clipped gradients are rounded to 53 bits like everything in floating point."""


class Neighbours(NamedTuple):
    """Rows with the unit and without it; what stages learn of their clients beside the row."""

    rows: Array
    other: Array
    examples: Array
    others: Array
    memory: Array
    forgotten: Array


def before_noise(start: str) -> Iterator[tuple[Step, ...]]:
    """Accepted prefixes at the clients that noise may follow."""
    for steps in walk_all(start, "four sites").accepted:
        end = steps[-1].after
        if end.place is Place.CLIENT and not end.noise:
            yield steps


def moved(steps: tuple[Step, ...], pairs: Neighbours, unit: Unit) -> Array:
    """L2 distances between neighbours' rows behind the steps, with the same dither."""
    keys = tuple(Key.seed(7) / i for i in range(len(pairs.rows)))
    rows = up(steps, pairs.rows, pairs.examples, pairs.memory, keys)
    end = steps[-1].after
    assert np.abs(rows).max() <= end.limit() * ROUNDING
    other = 0 * rows
    if unit == "record":
        other = up(steps, pairs.other, pairs.others, pairs.forgotten, keys)
    return np.asarray(np.linalg.norm(rows - other, axis=1))


@cache
def any_neighbours(start: str, record_sum: bool) -> Neighbours:
    """Two answers of one client that have nothing in common but its number of records, nearly."""
    form, rng = starts()[start].form, np.random.default_rng(3)
    rows = random_rows(form, PAIRS, rng, record_sum)
    other = random_rows(form, PAIRS, rng, record_sum)
    half, update = PAIRS // 2, form.spans["update"]
    other[:half, update] = -rows[:half, update]
    if record_sum:
        rows[:, update] *= 300.0
    if record_sum and "weight" in form.spans:
        rows[:, form.spans["weight"]] *= 300.0
    examples = rng.integers(1, 2 * int(CAP), PAIRS)
    memory = rng.normal(size=(PAIRS, form.blocks[0].size)) * 10.0 ** rng.uniform(-2, 3, (PAIRS, 1))
    return Neighbours(rows, other, examples, examples - 1, memory, -memory[::-1])


def answer(plan: Plan, rule: RecordRule, params: Array, held: Examples, seed: int) -> Array:
    """A client's row before the chain, by the real task and the real sampling of records."""
    home = Home(plan.task, held, Key.seed(seed), rule)
    found, _ = plan.algorithm.visit({"params": params}, None, home)
    return pack(plan, found, home.report(params) if plan.federation.metrics else None)


@cache
def record_neighbours(start: str, rule: RecordRule) -> Neighbours:
    """Real answers with and without the last record: extreme features, equal records, few, many."""
    plan, rng = starts()[start].plan, np.random.default_rng(5)
    rows, other, counts = [], [], []
    for seed in range(PAIRS):
        count = int(rng.integers(2, 40))
        x = rng.normal(size=(count, FEATURES)) * 10.0 ** rng.uniform(-3, 3, (count, 1))
        if seed % 3 == 0:
            x[:] = x[0]
        y = rng.integers(0, 2, count) if seed % 2 else np.zeros(count, np.int64)
        params = rng.normal(size=plan.task.layout.size) * rng.choice([0.1, 1.0, 5.0])
        rows.append(answer(plan, rule, params, Examples(x, y), seed))
        other.append(answer(plan, rule, params, Examples(x[:-1], y[:-1]), seed))
        counts.append(count)
    examples, nothing = np.array(counts), np.zeros((PAIRS, plan.task.layout.trained))
    return Neighbours(np.array(rows), np.array(other), examples, examples - 1, nothing, nothing)


def neighbours(start: str, steps: tuple[Step, ...], unit: Unit) -> Neighbours:
    """What fits a chain: records of real tasks where it bounds them, anything elsewhere."""
    record_sum = steps[-1].after.record_sum
    if unit == "client" or not record_sum:
        return any_neighbours(start, record_sum)
    stage = next(step.stage for step in steps if isinstance(step.stage, ClipExamples))
    return record_neighbours(start, RecordRule(stage.norm, stage.sample))


@pytest.mark.parametrize("unit", ["client", "record"])
@pytest.mark.parametrize("start", [name for name in starts() if name != "buffers"])
def test_no_neighbour_moves_a_row_further_than_claimed(start: str, unit: Unit) -> None:
    checked = 0
    for steps in before_noise(start):
        claimed = steps[-1].after.sensitivity(unit)
        if np.isfinite(claimed):
            checked += 1
            found = moved(steps, neighbours(start, steps, unit), unit).max()
            assert found <= claimed * ROUNDING, [step.stage for step in steps]
    assert checked > 20


@pytest.mark.parametrize("unit", ["client", "record"])
@pytest.mark.parametrize("chain", LONG, ids=lambda chain: "-".join(s.kind for s in chain))
def test_longer_chains_keep_their_sensitivity(chain: tuple[Stage, ...], unit: Unit) -> None:
    start = "one step, metrics"
    steps = steps_of(chain, starts()[start].form, TEAMS["four sites"])
    upto = next(i for i, step in enumerate(steps) if step.after.place is not Place.CLIENT)
    quiet = tuple(step for step in steps[:upto] if not isinstance(step.stage, Gaussian))
    claimed = quiet[-1].after.sensitivity(unit)
    assert moved(quiet, neighbours(start, quiet, unit), unit).max() <= claimed * ROUNDING


@pytest.mark.parametrize(
    ("chain", "unit", "least"),
    [
        ((Clip(1.0),), "client", 0.999),
        ((Clip(1.0),), "record", 0.95),
        ((TopK(0.5), Clip(1.0)), "client", 0.999),
        ((Clip(1.0), Weigh(CAP)), "client", 0.999),
        ((Clip(1.0), Weigh(CAP)), "record", 0.85),
        ((ClipExamples(1.0, most=16),), "record", 0.999),
        ((ClipExamples(1.0, most=16),), "client", 0.999),
        ((Clip(1.0), Quantise(levels=1000)), "client", 0.98),
    ],
)
def test_the_claims_are_not_idle(chain: tuple[Stage, ...], unit: Unit, least: float) -> None:
    """The neighbours above come close to the claim, so a claim that were too small would show."""
    start = "one step"
    steps = steps_of(chain, starts()[start].form, TEAMS["four sites"])
    claimed = steps[-1].after.sensitivity(unit)
    assert moved(steps, neighbours(start, steps, unit), unit).max() > least * claimed


@pytest.mark.parametrize("start", ["one step", "several steps, metrics"])
def test_a_decoded_sum_claims_what_its_rows_claim(start: str) -> None:
    """Opening a sum only changes units: steps of the grid become numbers again."""
    for steps in before_noise(start):
        end = steps[-1].after
        after = PlainSum().after(end, TEAMS["four sites"])
        for unit in ("client", "record"):
            claimed = end.sensitivity(unit) * (end.step or 1.0)
            assert after.sensitivity(unit) == pytest.approx(claimed)


def test_a_clip_that_is_two_percent_too_long_is_caught() -> None:
    """The partner of the tests above: they fail when a client does less than the form claims."""
    start, team = "one step", TEAMS["four sites"]
    (clip,) = steps_of((Clip(1.0),), starts()[start].form, team)
    claimed = clip.after.sensitivity("client")
    lax = (clip._replace(stage=Clip(1.02), after=replace(clip.after, blocks=())),)
    pairs = any_neighbours(start, record_sum=False)
    keys = (Key.seed(1),) * PAIRS
    rows = up(lax, pairs.rows, pairs.examples, pairs.memory, keys)
    assert np.linalg.norm(rows, axis=1).max() > claimed * ROUNDING
    (records,) = steps_of((ClipExamples(1.0),), starts()[start].form, team)
    long = record_neighbours(start, RecordRule(1.02, 1.0))
    assert moved((records,), long, "record").max() > records.after.sensitivity("record") * ROUNDING
