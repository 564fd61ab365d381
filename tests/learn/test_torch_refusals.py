"""What users get wrong with a torch model, and the error that says so."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from tacit.base.key import Key
from tacit.learn.examples import Examples
from tests.learn import torch_modules
from tests.learn.torch_cases import build, refusal, some_x, some_y

HERE = "tests.learn.torch_modules"
KEY = Key.seed(0)


def test_modules_that_cannot_be_built() -> None:
    error = refusal("task.code-fails", lambda: build(torch_modules.broken, size=7))
    assert "no size 7" in error.cause
    assert isinstance(error.__cause__, ValueError)
    refusal("task.code-fails", lambda: build(torch_modules.Linear, bogus=1))
    error = refusal("task.torch-not-a-module", lambda: build(torch_modules.not_a_module))
    assert "list" in error.cause
    refusal("task.torch-nothing-to-train", lambda: build(torch_modules.frozen))
    refusal("task.code-fails", lambda: build(nn.LazyLinear, out_features=3))


def test_a_module_of_changing_shape_cannot_start() -> None:
    built = build(torch_modules.shapeless, "mse", 0)
    refusal("task.torch-not-repeatable", lambda: built.start(Key.seed(4)))


def test_outputs_that_do_not_fit_the_labels() -> None:
    held = Examples(some_x(), some_y())
    for built, labels in (
        (build(outputs=4), held.y),
        (build(outputs=1, classes=2), held.y % 2),
        (build(torch_modules.Pair), held.y),
        (build(torch_modules.Linear, "mse", 0, outputs=3), some_x(8, 2)),
        (build(torch_modules.Linear, "mse", 0, outputs=3), held.y),
        (build(torch_modules.Linear, "bce", 2, outputs=2), held.y % 2),
    ):
        examples = Examples(held.x, labels)
        refusal("task.torch-output", lambda b=built, e=examples: b.check(e))
        params = built.start(KEY)
        refusal("task.torch-output", lambda b=built, p=params, e=examples: b.grad(p, e, KEY))


def test_a_loss_that_is_no_mean() -> None:
    built = build(torch_modules.Linear, torch_modules.not_a_mean, 0)
    refusal("task.torch-loss", lambda: built.check(Examples(some_x(), some_x()[:, 0])))
    fails = build(torch_modules.Linear, torch_modules.absolute, 0)
    error = refusal("task.code-fails", lambda: fails.check(Examples(some_x(), some_x()[:, :3])))
    assert f"{HERE}:absolute" in error.cause


def test_a_module_that_cannot_read_its_features() -> None:
    built = build(shape=(4,))
    error = refusal("task.code-fails", lambda: built.check(Examples(some_x(8, 4), some_y())))
    assert "Linear failed when it was run" in error.cause


@pytest.mark.parametrize("label", [3, -1, -100])
def test_labels_out_of_range(label: int) -> None:
    built, x, y = build(), some_x(), some_y()
    y[2] = label
    params = built.start(KEY)
    refusal("data.label-range", lambda: built.check(Examples(x, y)))
    refusal("task.label-range", lambda: built.grad(params, Examples(x, y), KEY))
    refusal("task.label-range", lambda: built.clipped_grad_sum(params, Examples(x, y), 1.0, KEY))
    refusal("task.label-range", lambda: built.evaluate(params, Examples(x, y)))


def test_examples_of_another_shape_or_not_finite() -> None:
    built = build()
    refusal("data.shape", lambda: built.check(Examples(some_x(8, 6), some_y())))
    x = some_x()
    x[3, 1] = np.nan
    refusal("data.not-finite", lambda: built.check(Examples(x, some_y())))


def test_a_diverged_model_is_an_error() -> None:
    built = build()
    params = np.full(built.layout.size, np.nan, np.float32)
    error = refusal(
        "task.loss-not-finite", lambda: built.grad(params, Examples(some_x(), some_y()), KEY)
    )
    assert "nan" in error.cause
    built.check(Examples(some_x(), some_y()))
