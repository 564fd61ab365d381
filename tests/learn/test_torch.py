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

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.plain import from_plain, to_plain
from tacit.learn.contract import Arrays
from tacit.learn.examples import Examples
from tacit.learn.torch import TorchTask, task
from tacit.learn.torch_model import TorchModel
from tests.learn import torch_modules

Array = npt.NDArray[Any]
HERE = "tests.learn.torch_modules"
KEY = Key.seed(0)


def _x(rows: int = 8, *shape: int) -> Array:
    return np.random.default_rng(0).normal(size=(rows, *(shape or (5,))))


def _y(rows: int = 8, classes: int = 3) -> Array:
    return np.random.default_rng(1).integers(0, classes, rows)


def _built(
    model: Any = torch_modules.Linear,
    loss: Any = "cross_entropy",
    classes: int = 3,
    shape: tuple[int, ...] = (5,),
    **options: Any,
) -> TorchModel:
    return task(model, loss, **options).build(Arrays(shape, classes))


def _refused(code: str, action: Any) -> TacitError:
    with pytest.raises(TacitError) as refused:
        action()
    assert refused.value.code == code, refused.value
    return refused.value


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
    error = _refused("task.option", lambda: task(torch_modules.Linear, width=value))
    assert "width" in error.cause


@pytest.mark.parametrize("loss", ["crossentropy", "nll", ""])
def test_unknown_losses_are_refused(loss: str) -> None:
    error = _refused("task.setting", lambda: task(torch_modules.Linear, loss))
    assert "cross_entropy, mse, bce" in error.remedy


def test_an_instance_is_no_description() -> None:
    _refused("task.code-not-named", lambda: task(nn.Linear(2, 2)))


def test_changed_code_is_not_built() -> None:
    spec = TorchTask(f"{HERE}:Linear", "0" * 64)
    _refused("task.code-changed", lambda: spec.build(Arrays((5,), 3)))
    loss = TorchTask(
        f"{HERE}:Linear", task(torch_modules.Linear).source, f"{HERE}:absolute", "0" * 64
    )
    _refused("task.code-changed", lambda: loss.build(Arrays((5,), 3)))


def test_a_custom_loss_without_a_digest_is_refused() -> None:
    source = task(torch_modules.Linear).source
    _refused("task.setting", lambda: TorchTask(f"{HERE}:Linear", source, f"{HERE}:absolute"))


def test_a_task_needs_a_contract() -> None:
    _refused("task.no-shape", lambda: task(torch_modules.Linear).build(None))
    _refused("task.classes", lambda: _built(classes=0))


