from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tacit
from tacit.base.key import Key
from tacit.learn.contract import Arrays
from tacit.learn.examples import Examples
from tacit.learn.numpy import Network, NumpyTask

KEY = Key.seed(0)
SPECS = [
    (tacit.numpy.logistic_regression(), 2),
    (tacit.numpy.logistic_regression(l2=0.1), 4),
    (tacit.numpy.ridge_regression(l2=0.3), 0),
    (tacit.numpy.mlp((7, 5)), 3),
    (tacit.numpy.mlp((6,), l2=0.2), 2),
]


def made(spec: NumpyTask, classes: int) -> tuple[Network, Examples, np.ndarray]:
    draw = np.random.default_rng(1)
    network = spec.build(Arrays((4,), classes))
    labels = draw.integers(0, classes, 9) if classes else draw.normal(size=9)
    params = network.start(KEY) + 0.1 * draw.normal(size=network.layout.size)
    return network, Examples(draw.normal(size=(9, 4)), labels), params


@pytest.mark.parametrize(("spec", "classes"), SPECS)
def test_gradient_is_the_derivative_of_the_loss(spec: NumpyTask, classes: int) -> None:
    network, batch, params = made(spec, classes)
    found = network.grad(params, batch, KEY).trained
    tiny = 1e-6 * np.eye(len(params))
    numeric = [
        (network.grad(params + e, batch, KEY).loss - network.grad(params - e, batch, KEY).loss)
        / 2e-6
        for e in tiny
    ]
    assert np.allclose(found, numeric, atol=1e-7)


@pytest.mark.parametrize(("spec", "classes"), SPECS)
def test_clipped_sum_equals_one_by_one(spec: NumpyTask, classes: int) -> None:
    network, batch, params = made(spec, classes)
    single = np.array(
        [network.grad(params, batch.take(slice(i, i + 1)), KEY).trained for i in range(9)]
    )
    norms = np.linalg.norm(single, axis=1)
    clip = float(np.median(norms))
    reference = (single * np.minimum(1, clip / norms)[:, None]).sum(axis=0)
    assert np.allclose(network.clipped_grad_sum(params, batch, clip, KEY), reference, atol=1e-9)


@settings(max_examples=50)
@given(st.floats(1e-3, 1e3), st.floats(1e-6, 1e6), st.integers(0, 1000))
def test_no_record_exceeds_the_clipping_norm(clip: float, size: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    network = tacit.numpy.mlp((3,)).build(Arrays((2,), 3))
    record = Examples(size * draw.normal(size=(1, 2)), draw.integers(0, 3, 1))
    params = draw.normal(size=network.layout.size)
    total = network.clipped_grad_sum(params, record, clip, KEY)
    assert np.linalg.norm(total) <= clip


def test_evaluate_and_predict_agree() -> None:
    network, batch, params = made(*SPECS[1])
    tallies = network.evaluate(params, batch)
    right = (network.predict(params, batch.x) == batch.y).mean()
    assert tallies.accuracy == pytest.approx(right)
    assert np.allclose(network.scores(params, batch.x).sum(axis=1), 1)


def test_extreme_logits_stay_finite() -> None:
    network = tacit.numpy.logistic_regression().build(Arrays((1,), 2))
    found = network.grad(
        np.array([1e4, 0.0]), Examples(np.array([[1.0], [-1.0]]), np.array([0, 1])), KEY
    )
    assert np.isfinite(found.loss) and np.isfinite(found.trained).all()


def test_settings_that_mean_nothing_are_refused() -> None:
    for make in (
        lambda: tacit.numpy.logistic_regression(l2=-1.0),
        lambda: tacit.numpy.mlp((0,)),
        lambda: tacit.numpy.logistic_regression().build(None),
    ):
        with pytest.raises(tacit.TacitError):
            make()
