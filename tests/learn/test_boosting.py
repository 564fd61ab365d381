"""What the coordinator makes of histograms: the best split of a node, and the leaves."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tacit.learn.boosting import best_splits, leaf_values


@given(seed=st.integers(0, 10**6), l2=st.sampled_from([0.0, 0.1]))
def test_the_best_split_is_the_best_of_all(seed: int, l2: float) -> None:
    draw = np.random.default_rng(seed)
    slopes = draw.normal(size=(1, 2, 4))
    curves = draw.choice([0.0, 0.05, 0.2], (1, 2, 4))
    best, chosen = 0.0, (0, 4)
    for one in range(2):
        g, h = slopes[0, one], curves[0, one]
        for at in range(1, 4):
            sides = [(g[:at].sum(), h[:at].sum()), (g[at:].sum(), h[at:].sum())]
            if min(side[1] for side in sides) < 0.04:
                continue
            gain = sum(a**2 / (b + l2) for a, b in sides) - g.sum() ** 2 / (h.sum() + l2)
            if gain > best + 1e-8:
                best, chosen = gain, (one, at)
    feature, first = best_splits(slopes, curves, l2, 0.04)
    assert (int(feature[0]), int(first[0])) == chosen


def test_leaves_follow_the_formula_and_empty_ones_are_zero() -> None:
    slopes, curves = np.array([0.2, -0.1, 0.3, 0.1]), np.array([0.3, 0.1, 0.0, -0.2])
    assert np.allclose(leaf_values(slopes, curves, 0.1, 0.01), [-0.5, 0.5, 0.0, 0.0])
