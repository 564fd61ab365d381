"""Ten clients learn a logistic regression for three rounds."""

from __future__ import annotations

import numpy as np

import tacit

random = np.random.default_rng(0)
clients = [(random.normal(size=(50, 20)), random.integers(3, size=50)) for _ in range(10)]

federation = tacit.Federation(
    task=tacit.numpy.logistic_regression(),
    data=tacit.arrays(shape=(20,), classes=3),
    algorithm=tacit.fedavg(lr=0.1),
    clients=10,
    rounds=3,
)
tacit.simulate(federation, clients, seed=0)
