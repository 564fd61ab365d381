"""Blocks that are summed at once, when some of their answers get lost after all."""

from __future__ import annotations

import pytest

import tacit
from tacit.base.key import Key
from tacit.learn.examples import as_clients
from tacit.protect.stage import Stage
from tacit.sim.engine import run_plan
from tacit.sim.exact import Exact
from tacit.sim.faults import Fault
from tacit.sim.stacked import Stacked
from tests.sim.stacking import apart, data, federation

CHAINS: dict[str, tuple[Stage, ...]] = {
    "secure": tacit.secure_average(clip=1.0, cap=20),
    "feedback": (tacit.top_k(0.3), tacit.clip(0.5), tacit.weigh(), tacit.plain_sum(), tacit.mean()),
    "shares": tacit.distributed_dp(epsilon=50.0, delta=1e-5, clip=1.0),
}


def lost(round_: int, client: int) -> Fault:
    return Fault(drop=(client + round_) % 5 == 0)


@pytest.mark.parametrize("chain", CHAINS)
def test_lost_answers_are_not_in_the_sum_of_a_chain(chain: str) -> None:
    federated = federation(
        tacit.numpy.logistic_regression(), (4,), 3, protect=CHAINS[chain], quorum=4
    )
    plan, clients, key = federated.plan(), as_clients(data((4,), 3)), Key.seed(1)
    stacked = Stacked(plan, clients, key)
    one = run_plan(plan, clients, key, faults=lost, backend=Exact(plan, clients, key))
    two = run_plan(plan, clients, key, faults=lost, backend=stacked)
    assert stacked.block_of
    assert min(row["failed"] for row in one.history) > 0
    assert apart(one, two) < (1e-9 if chain == "feedback" else 1e-4)
