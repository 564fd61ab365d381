"""Gaussian noise: how much, on what, and that no two additions share their randomness."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kstest

from tacit.base.errors import TacitError, Unsound
from tacit.base.key import Key
from tacit.base.vector import Rows
from tacit.protect.balance import Balance
from tacit.protect.clip import Clip
from tacit.protect.form import Form, Team
from tacit.protect.noise import Gaussian, _normal
from tacit.protect.quantise import Quantise
from tacit.protect.stage import At
from tacit.protect.sum import Mean, PlainSum
from tests.protect.scene import TEAM, after, down, message, up

SIZE = 20_000
CLIPPED = after(Clip(1.0))
GRID = after(Clip(1.0), Quantise(1000))
OPENED = after(Clip(1.0), PlainSum())


def wide(*, grid: bool) -> Form:
    """A message of many coordinates, for statistics."""
    blocks = tuple(
        type(b)(b.name, SIZE if b.name == "update" else 1, b.kind, b.bound, b.limit)
        for b in CLIPPED.blocks
    )
    form = Form(blocks)
    return Quantise(1000).after(form, TEAM) if grid else form


def noise(form: Form, keys: tuple[Key, ...], stage: Gaussian) -> Rows:
    rows = np.zeros((len(keys), form.size), np.float64 if form.real else np.int64)
    at = At(form, stage.after(form, TEAM), keys, np.ones(len(keys), np.int64))
    return stage.up(rows, None, at)[0]


def test_normals_from_words_are_normal() -> None:
    found = _normal(Key.seed(5), 200_001)
    assert len(found) == 200_001
    assert kstest(found, "norm").pvalue > 1e-3
    assert np.abs(found).max() < 8.7


@pytest.mark.parametrize("factor", [0.98, 1.02])
def test_the_same_test_fails_two_percent_off(factor: float) -> None:
    assert kstest(_normal(Key.seed(5), 200_001) * factor, "norm").pvalue < 1e-3


@pytest.mark.parametrize(
    ("stage", "grid"),
    [
        (Gaussian("local", "client", 1.0), False),
        (Gaussian("local", "client", 1.0), True),
        (Gaussian("share", "client", 1.0), True),
    ],
)
def test_noise_of_clients_rounds_and_seeds_is_independent(stage: Gaussian, grid: bool) -> None:
    """A repeated stream would cancel in a difference of two sums, or add up coherently."""
    names = [(seed, turn, client) for seed in (1, 2) for turn in (0, 1) for client in (0, 1)]
    keys = tuple(Key.seed(s) / "round" / t / "client" / c for s, t, c in names)
    found = noise(wide(grid=grid), keys, stage).astype(np.float64)
    correlation = np.corrcoef(found) - np.eye(len(keys))
    assert np.abs(correlation).max() < 5 / math.sqrt(SIZE)


def test_the_same_test_fails_for_two_clients_with_one_key() -> None:
    one = Key.seed(1)
    found = noise(wide(grid=True), (one, one), Gaussian("local", "client", 1.0))
    assert np.corrcoef(found[0], found[1])[0, 1] > 0.999


def test_noise_and_rounding_do_not_share_their_randomness() -> None:
    """The same key dithers and draws; the streams have names of their own."""
    key, form = Key.seed(4), wide(grid=False)
    rows = np.full((1, form.size), 0.5 / 1000)
    at = At(form, wide(grid=True), (key,), np.ones(1, np.int64))
    rounded, _ = Quantise(1000).up(rows, None, at)
    added = noise(wide(grid=True), (key,), Gaussian("local", "client", 1.0))
    pair = np.corrcoef(rounded[0], added[0])[0, 1]
    assert abs(pair) < 5 / math.sqrt(SIZE)


def test_a_fresh_key_gives_noise_that_nobody_can_repeat() -> None:
    stage, key = Gaussian("local", "client", 1.0), Key.fresh()
    for grid in (True, False):
        first, second = (noise(wide(grid=grid), (key,), stage) for _ in range(2))
        assert abs(np.corrcoef(first, second)[0, 1]) < 5 / math.sqrt(SIZE)


@pytest.mark.parametrize(
    ("form", "where", "law", "shares"),
    [
        (CLIPPED, "local", "gaussian", 1),
        (GRID, "local", "discrete_gaussian", 1),
        (GRID, "share", "discrete_gaussian", 3),
        (OPENED, "central", "gaussian", 1),
    ],
)
def test_noise_is_the_multiplier_times_the_sensitivity_it_meets(
    form: Form, where: str, law: str, shares: int
) -> None:
    stages = {
        "local": Gaussian("local", "client", 0.8),
        "share": Gaussian("share", "client", 0.8),
        "central": Gaussian("central", "client", 0.8),
    }
    found = stages[where].after(form, TEAM).noise
    assert found is not None
    assert (found.law, found.where, found.shares) == (law, where, shares)
    assert found.sensitivity == form.sensitivity("client")
    assert found.sd * math.sqrt(shares) == pytest.approx(0.8 * form.sensitivity("client"))
    assert found.multiplier == pytest.approx(0.8)


def test_records_get_noise_for_records() -> None:
    found = Gaussian("local", "record", 1.0).after(CLIPPED, TEAM).noise
    assert found is not None
    assert found.sensitivity == 2.0


def test_central_noise_is_scaled_like_the_blocks_it_falls_on() -> None:
    """In scaled units all coordinates get the same; decoded, a small scale means more noise."""
    form = after(Clip(1.0), Balance(0.3), PlainSum(), form=message(metrics=True))
    stage = Gaussian("central", "client", 1.0)
    found = np.array([down(stage, np.zeros(form.size), form, seed=s) for s in range(2000)])
    sds = np.sqrt((found**2).mean(axis=0))
    noised = stage.after(form, TEAM).noise
    assert noised is not None
    expected = [noised.sd / b.scale for b in form.blocks for _ in range(b.size)]
    assert sds == pytest.approx(expected, rel=0.1)
    assert sds[-1] > 20 * sds[0]


def test_noise_goes_where_it_is_asked_for_only() -> None:
    rows = np.zeros((2, 7))
    central = Gaussian("central", "client", 1.0)
    at = At(OPENED, central.after(OPENED, TEAM), (Key.seed(0),) * 2, np.ones(2, np.int64))
    assert np.array_equal(central.up(rows, None, at)[0], rows)
    local = Gaussian("local", "client", 1.0)
    assert np.array_equal(down(local, np.zeros(7), CLIPPED), np.zeros(7))


def test_rows_keep_their_type() -> None:
    small, _ = up(Gaussian("local", "client", 1.0), np.zeros((1, 7), np.float32), CLIPPED)
    whole, _ = up(Gaussian("local", "client", 1.0), np.zeros((1, 7), np.int64), GRID)
    assert small.dtype == np.float32
    assert whole.dtype == np.int64


@pytest.mark.parametrize(
    ("form", "stage", "code"),
    [
        (message(), Gaussian("local", "client", 1.0), "chain.noise-unbounded"),
        (after(Clip(1.0), form=message(buffers=1)), Gaussian("local", "client", 1.0),
         "chain.noise-buffers"),
        (CLIPPED, Gaussian("share", "client", 1.0), "chain.share-off-grid"),
        (CLIPPED, Gaussian("central", "client", 1.0), "chain.before-sum"),
        (OPENED, Gaussian("local", "client", 1.0), "chain.after-sum"),
        (after(PlainSum(), Mean()), Gaussian("central", "client", 1.0), "chain.after-mean"),
        (GRID, Gaussian("share", "client", 1e-3), "chain.share-too-thin"),
        (GRID, Gaussian("share", "client", 1e3), "chain.sigma-range"),
        (Gaussian("local", "client", 1.0).after(CLIPPED, TEAM), Gaussian("local", "client", 1.0),
         "chain.noise-twice"),
    ],
)  # fmt: skip
def test_noise_that_hides_nothing_is_refused(form: Form, stage: Gaussian, code: str) -> None:
    with pytest.raises(Unsound) as refused:
        stage.after(form, TEAM)
    assert refused.value.code == code


def test_shares_need_somebody_honest() -> None:
    with pytest.raises(Unsound) as refused:
        Gaussian("share", "client", 1.0).after(GRID, Team(4, 4, 1, 1, 1))
    assert refused.value.code == "chain.isolates"


def test_float_noise_leaves_no_limit() -> None:
    assert math.isinf(Gaussian("local", "client", 1.0).after(CLIPPED, TEAM).limit())
    assert Gaussian("local", "client", 1.0).after(GRID, TEAM).limit() == GRID.limit()


@pytest.mark.parametrize(
    ("multiplier", "epsilon", "delta"),
    [(-1.0, 0.0, 1e-5), (math.inf, 0.0, 1e-5), (0.0, math.nan, 1e-5), (1.0, 0.0, 0.0),
     (1.0, 0.0, 1.0), (0.0, 1.0, -1e-5)],
)  # fmt: skip
def test_amounts_are_numbers_that_mean_something(
    multiplier: float, epsilon: float, delta: float
) -> None:
    with pytest.raises(TacitError):
        Gaussian("central", "client", multiplier, epsilon, delta)


def test_noise_says_what_it_is() -> None:
    stage = Gaussian("local", "client", 0.8)
    real, whole = stage.says(CLIPPED, stage.after(CLIPPED, TEAM)), stage.after(GRID, TEAM)
    assert real.startswith("Floating-point Gaussian noise (fit for simulation")
    assert "0.8 times what one client can change" in real
    assert stage.says(GRID, whole).startswith("Whole-number (discrete) Gaussian noise")
    share = Gaussian("share", "client", 0.8)
    assert "any 3 of them suffice" in share.says(GRID, share.after(GRID, TEAM))
