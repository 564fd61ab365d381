"""Bytes: what a plan predicts is what encoding its answers really takes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tacit
from tacit.base.key import Key
from tacit.base.vector import Kind
from tacit.plan.build import Plan, build
from tacit.protect.noise import Gaussian
from tacit.protect.stage import Stage
from tacit.round.turn import turn
from tests.plan.federations import RECIPES, federation
from tests.plan.running import random_rows

MANY = {"data": tacit.arrays((300,), 5), "algorithm": tacit.fedavg(0.1)}
"""A model of 1,505 numbers."""


def answers(plan: Plan) -> Any:
    """What eight clients send: extremes and random rows."""
    rng = np.random.default_rng(2)
    rows = random_rows(plan.message, 8, rng, plan.form.record_sum)
    rows[0, : plan.layout.trained] = np.eye(plan.layout.trained)[0] * 1e6
    keys = tuple(Key.seed(i) for i in range(8))
    return turn(plan, rows, {}, keys, rng.integers(1, 500, 8))[0]


def encoded(plan: Plan, answer: Any) -> int:
    """Bytes of one answer in the plainest encoding that gets it back."""
    form = plan.client_steps[-1].after
    if form.bits:
        whole = sum(int(number) << (form.bits * i) for i, number in enumerate(answer))
        return len(whole.to_bytes(math.ceil(form.bits * len(answer) / 8), "little"))
    if answer.dtype.kind == "i":
        low, high = int(answer.min()), int(answer.max())
        fits = (t for t in (np.int8, np.int16, np.int32, np.int64)
                if np.iinfo(t).min <= low and high <= np.iinfo(t).max)  # fmt: skip
        answer = answer.astype(next(fits))
    if not form.kept or form.noise:
        return len(answer.tobytes())
    span = form.spans["update"]
    places = np.flatnonzero(answer[span]).astype(np.uint32)
    others = np.delete(answer, np.arange(span.start, span.stop))
    return len(places.tobytes()) + len(answer[places].tobytes()) + len(others.tobytes())


CHAINS: dict[str, tuple[Stage, ...]] = {
    **{n: RECIPES[n] for n in ("plain", "secure_average", "central_dp", "distributed_dp", "top_k")},
    "local on the grid": (
        tacit.clip(1.0),
        tacit.quantise(100),
        Gaussian("local", "client", 2.0),
        tacit.plain_sum(),
        tacit.mean(-1),
    ),
    "a fine grid": (tacit.clip(1.0), tacit.quantise(10**6), tacit.plain_sum(), tacit.mean()),
    "a coarse grid": (tacit.clip(1.0), tacit.quantise(100), tacit.plain_sum(), tacit.mean()),
    "sparse on the grid": (
        tacit.top_k(0.1),
        tacit.clip(1.0),
        tacit.quantise(3000),
        tacit.plain_sum(),
        tacit.mean(),
    ),
    "sparse, then noised": (
        tacit.top_k(0.1),
        tacit.clip(1.0),
        Gaussian("local", "client", 1.0),
        tacit.plain_sum(),
        tacit.mean(-1),
    ),
    "sparse in name": (tacit.top_k(0.9), tacit.plain_sum(), tacit.mean()),
    "thirteen bits": (tacit.clip(1.0), tacit.quantise(100), tacit.secure_sum(13), tacit.mean()),
}


@pytest.mark.parametrize("name", CHAINS)
def test_an_answer_fits_what_is_predicted(name: str) -> None:
    plan = build(federation("plain", protect=CHAINS[name], **MANY))
    sizes = [encoded(plan, answer) for answer in answers(plan)]
    if name == "sparse in name":
        assert plan.cost.up == plan.message.size * 8 < max(sizes)
    else:
        assert max(sizes) <= plan.cost.up
        assert plan.cost.up <= 1.02 * max(sizes)


def test_a_sparse_answer_is_no_longer_sparse_behind_noise() -> None:
    dense = build(federation("plain", protect=CHAINS["sparse, then noised"], **MANY))
    sparse = build(federation("plain", protect=CHAINS["top_k"], **MANY))
    assert dense.cost.up == dense.message.size * 8
    assert sparse.cost.up < 0.8 * sparse.message.size * 8


@pytest.mark.parametrize("name", RECIPES)
def test_costs_add_up(name: str) -> None:
    plan = build(federation(name))
    assert plan.cost.down == plan.layout.size * plan.layout.itemsize
    assert plan.cost.round == (plan.cost.up + plan.cost.down) * plan.team.cohort
    assert plan.cost.total == plan.cost.round * plan.team.rounds


def test_every_vector_of_an_offer_is_counted() -> None:
    scaffold = build(federation("plain", algorithm=tacit.scaffold(0.1, steps=3)))
    assert scaffold.cost.down == 2 * scaffold.layout.size * 8


def test_metrics_are_paid_for() -> None:
    without = build(federation("plain")).cost.up
    assert build(federation("plain", metrics=("loss", "accuracy"))).cost.up - without == 11 * 8


def test_only_the_update_is_sparse() -> None:
    plan = build(federation("top_k", metrics=("loss",), **MANY))
    tallies = sum(block.size for block in plan.message.of(Kind.TALLY))
    assert plan.cost.up == plan.form.kept * 12 + tallies * 8
