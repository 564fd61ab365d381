"""Every accepted chain gives back the mean that its stages stand for."""

from __future__ import annotations

import numpy as np
import pytest

from tacit.base.key import Key
from tacit.base.vector import Kind
from tacit.plan.build import Step
from tacit.protect.clip import Clip
from tacit.protect.form import Team
from tacit.protect.quantise import Quantise
from tacit.protect.stage import Stage
from tacit.protect.sum import Mean, PlainSum, SecureSum
from tacit.protect.topk import TopK
from tacit.protect.weigh import Weigh
from tests.plan.chains import LONG, TEAMS, Start, starts, steps_of, walk_all
from tests.plan.reference import sums
from tests.plan.running import grid, opened, random_rows, totals, with_chain

HAIR = 3e-6
"""Clipping shortens by a millionth more than the formula, against rounding."""


def decodes(
    start: Start,
    steps: tuple[Step, ...],
    team: Team,
    seed: int,
    means: tuple[Stage, ...] | None = None,
) -> bool:
    """Whether sums and mean are right up to rounding, with the same noise on both sides.

    Noise depends on keys alone, so what zeros give under the same keys is the noise itself.
    `means`: the chain that the steps should amount to, their own if not given.
    """
    plan = with_chain(start.plan, steps, team)
    rng, key = np.random.default_rng(seed), Key.seed(seed)
    rows = random_rows(start.form, team.cohort, rng, steps[-1].after.record_sum)
    examples = rng.integers(1, 40, team.cohort)
    memory = rng.normal(size=(team.cohort, start.form.blocks[0].size))
    opening = opened(plan, rows, examples, memory, key)
    noise = totals(plan, opened(plan, 0 * rows, examples, 0 * memory, key))
    chain = means or tuple(step.stage for step in steps)
    expected = sums(chain, start.form, rows, examples, memory, team.cohort)
    found = totals(plan, opening)
    rounding = team.cohort * grid(steps)
    scale = {block.name: block.scale for block in steps[-1].after.blocks}
    off = {name: np.abs(found[name] - noise[name] - part) for name, part in expected.blocks.items()}
    allowed = {name: rounding / scale[name] + HAIR * expected.masses[name] + 1e-6 for name in off}
    right = all(bool((off[name] <= allowed[name]).all()) for name in off)
    if steps[-1].after.noise or rounding:
        return right
    model = [expected.blocks[b.name] for b in start.form.of(Kind.TRAINED, Kind.BUFFER)]
    mean = np.concatenate(model) / expected.by
    return right and np.allclose(opening.mean, mean, rtol=HAIR, atol=10 * HAIR)


@pytest.mark.parametrize("team", ["four sites", "a Poisson cohort"])
@pytest.mark.parametrize("start", starts())
def test_every_accepted_chain_decodes(start: str, team: str) -> None:
    chains = list(walk_all(start, team).complete)
    wrong = [
        [step.stage for step in steps]
        for number, steps in enumerate(chains)
        if not decodes(starts()[start], steps, TEAMS[team], number)
    ]
    assert chains
    assert wrong == []


@pytest.mark.parametrize("chain", LONG, ids=lambda chain: "-".join(s.kind for s in chain))
def test_longer_chains_decode(chain: tuple[Stage, ...]) -> None:
    start = starts()["one step, metrics"]
    steps = steps_of(chain, start.form, TEAMS["four sites"])
    assert all(decodes(start, steps, TEAMS["four sites"], seed) for seed in range(20))


@pytest.mark.parametrize(
    ("runs", "means"),
    [
        ((Clip(0.999), PlainSum(), Mean()), (Clip(1.0), PlainSum(), Mean())),
        ((Weigh(8.0), PlainSum(), Mean()), (Weigh(7.0), PlainSum(), Mean())),
        ((PlainSum(), Mean(over=7.0)), (PlainSum(), Mean(over=-1))),
        ((TopK(0.5), PlainSum(), Mean()), (TopK(0.6), PlainSum(), Mean())),
        (
            (Clip(0.97), Quantise(), SecureSum(), Mean()),
            (Clip(1.0), Quantise(), SecureSum(), Mean()),
        ),
    ],
)
def test_a_chain_that_computes_something_else_is_caught(
    runs: tuple[Stage, ...], means: tuple[Stage, ...]
) -> None:
    """The partner of the tests above."""
    start, team = starts()["several steps"], TEAMS["four sites"]
    steps = steps_of(runs, start.form, team)
    assert decodes(start, steps, team, seed=1)
    assert not decodes(start, steps, team, seed=1, means=means)
