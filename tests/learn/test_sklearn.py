"""scikit-learn's linear estimators: the same objective and optimum, and a fitted estimator."""

from __future__ import annotations

import functools
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    Ridge,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.validation import check_is_fitted

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.plain import from_plain, to_plain
from tacit.base.vector import Vector
from tacit.learn.algorithm import Aggregate
from tacit.learn.contract import Arrays
from tacit.learn.examples import Examples
from tacit.learn.fedsgd import fedsgd
from tacit.learn.local import Home
from tacit.learn.sklearn import SklearnTask, task
from tacit.learn.sklearn_linear import LinearModel

Array = npt.NDArray[Any]

KEY = Key.seed(0)
ROWS, FEATURES, SITES = 120, 4, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, FEATURES)) + 0.5
NOISE = RNG.normal(size=ROWS)
SCORES = X @ RNG.normal(size=(FEATURES, 3)) + 0.7 * RNG.normal(size=(ROWS, 3))


def _labels(classes: int) -> Array:
    if not classes:
        return np.asarray(SCORES[:, 0] + 2.0 + NOISE)
    return np.asarray((SCORES[:, 0] > 0).astype(int) if classes == 2 else SCORES.argmax(axis=1))


def _built(spec: SklearnTask, classes: int) -> LinearModel:
    built = spec.build(Arrays((FEATURES,), classes))
    built.check(Examples(X, _labels(classes)))
    return built


def _federated(built: LinearModel, classes: int, lr: float = 0.5, rounds: int = 1500) -> Vector:
    """Full-batch gradient descent with momentum over three sites of one size."""
    algorithm = fedsgd(lr, momentum=0.9).build()
    y, size = _labels(classes), ROWS // SITES
    sites = [
        Home(built, Examples(X[i : i + size], y[i : i + size]), KEY) for i in range(0, ROWS, size)
    ]
    state = algorithm.start(built.start(KEY))
    for _ in range(rounds):
        offer = algorithm.offer(state)
        found = [algorithm.visit(offer, None, site)[0].update for site in sites]
        state = algorithm.apply(
            state, Aggregate(np.mean(found, axis=0), {}, len(found)), built.layout
        )
    trained: Vector = state["params"]
    return trained


def _refused(code: str, action: Callable[[], Any]) -> TacitError:
    with pytest.raises(TacitError) as refused:
        action()
    assert refused.value.code == code, refused.value
    return refused.value


EXACT: list[tuple[Any, int, float]] = [
    (LogisticRegression(tol=1e-10, max_iter=5000), 2, 0.5),
    (LogisticRegression(C=0.1, tol=1e-10, max_iter=5000), 3, 0.5),
    (LogisticRegression(C=np.inf, tol=1e-10, max_iter=5000, fit_intercept=False), 2, 0.5),
    (LinearSVC(tol=1e-10, max_iter=200000), 2, 0.05),
    (LinearSVC(C=0.2, tol=1e-10, max_iter=200000, intercept_scaling=2.0), 3, 0.05),
    (LinearSVC(C=0.2, tol=1e-10, max_iter=200000, fit_intercept=False), 3, 0.05),
    (Ridge(), 0, 0.1),
    (Ridge(alpha=30.0, fit_intercept=False), 0, 0.1),
    (LinearRegression(), 0, 0.1),
]


@pytest.mark.parametrize(("estimator", "classes", "lr"), EXACT)
def test_federated_training_finds_what_fit_finds(estimator: Any, classes: int, lr: float) -> None:
    expected = clone(estimator).fit(X, _labels(classes))
    built = _built(task(estimator, records=ROWS), classes)
    found = built.estimator(_federated(built, classes, lr))
    np.testing.assert_allclose(found.coef_, expected.coef_, atol=2e-5)
    np.testing.assert_allclose(found.intercept_, expected.intercept_, atol=2e-5)


