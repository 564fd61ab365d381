"""scikit-learn's linear estimators as tasks: their loss and penalty, trained by any algorithm.

What an estimator's solver is told (`max_iter`, `tol`, `learning_rate` ...) has no effect: the
federated algorithm is the solver. What it is told about the objective has exactly its meaning in
scikit-learn. There, the SGD estimators weigh `alpha/2 |w|^2` against the *mean* loss;
LogisticRegression, LinearSVC (`C`) and Ridge (`alpha`) weigh their penalty against the *sum* over
all records, so for these the public number of all records belongs to the description:
l2 = 1 / (C records), or alpha / records.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.base.extras import optional
from tacit.learn.contract import DataContract
from tacit.learn.sklearn_known import Settings, check_option, known, loss_of
from tacit.learn.sklearn_linear import LinearModel


@final
@dataclass(frozen=True)
class SklearnTask:
    """An estimator's name and its settings that are not scikit-learn's defaults; see `task`.

    `records`: the public number of records of the whole federation, 0 where it plays no part.
    None is written as "none".
    """

    kind: ClassVar[str] = "sklearn"

    estimator: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    records: int = 0

    def __post_init__(self) -> None:
        one = known(self.estimator)
        for option, value in self.options.items():
            check_option(self.estimator, option, value)
        if one.per_sum and one.strength(self._settings) > 0 and self.records < 1:
            raise TacitError("task.sklearn-records", name=self.estimator, instead=one.instead)

    @property
    def code(self) -> str:
        """User code that a client would run: none."""
        return ""

    def build(self, contract: DataContract | None) -> LinearModel:
        """The linear model for a contract's features and classes; scikit-learn is not needed.

        Errors: `task.no-shape`, `task.classes`.
        """
        if contract is None:
            raise TacitError("task.no-shape")
        classes = 0 if known(self.estimator).regression else contract.classes
        if classes < 2 and not known(self.estimator).regression:
            raise TacitError("task.classes", what=self.estimator, classes=classes)
        return LinearModel(
            contract.shape,
            classes,
            classes if classes > 2 else 1,
            loss_of(self._settings, classes),
            self._l2,
            self._l2_intercept,
            bool(self._settings["fit_intercept"]),
            functools.partial(fitted, self),
        )

    @property
    def _settings(self) -> Settings:
        return known(self.estimator).settings(self.options)

    @property
    def _l2(self) -> float:
        one = known(self.estimator)
        strength = one.strength(self._settings)
        return strength / self.records if strength and one.per_sum else strength

    @property
    def _l2_intercept(self) -> float:
        """LinearSVC penalises the weight of a constant feature, intercept / intercept_scaling."""
        if self.estimator != "LinearSVC":
            return 0.0
        return self._l2 / float(self._settings["intercept_scaling"]) ** 2


def task(estimator: Any = "LogisticRegression", records: int = 0, **options: Any) -> SklearnTask:
    """A linear estimator of scikit-learn as a task.

    `estimator`: LogisticRegression, LinearSVC, SGDClassifier (hinge, log_loss, squared_hinge),
    SGDRegressor (squared_error, huber), Ridge or LinearRegression: an instance, the class or its
    name, with `options` as its settings. Penalties are L2 or none.

    `records`: how many training records the federation has in all; needed where scikit-learn
    weighs the penalty against a sum of losses.

    After a run, `spec.build(contract).estimator(params)` is the fitted estimator.

    Errors: `task.sklearn-estimator`, `task.sklearn-option`, `task.sklearn-setting`,
    `task.sklearn-records`, `task.option`.
    """
    name, given = _described(estimator)
    plain = {option: _plain(option, value) for option, value in {**given, **options}.items()}
    return SklearnTask(name, plain, records)


def fitted(
    spec: SklearnTask, coef: npt.NDArray[Any], intercept: npt.NDArray[Any], classes: int
) -> Any:
    """The estimator with the attributes that scikit-learn's own `fit` would set."""
    one = known(spec.estimator)
    settings = {name: None if held == "none" else held for name, held in spec.options.items()}
    estimator = getattr(optional(one.module, "tacit.sklearn"), spec.estimator)(**settings)
    scalar = spec.estimator in {"Ridge", "LinearRegression"}
    estimator.coef_ = coef[0] if one.regression else coef
    estimator.intercept_ = float(intercept[0]) if scalar else intercept
    estimator.n_features_in_ = coef.shape[1]
    if classes:
        estimator.classes_ = np.arange(classes)
    return estimator


def _described(estimator: Any) -> tuple[str, Settings]:
    """Name and settings of an instance, a class or a name."""
    if isinstance(estimator, str):
        return estimator, {}
    kind = estimator if isinstance(estimator, type) else type(estimator)
    ours = kind.__module__.startswith("sklearn.")
    one = known(kind.__name__ if ours else f"{kind.__module__}.{kind.__name__}")
    if isinstance(estimator, type):
        return kind.__name__, {}
    defaults = {**kind().get_params(), **one.settings({})}
    given = {name: _plain(name, value) for name, value in estimator.get_params().items()}
    changed = {n: v for n, v in given.items() if v not in ("deprecated", _plain(n, defaults[n]))}
    return kind.__name__, changed


def _plain(name: str, value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if value is None:
        return "none"
    if not isinstance(value, bool | int | float | str):
        raise TacitError("task.option", name=name, kind=type(value).__name__)
    return value
