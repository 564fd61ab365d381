"""Clients by index with synthetic data: a population that costs nothing until it takes part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import tacit
from tacit.base.key import Key
from tacit.learn.examples import Examples


@final
@dataclass(frozen=True)
class Synthetic:
    """`count` clients; each one's records follow from its index."""

    count: int
    features: int = 20

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"phone-{index}"

    def examples(self, index: int) -> Examples:
        draw = (Key.seed(11) / index).generator()
        records = int(draw.integers(5, 15))
        return Examples(draw.normal(size=(records, self.features)), draw.integers(0, 2, records))


def federation(clients: int, cohort: Any, **changes: Any) -> tacit.Federation:
    base = tacit.Federation(
        task=tacit.numpy.logistic_regression(),
        clients=clients,
        data=tacit.arrays(shape=(20,), classes=2),
        algorithm=tacit.fedavg(lr=0.1, batch=5),
        cohort=cohort,
        rounds=2,
    )
    return base.replace(**changes)