@pytest.mark.parametrize("value", ["0", "-1", "two", ""])
def test_threads_are_a_number(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACIT_TORCH_THREADS", value)
    _refused("task.setting", _built)


def test_threads_are_one_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TACIT_TORCH_THREADS", "2")
    _built()
    assert torch.get_num_threads() == 2
    monkeypatch.delenv("TACIT_TORCH_THREADS")
    _built()
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
    built = _built()
    first = built.start(Key.seed(1))
    torch.manual_seed(99)
    assert np.array_equal(_built().start(Key.seed(1)), first)
    assert not np.array_equal(built.start(Key.seed(2)), first)
    assert first.shape == (built.layout.size,)
    assert first.dtype == np.float32


def test_torchs_own_randomness_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    built = _built(torch_modules.Dropping)
    params = built.start(KEY)
    built.grad(params, Examples(_x(), _y()), KEY)
    built.clipped_grad_sum(params, Examples(_x(), _y()), 1.0, KEY)
    assert torch.equal(torch.rand(3), expected)


def test_dropout_follows_the_key() -> None:
    built = _built(torch_modules.Dropping)
    params, held = built.start(KEY), Examples(_x(), _y())
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
    built = _built(torch_modules.Dropping)
    same = Examples(np.repeat(_x(1), 2, axis=0), np.repeat(_y(1), 2))
    total = built.clipped_grad_sum(built.start(KEY), same, 1e9, KEY)
    one = built.clipped_grad_sum(built.start(KEY), same.take(slice(0, 1)), 1e9, KEY)
    assert not np.allclose(total, 2 * one)


# Losses.


def test_gradient_of_each_loss_is_torchs() -> None:
    x, y = _x(), _y()
    cases: list[tuple[Any, int, int, Array, Any]] = [
        ("cross_entropy", 3, 3, y, nn.functional.cross_entropy),
        ("mse", 1, 0, _x(8, 1)[:, 0], nn.functional.mse_loss),
        ("mse", 3, 0, _x(8, 3), nn.functional.mse_loss),
        ("bce", 1, 2, y > 0, nn.functional.binary_cross_entropy_with_logits),
        ("bce", 3, 2, _x(8, 3) > 0, nn.functional.binary_cross_entropy_with_logits),
        (torch_modules.smooth_cross_entropy, 3, 3, y, torch_modules.smooth_cross_entropy),
        (torch_modules.absolute, 1, 0, x[:, 0], torch_modules.absolute),
    ]
    for loss, outputs, classes, labels, reference in cases:
        built = _built(torch_modules.Linear, loss, classes, outputs=outputs)
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
    built, x, y = _built(), _x(rows), _y(rows)
    params = built.start(KEY)
    logits = built.module(params)(torch.from_numpy(x).float())
    total = nn.functional.cross_entropy(logits, torch.from_numpy(y), reduction="sum").item()
    found = built.evaluate(params, Examples(x, y))
    assert found.examples == rows
    assert found.loss == pytest.approx(total, rel=1e-5)
    assert found.correct == (logits.argmax(1).numpy() == y).sum()
    assert np.array_equal(built.predict(params, x), logits.argmax(1).numpy())


def test_evaluation_of_the_other_losses() -> None:
    x = _x()
    values = _built(torch_modules.Linear, "mse", 0, outputs=1)
    params = values.start(KEY)
    predicted = values.predict(params, x)
    assert predicted.shape == (8,)
    found = values.evaluate(params, Examples(x, np.zeros(8)))
    assert found == pytest.approx((8, (predicted.astype(float) ** 2).sum(), 0), rel=1e-5)

    several = _built(torch_modules.Linear, "bce", 2, outputs=3)
    labels = several.predict(params := several.start(KEY), x)
    assert labels.dtype == np.int64
    assert several.evaluate(params, Examples(x, labels)).accuracy == 1.0
    assert several.evaluate(params, Examples(x, 1 - labels)).correct == 0.0
    assert several.evaluate(params, Examples(x, labels)).examples == 24

    smooth = _built(torch_modules.Linear, torch_modules.smooth_cross_entropy)
    labels = smooth.predict(params := smooth.start(KEY), x)
    found = smooth.evaluate(params, Examples(x, labels))
    mean = smooth.grad(params, Examples(x, labels), KEY).loss
    assert found == pytest.approx((8, 8 * mean, 8), rel=1e-6)

    own = _built(torch_modules.Linear, torch_modules.absolute, 0, outputs=1)
    assert own.predict(own.start(KEY), x).shape == (8,)
    assert own.evaluate(own.start(KEY), Examples(x, x[:, 0])).correct == 0.0


def test_nothing_to_evaluate_sums_to_nothing() -> None:
    built = _built()
    empty = Examples(_x()[:0], _y()[:0])
    assert built.evaluate(built.start(KEY), empty) == (0.0, 0.0, 0.0)
    assert built.predict(built.start(KEY), empty.x).shape == (0,)


# What comes in.


def test_any_array_of_numbers_is_read_and_none_is_changed() -> None:
    built = _built()
    params, y = built.start(KEY), _y()
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
    built = _built()
    params, held = built.start(KEY), Examples(_x(), _y())
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
    built = _built(torch_modules.Linear)
    params = built.start(Key.seed(seed))
    held = Examples(100.0 * _x(rows), _y(rows))
    total = built.clipped_grad_sum(params, held, clip, KEY).astype(np.float64)
    fewer = held.take(slice(0, rows - 1))
    rest = built.clipped_grad_sum(params, fewer, clip, KEY) if rows > 1 else 0.0
    one = built.clipped_grad_sum(params, held.take(slice(rows - 1, rows)), clip, KEY)
    assert np.linalg.norm(one.astype(np.float64)) <= clip
    np.testing.assert_allclose(total - rest, one, atol=2e-6 * clip * rows)


def test_without_effect_a_clip_leaves_the_gradient() -> None:
    built = _built()
    params, held = built.start(KEY), Examples(_x(), _y())
    total = built.clipped_grad_sum(params, held, 1e6, KEY)
    np.testing.assert_allclose(total / 8, built.grad(params, held, KEY).trained, atol=1e-6)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    built = _built()
    params, held = built.start(KEY), Examples(_x(), _y())
    whole = built.clipped_grad_sum(params, held, 0.5, KEY)
    monkeypatch.setattr("tacit.learn.torch_clipped.COORDINATES", 3 * built.layout.trained)
    np.testing.assert_allclose(built.clipped_grad_sum(params, held, 0.5, KEY), whole, atol=1e-6)


def test_an_example_whose_gradient_is_not_finite_shows_in_the_sum() -> None:
    built = _built(torch_modules.Logarithm)
    params = built.start(KEY)
    x, y = np.abs(_x()), _y()
    assert np.isfinite(built.clipped_grad_sum(params, Examples(x, y), 1.0, KEY)).all()
    x[2, 0] = -1.0
    assert not np.isfinite(built.clipped_grad_sum(params, Examples(x, y), 1.0, KEY)).any()
    _refused("task.loss-not-finite", lambda: built.grad(params, Examples(x, y), KEY))


def test_batch_norm_has_no_gradient_of_one_example() -> None:
    built = _built(nn.BatchNorm1d, num_features=3, shape=(3,))
    held = Examples(_x(4, 3), _y(4))
    error = _refused("task.mixes", lambda: built.clipped_grad_sum(built.start(KEY), held, 1.0, KEY))
    assert "BatchNorm1d" in error.cause
    one = held.take(slice(0, 1))
    error = _refused("task.torch-batch-of-one", lambda: built.grad(built.start(KEY), one, KEY))
    assert "group normalisation" in error.remedy


# What users get wrong.


def test_modules_that_cannot_be_built() -> None:
    error = _refused("task.code-fails", lambda: _built(torch_modules.broken, size=7))
    assert "no size 7" in error.cause
    assert isinstance(error.__cause__, ValueError)
    _refused("task.code-fails", lambda: _built(torch_modules.Linear, bogus=1))
    error = _refused("task.torch-not-a-module", lambda: _built(torch_modules.not_a_module))
    assert "list" in error.cause
    _refused("task.torch-nothing-to-train", lambda: _built(torch_modules.frozen))
    _refused("task.code-fails", lambda: _built(nn.LazyLinear, out_features=3))


def test_a_module_of_changing_shape_cannot_start() -> None:
    built = _built(torch_modules.shapeless, "mse", 0)
    _refused("task.torch-not-repeatable", lambda: built.start(Key.seed(4)))


def test_outputs_that_do_not_fit_the_labels() -> None:
    held = Examples(_x(), _y())
    for built, labels in (
        (_built(outputs=4), held.y),
        (_built(outputs=1, classes=2), held.y % 2),
        (_built(torch_modules.Pair), held.y),
        (_built(torch_modules.Linear, "mse", 0, outputs=3), _x(8, 2)),
        (_built(torch_modules.Linear, "mse", 0, outputs=3), held.y),
        (_built(torch_modules.Linear, "bce", 2, outputs=2), held.y % 2),
    ):
        examples = Examples(held.x, labels)
        _refused("task.torch-output", lambda b=built, e=examples: b.check(e))
        params = built.start(KEY)
        _refused("task.torch-output", lambda b=built, p=params, e=examples: b.grad(p, e, KEY))


def test_a_loss_that_is_no_mean() -> None:
    built = _built(torch_modules.Linear, torch_modules.not_a_mean, 0)
    _refused("task.torch-loss", lambda: built.check(Examples(_x(), _x()[:, 0])))
    fails = _built(torch_modules.Linear, torch_modules.absolute, 0)
    error = _refused("task.code-fails", lambda: fails.check(Examples(_x(), _x()[:, :3])))
    assert f"{HERE}:absolute" in error.cause


def test_a_module_that_cannot_read_its_features() -> None:
    built = _built(shape=(4,))
    error = _refused("task.code-fails", lambda: built.check(Examples(_x(8, 4), _y())))
    assert "Linear failed when it was run" in error.cause


@pytest.mark.parametrize("label", [3, -1, -100])
def test_labels_out_of_range(label: int) -> None:
    built, x, y = _built(), _x(), _y()
    y[2] = label
    params = built.start(KEY)
    _refused("data.label-range", lambda: built.check(Examples(x, y)))
    _refused("task.label-range", lambda: built.grad(params, Examples(x, y), KEY))
    _refused("task.label-range", lambda: built.clipped_grad_sum(params, Examples(x, y), 1.0, KEY))
    _refused("task.label-range", lambda: built.evaluate(params, Examples(x, y)))


def test_examples_of_another_shape_or_not_finite() -> None:
    built = _built()
    _refused("data.shape", lambda: built.check(Examples(_x(8, 6), _y())))
    x = _x()
    x[3, 1] = np.nan
    _refused("data.not-finite", lambda: built.check(Examples(x, _y())))


def test_a_diverged_model_is_an_error() -> None:
    built = _built()
    params = np.full(built.layout.size, np.nan, np.float32)
    error = _refused("task.loss-not-finite", lambda: built.grad(params, Examples(_x(), _y()), KEY))
    assert "nan" in error.cause
    built.check(Examples(_x(), _y()))
