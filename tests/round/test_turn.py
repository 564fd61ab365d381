"""A chain in one go is the chain stage by stage; a client alone sends what it sends in a block."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tacit
from tacit.base.key import Key
from tacit.base.vector import Rows
from tacit.plan.build import Plan
from tacit.protect.keys import Keys
from tacit.protect.stage import At, Stage
from tacit.round.close import add, open_sum
from tacit.round.turn import summed, turn
from tacit.sim.simulate import simulate

CLIENTS = (5, 0, 41, 7)

EXAMPLES = np.array([3, 50, 12, 1], np.int64)

ROUND = Key.seed(4) / "round" / 2 / "client"

SUM = (tacit.secure_sum(), tacit.mean())

CHAINS: dict[str, tuple[Stage, ...]] = {
    "plain": tacit.plain(),
    "secure": tacit.secure_average(clip=1.0, cap=20),
    "layers": (tacit.clip(1.0, per_layer=True), tacit.weigh(cap=20), tacit.quantise(), *SUM),
    "balanced": (tacit.clip(1.0), tacit.balance(), tacit.quantise(), *SUM),
    "coarse": (tacit.clip(1.0), tacit.quantise(3), *SUM),
    "fine": (tacit.clip(1.0), tacit.quantise(2**20), *SUM),
    "kept": (tacit.top_k(0.3), tacit.clip(1.0), tacit.plain_sum(), tacit.mean()),
    "shares": tacit.distributed_dp(epsilon=5.0, delta=1e-5, clip=1.0),
    "local": tacit.local_dp(epsilon=50.0, delta=1e-5, clip=1.0),
    "records": tacit.record_dp(epsilon=5.0, delta=1e-5, clip=1.0),
}


def plan_of(chain: str) -> Plan:
    algorithm = tacit.fedsgd(0.1) if chain == "records" else tacit.fedavg(lr=0.1)
    return tacit.Federation(
        task=tacit.numpy.mlp((6, 5)),
        clients=len(CLIENTS),
        data=tacit.arrays(shape=(4,), classes=3),
        algorithm=algorithm,
        protect=CHAINS[chain],
        rounds=3,
        metrics=("loss",),
    ).plan()


def rows_of(plan: Plan, kind: str) -> Rows:
    """Updates shorter and longer than the clip; counts and losses in their ranges."""
    rows = np.random.default_rng(0).normal(size=(len(CLIENTS), plan.message.size))
    rows *= np.array([0.01, 0.1, 1.0, 0.0])[:, None]
    for name, value in (("weight", 1.0), ("loss", 2.5)):
        if name in plan.message.spans:
            rows[:, plan.message.spans[name]] = value
    return rows.astype(kind)


def stage_by_stage(plan: Plan, rows: Rows) -> Rows:
    """Every stage's own half, one after the other."""
    for place, (stage, before, after) in enumerate(plan.client_steps):
        keys = tuple(ROUND / client / f"chain:{place}" for client in CLIENTS)
        rows, _ = stage.up(rows, None, At(before, after, keys, EXAMPLES))
    return rows


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("chain", CHAINS)
def test_a_chain_is_its_stages_one_after_the_other(chain: str, kind: str) -> None:
    """Where products are rounded otherwise, a number at a step's edge may go to the other side."""
    plan = plan_of(chain)
    rows = rows_of(plan, kind)
    found, _ = turn(plan, rows, {}, tuple(ROUND / client for client in CLIENTS), EXAMPLES)
    expected = stage_by_stage(plan, rows)
    assert found.dtype == expected.dtype
    if found.dtype.kind == "f":
        assert np.allclose(found, expected, rtol=1e-5, atol=1e-7)
        return
    bits = plan.client_steps[-1].after.bits
    apart = np.minimum((found - expected) % 2**bits, (expected - found) % 2**bits)
    near = 2 if chain == "fine" and kind == "float32" else 1
    assert apart.max() <= near
    assert np.mean(apart > 0) < (0.5 if near == 2 else 0.01)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("chain", CHAINS)
def test_a_client_alone_sends_what_it_sends_in_a_block(chain: str, kind: str) -> None:
    plan = plan_of(chain)
    rows = rows_of(plan, kind)
    together, kept = turn(plan, rows, {}, Keys.below(ROUND, CLIENTS), EXAMPLES)
    for place, client in enumerate(CLIENTS):
        one = slice(place, place + 1)
        alone, own = turn(plan, rows[one], {}, (ROUND / client,), EXAMPLES[one])
        assert alone[0].tobytes() == together[place].tobytes()
        assert all((own[name] == kept[name][one]).all() for name in kept)


@pytest.mark.parametrize("chain", CHAINS)
def test_a_sum_at_once_opens_to_the_sum_of_the_answers(chain: str) -> None:
    plan = plan_of(chain)
    rows = rows_of(plan, "float64")
    answers: dict[str, Any] = {name: rows[:, span] for name, span in plan.message.spans.items()}
    keys = Keys.below(ROUND, CLIENTS)
    total, kept = summed(plan, answers, {}, keys, EXAMPLES)
    sent, pending = turn(plan, rows, {}, keys, EXAMPLES)
    one = open_sum(plan, total, len(rows), Key.seed(0))
    two = open_sum(plan, *add(sent), Key.seed(0))
    exact = sent.dtype.kind == "i"
    assert np.allclose(one.mean, two.mean, rtol=0 if exact else 1e-12, atol=0 if exact else 1e-12)
    assert kept.keys() == pending.keys()
    assert all((kept[name] == pending[name]).all() for name in kept)


def test_rows_are_left_as_they_were() -> None:
    for chain in CHAINS:
        plan = plan_of(chain)
        rows = rows_of(plan, "float64")
        before = rows.copy()
        turn(plan, rows, {}, Keys.below(ROUND, CLIENTS), EXAMPLES)
        assert (rows == before).all()


@pytest.mark.parametrize("weight", [1.5, -0.1, float("nan")])
@pytest.mark.parametrize("engine", ["exact", "stacked"])
def test_a_weight_that_no_stage_bounded_is_refused(weight: float, engine: str) -> None:
    plan = plan_of("plain")

    def visit(offer: Any, memory: Any, home: Any) -> Any:
        found, kept = plan.algorithm.visit(offer, memory, home)
        return found._replace(weight=weight), kept

    heavy = replace(plan, algorithm=plan.algorithm._replace(visit=visit))
    data = {f"{i}": (np.ones((3, 4)), np.zeros(3, np.int64)) for i in range(len(CLIENTS))}
    with pytest.raises(tacit.TacitError) as refused:
        simulate(heavy, data, engine=engine)
    assert refused.value.code == "round.quorum"
    assert "weight" in str(refused.value)