def test_sgd_estimators_weigh_their_penalty_against_the_mean() -> None:
    alpha = 0.05
    y = _labels(3)
    built = _built(task(SGDClassifier(loss="log_loss", alpha=alpha)), 3)
    found = built.estimator(_federated(built, 3))
    for one in range(3):
        rest = LogisticRegression(C=1 / (alpha * ROWS), tol=1e-10, max_iter=5000).fit(X, y == one)
        np.testing.assert_allclose(found.coef_[one], rest.coef_[0], atol=2e-5)
        np.testing.assert_allclose(found.intercept_[one], rest.intercept_[0], atol=2e-5)

    built = _built(task(SGDRegressor(alpha=alpha)), 0)
    found = built.estimator(_federated(built, 0, lr=0.1))
    ridge = Ridge(alpha=alpha * ROWS).fit(X, _labels(0))
    np.testing.assert_allclose(found.coef_, ridge.coef_, atol=2e-5)

    built = _built(task("SGDClassifier", loss="squared_hinge", penalty=None), 2)
    found = built.estimator(_federated(built, 2, lr=0.05))
    svc = LinearSVC(C=1e6, tol=1e-8, max_iter=10**6).fit(X, _labels(2))
    np.testing.assert_allclose(found.coef_, svc.coef_, atol=5e-3)


FITTED: list[tuple[Any, int]] = [
    (LogisticRegression(), 2),
    (LogisticRegression(), 3),
    (LinearSVC(), 2),
    (LinearSVC(), 3),
    (SGDClassifier(loss="log_loss", random_state=0), 2),
    (SGDClassifier(loss="log_loss", random_state=0), 3),
    (SGDClassifier(random_state=0), 3),
    (SGDRegressor(random_state=0), 0),
    (SGDRegressor(loss="huber", epsilon=0.5, random_state=0), 0),
    (Ridge(), 0),
    (LinearRegression(), 0),
    (LinearRegression(fit_intercept=False), 0),
]


@pytest.mark.parametrize(("estimator", "classes"), FITTED)
def test_the_estimator_behaves_as_scikit_learns_own(estimator: Any, classes: int) -> None:
    y = _labels(classes)
    theirs = clone(estimator).fit(X, y)
    built = _built(task(estimator, records=ROWS), classes)
    arrays = {"coef": np.atleast_2d(theirs.coef_), "intercept": theirs.intercept_}
    params = built.layout.pack(arrays)
    ours = built.estimator(params)
    check_is_fitted(ours)
    assert ours.get_params() == theirs.get_params()
    assert ours.coef_.shape == theirs.coef_.shape
    assert np.shape(ours.intercept_) == np.shape(theirs.intercept_)
    assert ours.n_features_in_ == theirs.n_features_in_
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(built.predict(params, X), theirs.predict(X))
    assert ours.score(X, y) == theirs.score(X, y)
    if hasattr(theirs, "predict_proba"):
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X))
    if classes:
        np.testing.assert_array_equal(ours.classes_, theirs.classes_)
        assert built.evaluate(params, Examples(X, y)).accuracy == theirs.score(X, y)
    else:
        assert math.isnan(built.evaluate(params, Examples(X, y)).accuracy)


def test_the_estimator_does_not_share_memory_with_the_model() -> None:
    built = _built(task("LinearRegression"), 0)
    params = built.start(KEY)
    ours = built.estimator(params)
    ours.coef_ += 1.0
    assert not params.any()


MODELS: dict[str, tuple[SklearnTask, int]] = {
    "logistic": (task("LogisticRegression", records=ROWS, C=0.05), 2),
    "multinomial": (task("LogisticRegression", records=ROWS, C=0.05), 3),
    "one against the rest": (task("SGDClassifier", loss="log_loss", alpha=0.3), 3),
    "hinge": (task("SGDClassifier", alpha=0.3), 3),
    "unpenalised": (task("SGDClassifier", penalty=None), 2),
    "squared hinge": (task("LinearSVC", records=ROWS, C=0.05, intercept_scaling=0.5), 3),
    "ridge": (task("Ridge", records=ROWS, alpha=40.0), 0),
    "no intercept": (task("Ridge", records=ROWS, alpha=40.0, fit_intercept=False), 0),
    "huber": (task("SGDRegressor", loss="huber", epsilon=0.5, alpha=0.3), 0),
}


def _at(name: str, seed: int) -> tuple[LinearModel, Vector, Examples]:
    spec, classes = MODELS[name]
    built = _built(spec, classes)
    params = np.random.default_rng(seed).normal(size=built.layout.size)
    return built, params, Examples(X, _labels(classes))


