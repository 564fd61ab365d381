"""What is learned while things go wrong: federations so small that a turn takes no time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, final

import numpy as np

import tacit
from tacit.learn.examples import Examples, NamedClients
from tacit.plan.build import Plan
from tacit.plan.federation import Federation
from tacit.sim.simulate import simulate
from tacit.testing.schedule import CLIENTS

RECORDS = 6


@final
@dataclass(frozen=True)
class Case:
    """A federation and its plan; with a `seed` it is a rehearsal, whose bits are known."""

    name: str
    federation: Federation
    plan: Plan
    seed: int | None

    @property
    def clients(self) -> int:
        """How many clients there are."""
        return self.federation.clients


@cache
def case_of(name: str) -> Case:
    """The case with this name; see `tacit.testing.schedule.CASES`."""
    changes, seed = _described(name)
    usual: dict[str, Any] = {
        "task": tacit.numpy.logistic_regression(),
        "clients": CLIENTS,
        "data": tacit.arrays((2,), 2),
        "algorithm": tacit.fedavg(lr=0.1, batch=4),
        "rounds": 2,
        "quorum": 2,
    }
    federation = Federation(**(usual | changes))
    return Case(name, federation, federation.plan(), seed)


def _described(name: str) -> tuple[dict[str, Any], int | None]:
    """What differs from the usual federation, and the seed of a rehearsal."""
    scaffold = {"algorithm": tacit.scaffold(lr=0.1, steps=2, batch=4), "rounds": 3}
    over = {"cohort": tacit.fixed(2, 1), "quorum": 1, "rounds": 3}
    noised = tacit.record_dp(3.0, 1e-5, clip=1.0, sample=0.5)
    buffered = {"cohort": tacit.buffered(2, 3), "quorum": 1, "rounds": 3, "deadline": 120.0}
    cases: dict[str, tuple[dict[str, Any], int | None]] = {
        "plain": ({"metrics": ("loss",)}, 1),
        "scaffold": (scaffold, 2),
        "secure_sum": ({"protect": tacit.secure_average(clip=1.0, cap=100), "quorum": 3}, 3),
        "record_dp": ({"algorithm": tacit.fedsgd(0.5), "protect": noised, "quorum": 3}, 4),
        "top_k": ({"protect": (tacit.top_k(0.5), tacit.plain_sum(), tacit.mean()), "rounds": 3}, 5),
        "partial": ({"cohort": tacit.fixed(2), "quorum": 1, "rounds": 3}, 6),
        "earnest": ({**over, "deadline": 20.0}, None),
        "fedbuff": ({**buffered, "algorithm": tacit.fedbuff(lr=0.1, batch=4)}, 7),
        "fedadam": ({"algorithm": tacit.fedadam(lr=0.1, batch=4)}, 8),
        "earnest_memory": ({**scaffold, **over, "deadline": 60.0}, None),
    }
    return cases[name]


@cache
def held() -> tuple[Examples, ...]:
    """Every client's records."""
    chance = np.random.default_rng(7)
    return tuple(
        Examples(chance.normal(size=(RECORDS, 2)), chance.integers(0, 2, RECORDS))
        for _ in range(CLIENTS)
    )


@cache
def undisturbed(name: str) -> bytes:
    """The parameters of a rehearsal in which nothing goes wrong, by the exact engine."""
    case = case_of(name)
    assert case.seed is not None
    clients = NamedClients(tuple(f"client {place}" for place in range(case.clients)), held())
    return simulate(case.plan, clients, seed=case.seed, engine="exact").params.tobytes()
