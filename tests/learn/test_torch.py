"""Torch tasks: what the description holds, start, losses, clipping, and every refusal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tacit.base.key import Key
from tacit.base.plain import from_plain, to_plain
from tacit.learn.contract import Arrays
from tacit.learn.examples import Examples
from tacit.learn.torch import TorchTask, task
from tests.learn import torch_modules
from tests.learn.torch_cases import build, refusal, some_x, some_y

Array = npt.NDArray[Any]
HERE = "tests.learn.torch_modules"
KEY = Key.seed(0)


# The description.


def test_a_name_and_a_class_give_one_description() -> None:
    by_name = task(f"{HERE}:Linear", outputs=4)
    by_class = task(torch_modules.Linear, outputs=4)
    assert by_name == by_class
    assert hash(by_name) == hash(by_class)
    assert by_name.model == f"{HERE}:Linear"
    assert len(by_name.source) == 64
    assert by_name != task(torch_modules.Linear, outputs=5)
    assert by_name.code == f"{HERE}:Linear sha256:{by_name.source}"


def test_a_description_survives_plain_data() -> None:
    spec = task(torch_modules.Linear, torch_modules.absolute, sizes=[1, (2, 3)], name="a")
    assert spec.options == {"sizes": (1, (2, 3)), "name": "a"}
    assert from_plain(TorchTask, to_plain(spec)) == spec
    assert f"{HERE}:absolute sha256:{spec.loss_source}" in spec.code


@pytest.mark.parametrize("value", [None, torch.relu, {"a": 1}, torch.zeros(1), [None]])
def test_options_are_plain(value: Any) -> None:
    error = refusal("task.option", lambda: task(torch_modules.Linear, width=value))
    assert "width" in error.cause


@pytest.mark.parametrize("loss", ["crossentropy", "nll", ""])
def test_unknown_losses_are_refused(loss: str) -> None:
    error = refusal("task.setting", lambda: task(torch_modules.Linear, loss))
    assert "cross_entropy, mse, bce" in error.remedy


def test_an_instance_is_no_description() -> None:
    refusal("task.code-not-named", lambda: task(nn.Linear(2, 2)))


def test_changed_code_is_not_built() -> None:
    spec = TorchTask(f"{HERE}:Linear", "0" * 64)
    refusal("task.code-changed", lambda: spec.build(Arrays((5,), 3)))
    loss = TorchTask(
        f"{HERE}:Linear", task(torch_modules.Linear).source, f"{HERE}:absolute", "0" * 64
    )
    refusal("task.code-changed", lambda: loss.build(Arrays((5,), 3)))


def test_a_custom_loss_without_a_digest_is_refused() -> None:
    source = task(torch_modules.Linear).source
    refusal("task.setting", lambda: TorchTask(f"{HERE}:Linear", source, f"{HERE}:absolute"))


def test_a_task_needs_a_contract() -> None:
    refusal("task.no-shape", lambda: task(torch_modules.Linear).build(None))
    refusal("task.classes", lambda: build(classes=0))


@pytest.mark.parametrize("value", ["0", "-1", "two", ""])
def test_threads_are_a_number(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACIT_TORCH_THREADS", value)
    refusal("task.setting", build)


def test_threads_are_one_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TACIT_TORCH_THREADS", "2")
    build()
    assert torch.get_num_threads() == 2
    monkeypatch.delenv("TACIT_TORCH_THREADS")
    build()
    assert torch.get_num_threads() == 1


def test_torch_is_imported_when_a_task_is_built() -> None:
    code = (
        "import sys, tacit.learn.torch as t\n"
        "assert 'torch' not in sys.modules\n"
        "sys.modules['torch'] = None\n"
        "from tacit.learn.contract import Arrays\n"
        "try: t.TorchTask('a:b', '0' * 64).build(Arrays((1,), 2))\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "tacit[torch]"' in done.stdout


# The start.


def test_the_start_follows_its_key_and_nothing_else() -> None:
    built = build()
    first = built.start(Key.seed(1))
    torch.manual_seed(99)
    assert np.array_equal(build().start(Key.seed(1)), first)
    assert not np.array_equal(built.start(Key.seed(2)), first)
    assert first.shape == (built.layout.size,)
    assert first.dtype == np.float32


def test_torchs_own_randomness_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    built = build(torch_modules.Dropping)
    params = built.start(KEY)
    built.grad(params, Examples(some_x(), some_y()), KEY)
    built.clipped_grad_sum(params, Examples(some_x(), some_y()), 1.0, KEY)
    assert torch.equal(torch.rand(3), expected)


def test_dropout_follows_the_key() -> None:
    built = build(torch_modules.Dropping)
    params, held = built.start(KEY), Examples(some_x(), some_y())
    gradients: list[Callable[[int], Array]] = [
        lambda seed: built.grad(params, held, Key.seed(seed)).trained,
        lambda seed: built.clipped_grad_sum(params, held, 1.0, Key.seed(seed)),
    ]
    for gradient in gradients:
        first, again, other = (gradient(seed) for seed in (1, 1, 2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
    assert built.evaluate(params, held) == built.evaluate(params, held)


def test_examples_get_dropout_of_their_own() -> None:
    built = build(torch_modules.Dropping)
    same = Examples(np.repeat(some_x(1), 2, axis=0), np.repeat(some_y(1), 2))
    total = built.clipped_grad_sum(built.start(KEY), same, 1e9, KEY)
    one = built.clipped_grad_sum(built.start(KEY), same.take(slice(0, 1)), 1e9, KEY)
    assert not np.allclose(total, 2 * one)


# Losses.


def test_gradient_of_each_loss_is_torchs() -> None:
    x, y = some_x(), some_y()
    cases: list[tuple[Any, int, int, Array, Any]] = [
        ("cross_entropy", 3, 3, y, nn.functional.cross_entropy),
        ("mse", 1, 0, some_x(8, 1)[:, 0], nn.functional.mse_loss),
        ("mse", 3, 0, some_x(8, 3), nn.functional.mse_loss),
        ("bce", 1, 2, y > 0, nn.functional.binary_cross_entropy_with_logits),
        ("bce", 3, 2, some_x(8, 3) > 0, nn.functional.binary_cross_entropy_with_logits),
        (torch_modules.smooth_cross_entropy, 3, 3, y, torch_modules.smooth_cross_entropy),
        (torch_modules.absolute, 1, 0, x[:, 0], torch_modules.absolute),
    ]
    for loss, outputs, classes, labels, reference in cases:
        built = build(torch_modules.Linear, loss, classes, outputs=outputs)
        params = built.start(KEY)
        found = built.grad(params, Examples(x, labels), KEY)
        module: Any = built.module(params)
        target = torch.from_numpy(labels)
        if classes != 3:
            target = target.float()
            target = target[:, None] if loss in {"mse", "bce"} and target.ndim == 1 else target
        value = reference(module(torch.from_numpy(x).float()), target)
        value.backward()
        expected = torch.cat([p.grad.reshape(-1) for p in module.parameters()])
        assert found.loss == pytest.approx(value.item(), rel=1e-6)
        np.testing.assert_allclose(found.trained, expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("rows", [1, 512, 1100])
def test_evaluation_in_chunks_is_exact(rows: int) -> None:
    built, x, y = build(), some_x(rows), some_y(rows)
    params = built.start(KEY)
    logits = built.module(params)(torch.from_numpy(x).float())
    total = nn.functional.cross_entropy(logits, torch.from_numpy(y), reduction="sum").item()
    found = built.evaluate(params, Examples(x, y))
    assert found.examples == rows
    assert found.loss == pytest.approx(total, rel=1e-5)
    assert found.correct == (logits.argmax(1).numpy() == y).sum()
    assert np.array_equal(built.predict(params, x), logits.argmax(1).numpy())


def test_evaluation_of_the_other_losses() -> None:
    x = some_x()
    values = build(torch_modules.Linear, "mse", 0, outputs=1)
    params = values.start(KEY)
    predicted = values.predict(params, x)
    assert predicted.shape == (8,)
    found = values.evaluate(params, Examples(x, np.zeros(8)))
    squares = (predicted.astype(float) ** 2).sum()
    assert found == pytest.approx((8, squares, float("nan")), rel=1e-5, nan_ok=True)

    several = build(torch_modules.Linear, "bce", 2, outputs=3)
    labels = several.predict(params := several.start(KEY), x)
    assert labels.dtype == np.int64
    assert several.evaluate(params, Examples(x, labels)).accuracy == 1.0
    assert several.evaluate(params, Examples(x, 1 - labels)).correct == 0.0
    assert several.evaluate(params, Examples(x, labels)).examples == 24

    smooth = build(torch_modules.Linear, torch_modules.smooth_cross_entropy)
    labels = smooth.predict(params := smooth.start(KEY), x)
    found = smooth.evaluate(params, Examples(x, labels))
    mean = smooth.grad(params, Examples(x, labels), KEY).loss
    assert found == pytest.approx((8, 8 * mean, 8), rel=1e-6)

    own = build(torch_modules.Linear, torch_modules.absolute, 0, outputs=1)
    assert own.predict(own.start(KEY), x).shape == (8,)
    assert np.isnan(own.evaluate(own.start(KEY), Examples(x, x[:, 0])).accuracy)


def test_nothing_to_evaluate_sums_to_nothing() -> None:
    built = build()
    empty = Examples(some_x()[:0], some_y()[:0])
    assert built.evaluate(built.start(KEY), empty) == (0.0, 0.0, 0.0)
    assert built.predict(built.start(KEY), empty.x).shape == (0,)


# What comes in.


def test_any_array_of_numbers_is_read_and_none_is_changed() -> None:
    built = build()
    params, y = built.start(KEY), some_y()
    whole = np.random.default_rng(0).integers(0, 2, (8, 5))
    expected = built.grad(params, Examples(whole.astype(np.float32), y), KEY).trained
    fixed = whole.astype(np.float32)
    fixed.flags.writeable = False
    for x in (
        whole.astype(np.float64),
        whole.astype(np.float16),
        whole.astype(bool),
        fixed,
        np.asfortranarray(whole.astype(np.float32)),
        whole.astype(np.float32)[::-1][::-1],
    ):
        for labels in (y, y.astype(np.int8), y.astype(np.float64)):
            found = built.grad(params, Examples(x, labels), KEY).trained
            np.testing.assert_array_equal(found, expected)
    params.flags.writeable = False
    assert np.array_equal(
        built.grad(params, Examples(whole.astype(float), y), KEY).trained, expected
    )


def test_a_unit_of_result_is_the_callers_own() -> None:
    built = build()
    params, held = built.start(KEY), Examples(some_x(), some_y())
    first = built.grad(params, held, KEY).trained
    kept = first.copy()
    first += 1.0
    assert np.array_equal(built.grad(params, held, KEY).trained, kept)
    start = built.start(KEY)
    start += 1.0
    assert np.array_equal(built.start(KEY), params)


# Clipping.


@given(st.floats(1e-3, 1e3), st.integers(1, 12), st.integers(0, 5))
def test_one_example_changes_a_clipped_sum_by_the_clip_at_most(
    clip: float, rows: int, seed: int
) -> None:
    built = build(torch_modules.Linear)
    params = built.start(Key.seed(seed))
    held = Examples(100.0 * some_x(rows), some_y(rows))
    total = built.clipped_grad_sum(params, held, clip, KEY).astype(np.float64)
    fewer = held.take(slice(0, rows - 1))
    rest = built.clipped_grad_sum(params, fewer, clip, KEY) if rows > 1 else 0.0
    one = built.clipped_grad_sum(params, held.take(slice(rows - 1, rows)), clip, KEY)
    assert np.linalg.norm(one.astype(np.float64)) <= clip
    np.testing.assert_allclose(total - rest, one, atol=2e-6 * clip * rows)


def test_without_effect_a_clip_leaves_the_gradient() -> None:
    built = build()
    params, held = built.start(KEY), Examples(some_x(), some_y())
    total = built.clipped_grad_sum(params, held, 1e6, KEY)
    np.testing.assert_allclose(total / 8, built.grad(params, held, KEY).trained, atol=1e-6)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    built = build()
    params, held = built.start(KEY), Examples(some_x(), some_y())
    whole = built.clipped_grad_sum(params, held, 0.5, KEY)
    monkeypatch.setattr("tacit.learn.torch_clipped.COORDINATES", 3 * built.layout.trained)
    np.testing.assert_allclose(built.clipped_grad_sum(params, held, 0.5, KEY), whole, atol=1e-6)


def test_an_example_whose_gradient_is_not_finite_shows_in_the_sum() -> None:
    built = build(torch_modules.Logarithm)
    params = built.start(KEY)
    x, y = np.abs(some_x()), some_y()
    assert np.isfinite(built.clipped_grad_sum(params, Examples(x, y), 1.0, KEY)).all()
    x[2, 0] = -1.0
    assert not np.isfinite(built.clipped_grad_sum(params, Examples(x, y), 1.0, KEY)).any()
    refusal("task.loss-not-finite", lambda: built.grad(params, Examples(x, y), KEY))


def test_batch_norm_has_no_gradient_of_one_example() -> None:
    built = build(nn.BatchNorm1d, num_features=3, shape=(3,))
    held = Examples(some_x(4, 3), some_y(4))
    error = refusal("task.mixes", lambda: built.clipped_grad_sum(built.start(KEY), held, 1.0, KEY))
    assert "BatchNorm1d" in error.cause
    one = held.take(slice(0, 1))
    error = refusal("task.torch-batch-of-one", lambda: built.grad(built.start(KEY), one, KEY))
    assert "group normalisation" in error.remedy


def test_the_layout_knows_the_width_of_its_numbers() -> None:
    assert build(torch_modules.Linear).layout.itemsize == 4