@pytest.mark.parametrize("name", MODELS)
def test_gradient_is_the_derivative_of_the_loss(name: str) -> None:
    built, params, held = _at(name, 1)
    found = built.grad(params, held, KEY)
    step = 1e-6
    numeric = [
        (built.grad(params + move, held, KEY).loss - built.grad(params - move, held, KEY).loss)
        / (2 * step)
        for move in step * np.eye(len(params))
    ]
    np.testing.assert_allclose(found.trained, numeric, atol=1e-6)
    assert found.buffers.shape == (0,)


@pytest.mark.parametrize("name", MODELS)
def test_reported_loss_is_the_data_loss_and_the_trained_one_adds_the_penalty(name: str) -> None:
    built, params, held = _at(name, 2)
    coef, intercept = built.layout.unpack(params)["coef"], params[built.outputs * FEATURES :]
    penalty = built.l2 * (coef**2).sum() / 2 + built.l2_intercept * (intercept**2).sum() / 2
    data = built.evaluate(params, held).mean_loss
    assert built.grad(params, held, KEY).loss == pytest.approx(data + penalty)


@given(st.sampled_from(sorted(MODELS)), st.integers(0, 50), st.floats(1e-3, 1e3))
def test_clipped_sum_is_that_of_single_examples(name: str, seed: int, clip: float) -> None:
    built, params, held = _at(name, seed)
    few = held.take(slice(seed, seed + 7))
    singles = [
        built.grad(params, few.take(slice(row, row + 1)), KEY).trained for row in range(few.count)
    ]
    factors = [clip / max(float(np.linalg.norm(one)), clip) for one in singles]
    expected = sum(factor * one for factor, one in zip(factors, singles, strict=True))
    found = built.clipped_grad_sum(params, few, clip, KEY)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * clip)
    one = built.clipped_grad_sum(params, few.take(slice(0, 1)), clip, KEY)
    assert np.linalg.norm(one) <= clip


@given(st.integers(0, 10**6), st.floats(-3, 3))
def test_cancellation_never_lets_a_norm_through(seed: int, exponent: float) -> None:
    """An example whose error cancels the penalty: its small norm is rounded up, never down."""
    built = _built(task("Ridge", records=1, alpha=1.0, fit_intercept=False), 0)
    x = np.random.default_rng(seed).normal(size=(1, FEATURES)) * 10.0**exponent
    params = x[0].copy()
    label = x[0] @ params + 1.0 + 1e-9
    clip = 1e-12
    found = built.clipped_grad_sum(params, Examples(x, np.array([label])), clip, KEY)
    assert np.linalg.norm(found) <= clip * (1 + 1e-9)


def test_features_of_any_shape_are_flattened() -> None:
    built = task("LinearRegression").build(Arrays((2, 2)))
    x = X.reshape(ROWS, 2, 2)
    params = built.start(KEY) + 0.3
    flat = _built(task("LinearRegression"), 0)
    y = _labels(0)
    built.check(Examples(x, y))
    first, second = (
        one.grad(params, Examples(held, y), KEY).trained for one, held in ((built, x), (flat, X))
    )
    assert np.array_equal(first, second)


# The description.


def test_an_estimator_a_class_and_a_name_give_one_description() -> None:
    by_instance = task(SGDClassifier(loss="log_loss", alpha=0.01, penalty=None, max_iter=7))
    by_class = task(SGDClassifier, loss="log_loss", alpha=0.01, penalty=None, max_iter=7)
    by_name = task("SGDClassifier", loss="log_loss", alpha=0.01, penalty=None, max_iter=7)
    assert by_instance == by_class == by_name
    assert by_name.options == {
        "loss": "log_loss",
        "alpha": 0.01,
        "penalty": "none",
        "max_iter": 7,
    }
    assert from_plain(SklearnTask, to_plain(by_name)) == by_name
    assert hash(by_instance) == hash(by_name)
    assert by_name.code == ""
    assert task(LinearRegression()).options == {}
    assert task(LogisticRegression(), records=5).options == {}
    assert task(Ridge(alpha=np.float64(2.0)), records=5).options == {"alpha": 2.0}


