"""What tests of the stacked backend share: federations of every algorithm, and the comparison."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import tacit
from tacit.base.key import Key
from tacit.learn.algorithm import AlgorithmSpec, Need
from tacit.learn.examples import as_clients
from tacit.plan.kinds import PARTS
from tacit.sim.engine import Outcome, run_plan
from tacit.sim.exact import Exact
from tacit.sim.stacked import Stacked

Array = npt.NDArray[Any]
Data = list[tuple[Array, Array]]

SIZES = (23, 3, 11, 16, 1, 7, 24, 12)
"""Less than a batch, whole batches, ragged ones, a single record."""

SETTINGS: dict[str, dict[str, Any]] = {
    "feddyn": {"alpha": 0.1},
    "fedprox": {"mu": 0.1},
    "qffl": {"q": 1.0},
    "ifca": {"clusters": 2},
    "scaffold": {"steps": 5},
}
"""What algorithms need beside a learning rate."""


OWN_TASK = {"boosting", "lloyd"}
"""Algorithms that only go with a task of their own, which has no stacked form."""


def algorithms(personal: str) -> list[AlgorithmSpec]:
    """One of every kind that fits any network, in batches of 5; `personal`: a head's tensors."""
    found = []
    for kind, made in PARTS["algorithm"].items():
        if kind in OWN_TASK or kind == "fedbn":
            continue
        settings = {"lr": 0.1, **SETTINGS.get(kind, {})}
        fields = made.__dataclass_fields__
        settings |= {"batch": 5} if "batch" in fields else {}
        settings |= {"personal": (personal,)} if "personal" in fields else {}
        found.append(made(**settings))
    return found


def data(shape: tuple[int, ...], classes: int, sizes: tuple[int, ...] = SIZES) -> Data:
    draw = np.random.default_rng(5)
    return [(draw.normal(size=(n, *shape)), draw.integers(0, classes, n)) for n in sizes]


def federation(task: Any, shape: tuple[int, ...], classes: int, **changes: Any) -> tacit.Federation:
    base = tacit.Federation(
        task=task,
        clients=len(SIZES),
        data=tacit.arrays(shape=shape, classes=classes),
        algorithm=tacit.fedavg(lr=0.1, batch=5),
        rounds=3,
        cohort=tacit.fixed(size=6),
    )
    return base.replace(**changes)


def both(federated: tacit.Federation, held: Any) -> tuple[Outcome, Outcome, Stacked]:
    """The same run, client by client and stacked."""
    plan, clients, key = federated.plan(), as_clients(held), Key.seed(1)
    stacked = Stacked(plan, clients, key)
    one = run_plan(plan, clients, key, backend=Exact(plan, clients, key))
    return one, run_plan(plan, clients, key, backend=stacked), stacked


def apart(one: Outcome, two: Outcome) -> float:
    """The largest difference between two runs' models: the shared one, and each client's own."""
    pairs = [(one.params, two.params)]
    pairs += [(one.models.of(i), two.models.of(i)) for i in range(len(SIZES))]
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def went_in_blocks(algorithm: AlgorithmSpec, backend: Stacked) -> bool:
    """Whether the backend did what it should: blocks, but for what compares representations."""
    alone = Need.REPRESENTATION in algorithm.build().needs
    return ("one by one" in backend.says) == alone == (not backend.block_of)
