"""The scikit-learn estimators that have a federated form, and what their settings mean.

The defaults are kept here rather than asked of the installed package, so that a description means
the same under any version of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tacit.base.errors import TacitError
from tacit.base.nearest import did_you_mean
from tacit.learn.losses import Sigmoid, Softmax, Squared
from tacit.learn.sklearn_linear import HINGE, LOG, SQUARED_HINGE, Huber, ScoreLoss

Settings = Mapping[str, Any]


class Known(NamedTuple):
    """An estimator that can be trained here.

    `objective`: the settings that say what is minimised, with their defaults; `solver`: the
    settings that only say how, which have no effect here; `losses`: its own default first.
    `strength`: weight of the penalty |w|^2/2, against the sum of all losses if `per_sum`.
    """

    module: str
    losses: tuple[str, ...]
    objective: Settings
    solver: tuple[str, ...]
    strength: Callable[[Settings], float]
    regression: bool = False
    per_sum: bool = False
    instead: str = ""

    def settings(self, options: Settings) -> Settings:
        """All settings of the objective; None is "none"."""
        return {"loss": self.losses[0], **self.objective, **options}


def _by_alpha(settings: Settings) -> float:
    return 0.0 if settings.get("penalty") == "none" else float(settings["alpha"])


def _by_c(settings: Settings) -> float:
    return 0.0 if settings["penalty"] == "none" else 1.0 / float(settings["C"])


def _unpenalised(_: Settings) -> float:
    return 0.0


_CLASSES = {"class_weight": "none", "penalty": "l2", "fit_intercept": True}
_COMMON = ("max_iter", "random_state", "tol", "verbose")
_SGD = (
    *_COMMON,
    *("average", "early_stopping", "eta0", "l1_ratio", "learning_rate", "n_iter_no_change"),
    *("power_t", "shuffle", "validation_fraction", "warm_start"),
)

KNOWN: Mapping[str, Known] = {
    "LogisticRegression": Known(
        "sklearn.linear_model",
        ("multinomial",),
        {"C": 1.0, "l1_ratio": 0.0, "solver": "lbfgs", "multi_class": "auto", **_CLASSES},
        (*_COMMON, "dual", "intercept_scaling", "n_jobs", "warm_start"),
        _by_c,
        per_sum=True,
        instead='SGDClassifier(loss="log_loss")',
    ),
    "LinearSVC": Known(
        "sklearn.svm",
        ("squared_hinge", "hinge"),
        {"C": 1.0, "intercept_scaling": 1.0, "multi_class": "ovr", **_CLASSES},
        (*_COMMON, "dual"),
        _by_c,
        per_sum=True,
        instead='SGDClassifier(loss="squared_hinge")',
    ),
    "SGDClassifier": Known(
        "sklearn.linear_model",
        ("hinge", "log_loss", "squared_hinge"),
        {"alpha": 1e-4, **_CLASSES},
        (*_SGD, "epsilon", "n_jobs"),
        _by_alpha,
    ),
    "SGDRegressor": Known(
        "sklearn.linear_model",
        ("squared_error", "huber"),
        {"alpha": 1e-4, "epsilon": 0.1, "penalty": "l2", "fit_intercept": True},
        _SGD,
        _by_alpha,
        regression=True,
    ),
    "Ridge": Known(
        "sklearn.linear_model",
        ("squared_error",),
        {"alpha": 1.0, "positive": False, "fit_intercept": True},
        ("copy_X", "max_iter", "random_state", "solver", "tol"),
        _by_alpha,
        regression=True,
        per_sum=True,
        instead="SGDRegressor",
    ),
    "LinearRegression": Known(
        "sklearn.linear_model",
        ("squared_error",),
        {"positive": False, "fit_intercept": True},
        ("copy_X", "n_jobs", "tol"),
        _unpenalised,
        regression=True,
    ),
}

_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "penalty": ("l2", "none"),
    "fit_intercept": (True, False),
    "l1_ratio": (0.0, "none"),
    "solver": ("lbfgs", "newton-cg", "newton-cholesky", "sag", "saga"),
}
"""What a setting of the objective may be; one that is not here keeps its default."""

_ABOVE_ZERO = ("C", "intercept_scaling")
_FROM_ZERO = ("alpha", "epsilon")


def known(name: str) -> Known:
    """The estimator of that name, or `task.sklearn-estimator`."""
    if name not in KNOWN:
        raise TacitError("task.sklearn-estimator", name=name, known=", ".join(sorted(KNOWN)))
    return KNOWN[name]


def check_option(name: str, option: str, value: Any) -> None:
    """Refuse a setting that does not exist, or one whose objective has no federated form."""
    one = known(name)
    if option in one.solver:
        return
    own = [*one.objective, *(["loss"] if len(one.losses) > 1 else [])]
    if option not in own:
        hint = did_you_mean(option, [*own, *one.solver])
        raise TacitError("task.sklearn-option", name=name, option=option, hint=hint)
    if not _allowed(one, option, value):
        allowed = " or ".join(_choices(one, option))
        raise TacitError(
            "task.sklearn-setting", name=name, option=option, value=value, allowed=allowed
        )


def loss_of(settings: Settings, classes: int) -> ScoreLoss:
    """The loss that the settings name."""
    if settings["loss"] == "huber":
        return Huber(float(settings["epsilon"]))
    losses: dict[str, ScoreLoss] = {
        "multinomial": Sigmoid() if classes == 2 else Softmax(),
        "log_loss": LOG,
        "hinge": HINGE,
        "squared_hinge": SQUARED_HINGE,
        "squared_error": Squared(),
    }
    return losses[settings["loss"]]


def _allowed(one: Known, option: str, value: Any) -> bool:
    if option in _ABOVE_ZERO:
        return isinstance(value, int | float) and value > 0
    if option in _FROM_ZERO:
        return isinstance(value, int | float) and 0 <= value < float("inf")
    if option == "loss":
        return value in one.losses
    return value in _CHOICES.get(option, (one.objective[option],))


def _choices(one: Known, option: str) -> list[str]:
    if option in _ABOVE_ZERO + _FROM_ZERO:
        return ["a number from 0" if option in _FROM_ZERO else "a number above 0"]
    choices = one.losses if option == "loss" else _CHOICES.get(option, (one.objective[option],))
    return [str(choice) for choice in choices]