def test_training_needs_no_scikit_learn() -> None:
    code = (
        "import sys\n"
        "sys.modules['sklearn'] = None\n"
        "from tacit.learn.sklearn import task\n"
        "from tacit.learn.contract import Arrays\n"
        "from tacit.base.key import Key\n"
        "built = task('LinearRegression').build(Arrays((2,)))\n"
        "params = built.start(Key.seed(0))\n"
        "print(built.predict(params, params[None, :2]))\n"
        "try: built.estimator(params)\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[0.]")
    assert 'pip install "tacit[sklearn]"' in done.stdout


class Custom(Ridge):  # type: ignore[misc]  # scikit-learn has no types
    pass


@pytest.mark.parametrize(
    "estimator", [Lasso(), make_pipeline(StandardScaler(), Ridge()), "Lasso", Custom(), Lasso, 3]
)
def test_other_estimators_are_refused(estimator: Any) -> None:
    error = _refused("task.sklearn-estimator", lambda: task(estimator))
    assert "LogisticRegression" in error.cause
    assert "Ridge" in error.cause


REFUSED: list[tuple[str, Any, str]] = [
    ("penalty", LogisticRegression(l1_ratio=1.0, solver="saga"), "l1_ratio"),
    ("solver", LogisticRegression(solver="liblinear"), "lbfgs"),
    ("weights", LogisticRegression(class_weight="balanced"), "class_weight"),
    ("lasso", SGDClassifier(penalty="l1"), "penalty=l2 or none"),
    ("elastic", SGDRegressor(penalty="elasticnet"), "penalty=l2 or none"),
    ("perceptron", SGDClassifier(loss="perceptron"), "log_loss"),
    ("quantile", SGDRegressor(loss="epsilon_insensitive"), "huber"),
    ("positive", Ridge(positive=True), "positive=False"),
    ("crammer", LinearSVC(multi_class="crammer_singer"), "multi_class=ovr"),
    ("negative", SGDClassifier(alpha=-1.0), "a number from 0"),
    ("zero", LogisticRegression(C=0.0), "a number above 0"),
    ("nan", SGDClassifier(alpha=float("nan")), "a number from 0"),
]


@pytest.mark.parametrize(
    ("estimator", "named"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_objectives_without_a_federated_form_are_refused(estimator: Any, named: str) -> None:
    error = _refused("task.sklearn-setting", lambda: task(estimator, records=ROWS))
    assert named in f"{error.cause} {error.remedy}"


def test_settings_that_do_not_exist_or_are_not_plain() -> None:
    error = _refused("task.sklearn-option", lambda: task("Ridge", records=1, alhpa=2.0))
    assert "Did you mean 'alpha'?" in error.remedy
    _refused("task.sklearn-option", lambda: task("Ridge", records=1, loss="huber"))
    _refused("task.option", lambda: task(Ridge(alpha=np.ones(2)), records=1))
    _refused("task.option", lambda: task(SGDClassifier(random_state=np.random.RandomState(0))))
    _refused("task.option", lambda: task(LinearSVC(class_weight={0: 2.0}), records=1))


@pytest.mark.parametrize("name", ["LogisticRegression", "LinearSVC", "Ridge"])
def test_a_penalty_against_a_sum_needs_the_number_of_records(name: str) -> None:
    for records in (0, -3):
        error = _refused("task.sklearn-records", functools.partial(task, name, records))
        assert "records=" in error.remedy
    assert "SGD" in error.remedy
    assert task("LogisticRegression", penalty=None).build(Arrays((1,), 2)).l2 == 0.0
    assert task("LogisticRegression", C=float("inf")).build(Arrays((1,), 2)).l2 == 0.0
    assert task("Ridge", alpha=0.0).build(Arrays((1,))).l2 == 0.0
    assert task("Ridge", records=10).build(Arrays((1,))).l2 == 0.1


def test_what_the_data_contract_must_say() -> None:
    spec = task("SGDClassifier")
    _refused("task.no-shape", lambda: spec.build(None))
    error = _refused("task.classes", lambda: spec.build(Arrays((2,))))
    assert "SGDClassifier" in error.cause
    built = spec.build(Arrays((FEATURES,), 2))
    _refused("data.label-range", lambda: built.check(Examples(X, _labels(3))))
    _refused("data.shape", lambda: built.check(Examples(X[:, :2], _labels(2))))
    assert built.mixes is None
