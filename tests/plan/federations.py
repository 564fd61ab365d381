"""One federation for each recipe: a logistic regression on three features among four sites."""

from __future__ import annotations

from typing import Any

import tacit
from tacit.protect.stage import Stage

EPSILON, DELTA = 3.0, 1e-5

RECIPES: dict[str, tuple[Stage, ...]] = {
    "plain": tacit.plain(),
    "secure_average": tacit.secure_average(clip=1.0, cap=100),
    "record_dp": tacit.record_dp(EPSILON, DELTA, clip=1.0, sample=0.1),
    "central_dp": tacit.central_dp(EPSILON, DELTA, clip=1.0),
    "central_dp_poisson": tacit.central_dp(EPSILON, DELTA, clip=1.0),
    "local_dp": tacit.local_dp(EPSILON, DELTA, clip=1.0),
    "distributed_dp": tacit.distributed_dp(EPSILON, DELTA, clip=1.0),
    "distributed_dp_poisson": tacit.distributed_dp(EPSILON, DELTA, clip=1.0),
    "top_k": (tacit.top_k(0.5), tacit.plain_sum(), tacit.mean()),
}


def federation(name: str, **changes: Any) -> tacit.Federation:
    """The recipe's federation, with some fields changed."""
    usual: dict[str, Any] = {
        "task": tacit.numpy.logistic_regression(),
        "clients": 4,
        "data": tacit.arrays((3,), 2),
        "algorithm": tacit.fedsgd(0.5),
        "protect": RECIPES[name],
        "rounds": 50,
    }
    if name.endswith("poisson"):
        usual |= {"clients": 1000, "cohort": tacit.poisson(0.1)}
    return tacit.Federation(**(usual | changes))
