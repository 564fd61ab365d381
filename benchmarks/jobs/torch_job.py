"""Ten clients train a torch module; prints nothing, and ends after its first round."""

from __future__ import annotations

import numpy as np
from torch import nn

import tacit


def model() -> nn.Module:
    """One hidden layer."""
    return nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 3))


if __name__ == "__main__":
    random = np.random.default_rng(0)
    clients = [(random.normal(size=(50, 20)), random.integers(3, size=50)) for _ in range(10)]
    federation = tacit.Federation(
        task=tacit.torch.task(model),
        data=tacit.arrays(shape=(20,), classes=3),
        algorithm=tacit.fedavg(lr=0.1),
        clients=10,
        rounds=1,
    )
    tacit.simulate(federation, clients, seed=0)
