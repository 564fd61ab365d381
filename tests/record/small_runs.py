"""Small federations whose runs take milliseconds, for the tests of records."""

from __future__ import annotations

from typing import Any

import numpy as np

import tacit
from tacit.record.run import Run

NAMES = ("North", "South", "West")


def records(seed: int, count: int = 40) -> dict[str, tuple[Any, Any]]:
    """Two features, two classes, for each client."""
    draw = np.random.default_rng(seed)
    made = {}
    for name in NAMES:
        x = draw.normal(size=(count, 2))
        made[name] = x, (x.sum(axis=1) + draw.normal(size=count) > 0).astype(int)
    return made


def federation(**changes: Any) -> tacit.Federation:
    """Federated averaging in five rounds."""
    plain = tacit.Federation(
        task=tacit.numpy.logistic_regression(),
        clients=len(NAMES),
        data=tacit.arrays(shape=(2,), classes=2),
        algorithm=tacit.fedavg(lr=0.2),
        rounds=5,
        name="small",
    )
    return plain.replace(**changes)


def noised(**changes: Any) -> tacit.Federation:
    """One clipped step a round under a secure sum, with noise in shares."""
    protect = (
        tacit.clip_examples(1.0),
        tacit.balance(unit="record"),
        tacit.quantise(),
        tacit.gaussian("share", "record", multiplier=2.0),
        tacit.secure_sum(),
        tacit.mean(),
    )
    return federation(algorithm=tacit.fedsgd(lr=1.0), protect=protect, **changes)


def run(described: tacit.Federation | None = None, *, test: bool = True, seed: int = 0) -> Run:
    """A finished run, with exact evaluation if `test`."""
    held = records(1) if test else None
    return tacit.simulate(described or federation(), records(0), seed, held)
