"""Learning-rate schedules beside torch.optim.lr_scheduler's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler as theirs

import tacit

LENGTH = 12


def by_torch(make: Callable[[Any], Any], count: int) -> list[float]:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimiser)
    found = []
    for _ in range(count):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return found


def then(first: Callable[[Any], Any], second: Callable[[Any], Any], at: int) -> Any:
    """One of torch's schedulers after the other."""
    return lambda held: theirs.SequentialLR(held, [first(held), second(held)], [at])


def linear(held: Any) -> Any:
    return theirs.LinearLR(held, start_factor=0.2, total_iters=4)


CASES = [
    (lambda over: tacit.constant(), lambda held: theirs.ConstantLR(held, 1.0)),
    (
        lambda over: tacit.cosine(LENGTH, least=0.1, over=over),
        lambda held: theirs.CosineAnnealingLR(held, LENGTH, eta_min=0.1),
    ),
    (
        lambda over: tacit.step_decay(3, 0.5, over=over),
        lambda held: theirs.StepLR(held, 3, gamma=0.5),
    ),
    (lambda over: tacit.warmup(4, first=0.2, over=over), linear),
    (
        lambda over: tacit.warmup(4, 0.2, then=tacit.step_decay(3, 0.5, over=over), over=over),
        then(linear, lambda held: theirs.StepLR(held, 3, gamma=0.5), 4),
    ),
    (
        lambda over: tacit.warmup(4, 0.2, then=tacit.cosine(8, over=over), over=over),
        then(linear, lambda held: theirs.CosineAnnealingLR(held, 8), 4),
    ),
]


@pytest.mark.parametrize(("ours", "other"), CASES)
def test_as_torch_has_it(ours: Any, other: Any) -> None:
    expected = by_torch(other, LENGTH + 1)
    over_rounds, over_steps = ours("rounds"), ours("steps")
    rounds = [over_rounds.at(float(t), 5, 9) for t in range(LENGTH + 1)]
    steps = [over_steps.at(7.0, t, 100) for t in range(LENGTH + 1)]
    assert np.allclose(rounds, expected, atol=1e-12)
    assert np.allclose(steps, expected, atol=1e-12)


def test_a_cosine_stays_at_its_end() -> None:
    assert tacit.cosine(5, least=0.25).at(80.0, 0, 1) == pytest.approx(0.25)


def test_a_cosine_over_a_whole_visit_fits_each_clients_steps() -> None:
    schedule = tacit.cosine(0, over="steps")
    steps = np.array([[4], [10]])
    found = np.array([schedule.at(0.0, t, steps).ravel() for t in range(4)])
    for i, count in enumerate((4, 10)):
        alone = by_torch(partial(theirs.CosineAnnealingLR, T_max=count), 4)
        assert np.allclose(found[:, i], alone)


def test_a_ramp_within_each_visit_under_a_decay_over_rounds() -> None:
    schedule = tacit.warmup(2, 0.5, then=tacit.step_decay(3, 0.1), over="steps")
    assert schedule.units == {"rounds", "steps"}
    found = [[schedule.at(float(r), s, 4) for s in range(3)] for r in (0, 3)]
    assert np.allclose(found, [[0.5, 0.75, 1.0], [0.05, 0.075, 0.1]])


@given(st.integers(1, 30), st.integers(1, 30), st.floats(0, 1), st.integers(0, 100))
def test_factors_lie_between_the_least_and_one(
    length: int, after: int, least: float, time: int
) -> None:
    schedule = tacit.warmup(length, first=least, then=tacit.cosine(after, least=least))
    assert least * least - 1e-12 <= schedule.at(float(time), 0, 1) <= 1 + 1e-12
