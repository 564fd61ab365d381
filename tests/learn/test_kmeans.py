"""Federated k-means beside Lloyd's algorithm on all records together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tacit
from tacit.base.key import Key
from tests.learn.papers import Data

CENTRES = np.array([[0.2, 0.2], [0.8, 0.2], [0.5, 0.8]])


def blobs(count: int = 60) -> Data:
    """Three blobs; each client sees mostly one of them."""
    draw = np.random.default_rng(0)
    found = {}
    for i in range(3):
        which = np.where(draw.random(count + 10 * i) < 0.8, i, draw.integers(0, 3, count + 10 * i))
        x = CENTRES[which] + 0.05 * draw.normal(size=(len(which), 2))
        found[f"c{i}"] = (x, which.astype(float))
    return found


def federation(data: Data, clusters: int = 3, rounds: int = 10, **changes: Any) -> tacit.Federation:
    return tacit.Federation(
        task=tacit.statistics.kmeans(clusters),
        clients=len(data),
        data=tacit.arrays(shape=(2,)),
        algorithm=tacit.lloyd(),
        rounds=rounds,
    ).replace(**changes)


def lloyd(x: Any, centroids: Any, rounds: int) -> Any:
    """Lloyd's algorithm on all records; an empty cluster stays where it is."""
    for _ in range(rounds):
        distances = ((x[:, None, :] - centroids[None]) ** 2).sum(axis=2)
        nearest = distances.argmin(axis=1)
        centroids = np.stack(
            [
                x[nearest == j].mean(axis=0) if (nearest == j).any() else centroids[j]
                for j in range(len(centroids))
            ]
        )
    return centroids


@pytest.mark.parametrize("clusters", [1, 3, 8])
@pytest.mark.parametrize(
    "chain", [tacit.plain(), (tacit.clip_examples(1e3), tacit.plain_sum(), tacit.mean())]
)
def test_beside_lloyd_on_all_records(clusters: int, chain: Any) -> None:
    data = blobs()
    described = federation(data, clusters, protect=chain)
    model = tacit.simulate(described, data).model
    start = described.plan().task.start(Key.seed(0) / "start")[: 2 * clusters].reshape(-1, 2)
    x = np.concatenate([held[0] for held in data.values()])
    expected = lloyd(x, start, 10)
    assert np.allclose(model.arrays()["centroids"], expected, atol=1e-9)
    nearest = ((x[:, None] - expected) ** 2).sum(axis=2)
    assert np.array_equal(model.predict(x), nearest.argmin(axis=1))
    loss = model.evaluate(x, np.zeros(len(x))).mean_loss
    assert loss == pytest.approx(0.5 * nearest.min(axis=1).mean())


def farthest(model: Any) -> float:
    """How far the farthest blob is from its nearest centroid."""
    found = model.arrays()["centroids"]
    return float(np.sqrt(((CENTRES[:, None] - found) ** 2).sum(axis=2)).min(axis=1).max())


def test_blobs_are_found_though_no_client_sees_all_of_them_well() -> None:
    data = blobs()
    runs = [tacit.simulate(federation(data, rounds=20), data, seed=seed) for seed in range(4)]
    assert min(farthest(run.model) for run in runs) < 0.03


def test_records_are_protected_by_noise_on_the_sums() -> None:
    data = blobs(4000)
    chain = tacit.record_dp(epsilon=3.0, delta=1e-6, clip=1.1)
    found = [
        tacit.simulate(
            federation(data, rounds=5, protect=chain, algorithm=tacit.lloyd(0.05)), data, seed=seed
        )
        for seed in range(4)
    ]
    assert min(farthest(run.model) for run in found) < 0.05


def test_lloyd_needs_centroids() -> None:
    data = blobs()
    described = federation(data, task=tacit.numpy.ridge_regression())
    with pytest.raises(tacit.TacitError) as caught:
        tacit.simulate(described, data)
    assert caught.value.code == "task.lloyd"
