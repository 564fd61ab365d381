"""Published figures: heart disease under FLamby's protocol, accuracy on the pooled test set.

du Terrail et al. 2022 report pooled training .795, Cleveland's own model .784, FedAvg .748, and
FedAvg after tuning .789. With 254 test records the standard error of such a figure is .026.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tacit

ERROR = 0.026


def federation(algorithm: Any, rounds: int) -> tacit.Federation:
    return tacit.Federation(
        task=tacit.numpy.logistic_regression(),
        clients=4,
        data=tacit.arrays(shape=(13,), classes=2),
        algorithm=algorithm,
        rounds=rounds,
    )


FEDAVG = federation(tacit.fedavg(lr=0.001, steps=100, batch=4), rounds=15)
TUNED = federation(tacit.fedavg(lr=0.1, steps=100, batch=4), rounds=15)
EPOCHS = federation(tacit.fedavg(lr=0.001, epochs=50, batch=4), rounds=1)


def over_seeds(run: Any) -> float:
    return float(np.mean([run(seed).final.accuracy for seed in range(3)]))


def test_fedavg_as_published() -> None:
    data = tacit.data.heart_disease_flamby()
    assert over_seeds(lambda s: tacit.simulate(FEDAVG, data, s)) == pytest.approx(0.748, abs=ERROR)


def test_tuned_fedavg_as_published() -> None:
    data = tacit.data.heart_disease_flamby("pooled")
    assert over_seeds(lambda s: tacit.simulate(TUNED, data, s)) == pytest.approx(0.789, abs=ERROR)


def test_pooled_training_as_published() -> None:
    data = tacit.data.heart_disease_flamby("pooled")
    assert over_seeds(lambda s: tacit.pooled(EPOCHS, data, s)) == pytest.approx(0.795, abs=ERROR)


def test_cleveland_alone_as_published() -> None:
    data = tacit.data.heart_disease_flamby("pooled")
    only = over_seeds(lambda s: tacit.local_only(EPOCHS, data, s)["Cleveland"])
    assert only == pytest.approx(0.784, abs=ERROR)
