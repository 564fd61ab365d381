"""Closed forms: what all records together would give, in one round, with and without protection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tacit
from tacit.base.key import Key
from tacit.learn.examples import Examples
from tests.learn.papers import L2, Data, clients, optimum

SECURE = (
    tacit.clip(1e4),
    tacit.weigh(cap=30.0),
    tacit.quantise(levels=10**8),
    tacit.secure_sum(),
    tacit.mean(),
)
RECORDS = (tacit.clip_examples(1e4), tacit.plain_sum(), tacit.mean())


def run(task: Any, data: Data, protect: Any = None, rounds: int = 1) -> Any:
    described = tacit.Federation(
        task=task,
        clients=len(data),
        data=tacit.arrays(shape=next(iter(data.values()))[0].shape[1:]),
        algorithm=tacit.fedsgd(lr=1.0),
        protect=protect or tacit.plain(),
        rounds=rounds,
    )
    return tacit.simulate(described, data).model


def pooled(data: Data) -> tuple[Any, Any]:
    x, y = (np.concatenate([held[i] for held in data.values()]) for i in (0, 1))
    return x, y


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("chain", [None, RECORDS])
def test_ridge_is_the_optimum_of_all_records_in_one_round(chain: Any, rounds: int) -> None:
    data = clients()
    model = run(tacit.statistics.ridge(l2=L2), data, chain, rounds)
    found = tacit.statistics.result(model)
    assert np.allclose([*found["weights"], found["bias"]], optimum(data), atol=1e-9)
    x, y = pooled(data)
    assert np.allclose(model.predict(x), x @ found["weights"] + found["bias"])
    assert model.evaluate(x, y).mean_loss == pytest.approx(
        0.5 * ((model.predict(x) - y) ** 2).mean()
    )


def test_ridge_under_a_secure_sum() -> None:
    data = clients()
    found = tacit.statistics.result(run(tacit.statistics.ridge(l2=L2), data, SECURE))
    counts = np.minimum([len(y) for _, y in data.values()], 30.0)
    best = optimum(data, counts / counts.sum())
    assert np.allclose([*found["weights"], found["bias"]], best, atol=1e-3)


def test_a_feature_that_repeats_another_does_no_harm() -> None:
    data = {name: (np.column_stack([x, x[:, 0]]), y) for name, (x, y) in clients().items()}
    model = run(tacit.statistics.ridge(), data)
    x, y = pooled(data)
    best = np.linalg.lstsq(np.column_stack([x, np.ones(len(y))]), y)[0]
    assert np.allclose(model.predict(x), x @ best[:-1] + best[-1], atol=1e-6)


@pytest.mark.parametrize("chain", [None, RECORDS])
def test_components_are_those_of_all_records(chain: Any) -> None:
    data = clients(features=4)
    model = run(tacit.statistics.pca(2), data, chain)
    found = tacit.statistics.result(model)
    x, _ = pooled(data)
    centred = x - x.mean(axis=0)
    _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    assert np.allclose(np.abs(found["components"] @ vectors[:2].T), np.eye(2), atol=1e-9)
    assert np.allclose(found["variances"], values[:2] ** 2 / len(x))
    assert np.allclose(model.predict(x), centred @ found["components"].T)
    rest = (values[2:] ** 2).sum() / len(x)
    assert model.evaluate(x, np.zeros(len(x))).mean_loss == pytest.approx(0.5 * rest)


@pytest.mark.parametrize("chain", [None, RECORDS])
def test_standardisation_is_that_of_all_records(chain: Any) -> None:
    ones = {name: np.ones(len(y)) for name, (_, y) in clients().items()}
    data = {n: (np.column_stack([x, 7 * ones[n]]), y) for n, (x, y) in clients().items()}
    model = run(tacit.statistics.standardise(), data, chain)
    found = tacit.statistics.result(model)
    x, _ = pooled(data)
    assert np.allclose(found["mean"], x.mean(axis=0))
    assert np.allclose(found["deviation"], [*x[:, :3].std(axis=0), 1.0])
    assert np.allclose(model.predict(x)[:, :3].std(axis=0), 1.0)


@pytest.mark.parametrize("chain", [None, RECORDS])
def test_histograms_are_those_of_all_records(chain: Any) -> None:
    data = clients()
    model = run(tacit.statistics.histograms(5, -1.0, 1.0), data, chain)
    found = tacit.statistics.result(model)
    x, _ = pooled(data)
    for j in range(3):
        inside = np.clip(x[:, j], -1.0, 1.0)
        counts, edges = np.histogram(inside, 5, (-1.0, 1.0))
        assert np.allclose(found["shares"][j], counts / len(x))
        assert np.allclose(found["edges"], edges)


TASKS = [
    tacit.statistics.ridge(),
    tacit.statistics.pca(1),
    tacit.statistics.standardise(),
    tacit.statistics.histograms(3, -1.0, 1.0),
    tacit.statistics.kmeans(3, -1.0, 1.0),
]


@pytest.mark.parametrize("spec", TASKS, ids=lambda spec: getattr(spec, "of", spec.kind))
@given(seed=st.integers(0, 10**6), clip=st.floats(1e-3, 1e2))
def test_clipped_sums_are_sums_of_clipped_records(spec: Any, seed: int, clip: float) -> None:
    task, draw = spec.build(tacit.arrays(shape=(2,))), np.random.default_rng(seed)
    held = Examples(draw.normal(size=(7, 2)), draw.normal(size=7))
    params, key = draw.normal(size=task.layout.size), Key.seed(0)
    total, whole = np.zeros(task.layout.size), np.zeros(task.layout.size)
    for i in range(7):
        one = task.grad(params, held.take(slice(i, i + 1)), key).trained
        total += one * min(1.0, clip / np.linalg.norm(one))
        whole += one
    assert np.allclose(task.clipped_grad_sum(params, held, clip, key), total, atol=1e-8)
    assert np.allclose(7 * task.grad(params, held, key).trained, whole, atol=1e-9)


@pytest.mark.parametrize("spec", TASKS[:4], ids=lambda spec: spec.of)
def test_the_gradient_is_that_of_the_loss(spec: Any) -> None:
    task, draw = spec.build(tacit.arrays(shape=(2,))), np.random.default_rng(0)
    held = Examples(draw.normal(size=(7, 2)), draw.normal(size=7))
    params, step = draw.normal(size=task.layout.size), 1e-6

    def loss(at: Any) -> float:
        return float(task.grad(at, held, Key.seed(0)).loss)

    for i in range(task.layout.size):
        move = step * (np.arange(task.layout.size) == i)
        slope = (loss(params + move) - loss(params - move)) / (2 * step)
        assert slope == pytest.approx(task.grad(params, held, Key.seed(0)).trained[i], abs=1e-5)


def test_records_are_protected_by_noise_on_the_sums() -> None:
    draw, truth = np.random.default_rng(0), np.array([0.5, -0.3])
    data = {}
    for i in range(5):
        x = draw.uniform(-1, 1, (2000, 2))
        data[f"c{i}"] = (x, x @ truth + 0.1 * draw.normal(size=2000))
    chain = tacit.record_dp(epsilon=1.0, delta=1e-6, clip=2.0)
    model = run(tacit.statistics.ridge(l2=1e-3), data, chain)
    found = tacit.statistics.result(model)
    off = np.abs(found["weights"] - truth).max()
    assert 1e-6 < off < 0.15
    shares = tacit.statistics.histograms(4, -1.0, 1.0)
    counted = tacit.statistics.result(run(shares, data, chain))["shares"]
    assert 1e-9 < np.abs(counted - 0.25).max() < 0.05


@pytest.mark.parametrize(
    "make",
    [
        lambda: tacit.statistics.ridge(l2=-1.0),
        lambda: tacit.statistics.pca(0),
        lambda: tacit.statistics.histograms(0),
        lambda: tacit.statistics.histograms(3, 1.0, 1.0),
        lambda: tacit.statistics.kmeans(0),
        lambda: tacit.statistics.kmeans(2, 1.0, 0.0),
        lambda: tacit.statistics.pca(4).build(tacit.arrays(shape=(3,))),
    ],
)
def test_settings_that_mean_nothing_are_refused(make: Any) -> None:
    with pytest.raises(tacit.TacitError) as caught:
        make()
    assert caught.value.code == "task.setting"


def test_only_closed_forms_have_a_result() -> None:
    task = tacit.numpy.ridge_regression().build(tacit.arrays(shape=(3,)))
    from tacit.learn.model import Model

    with pytest.raises(tacit.TacitError, match="Network"):
        tacit.statistics.result(Model(task, np.zeros(4)))
