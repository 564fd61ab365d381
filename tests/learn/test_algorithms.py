"""Algorithms beside short references of their papers' equations, and known answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tacit
from tacit.base.key import Key
from tacit.base.vector import Kind, Layout, Tensor
from tacit.learn.algorithm import Aggregate, Steps
from tacit.learn.contract import Arrays
from tacit.learn.examples import Examples
from tacit.learn.local import Home, RecordRule

CONTRACT = Arrays((3,), 2)


def clients(count: int = 3) -> dict[str, tuple[Any, Any]]:
    draw = np.random.default_rng(0)
    sizes = [5 + 7 * i for i in range(count)]
    return {
        f"c{i}": (draw.normal(size=(n, 3)), draw.integers(0, 2, n)) for i, n in enumerate(sizes)
    }


def federation(algorithm: Any, count: int = 3, rounds: int = 5) -> tacit.Federation:
    return tacit.Federation(
        task=tacit.numpy.logistic_regression(l2=0.01),
        clients=count,
        data=CONTRACT,
        algorithm=algorithm,
        rounds=rounds,
    )


def pooled_descent(data: dict[str, tuple[Any, Any]], lr: float, steps: int) -> Any:
    """Plain gradient descent on all records, the reference for everything exact."""
    task = tacit.numpy.logistic_regression(l2=0.01).build(CONTRACT)
    x, y = (np.concatenate([held[i] for held in data.values()]) for i in (0, 1))
    params = task.start(Key.seed(0))
    for _ in range(steps):
        params = params - lr * task.grad(params, Examples(x, y), Key.seed(0)).trained
    return params


def test_fedavg_with_one_client_and_one_local_step_is_centralised_sgd() -> None:
    data = clients(1)
    run = tacit.simulate(federation(tacit.fedavg(lr=0.3, batch=0), 1), data)
    assert np.allclose(run.model.params, pooled_descent(data, 0.3, 5), atol=1e-6)


def test_full_participation_fedsgd_is_pooled_gradient_descent() -> None:
    data = clients(3)
    run = tacit.simulate(federation(tacit.fedsgd(lr=0.3)), data)
    assert np.allclose(run.model.params, pooled_descent(data, 0.3, 5), atol=1e-9)


def test_record_sums_without_clipping_or_noise_are_pooled_gradient_descent() -> None:
    data = clients(3)
    chain = (tacit.clip_examples(1e3), tacit.plain_sum(), tacit.mean())
    run = tacit.simulate(federation(tacit.fedsgd(lr=0.3)).replace(protect=chain), data)
    assert np.allclose(run.model.params, pooled_descent(data, 0.3, 5), atol=1e-9)


def test_fedavg_beside_its_equations() -> None:
    data = clients(3)
    run = tacit.simulate(federation(tacit.fedavg(lr=0.2, epochs=2, batch=4, shuffle=False)), data)
    task = tacit.numpy.logistic_regression(l2=0.01).build(CONTRACT)
    params = task.start(Key.seed(0))
    total = sum(len(y) for _, y in data.values())
    for _ in range(5):
        mean = np.zeros_like(params)
        for x, y in data.values():
            local = params.copy()
            for start in [*range(0, len(y), 4)] * 2:
                rows = slice(start, start + 4)
                local -= 0.2 * task.grad(local, Examples(x[rows], y[rows]), Key.seed(0)).trained
            mean += len(y) / total * (local - params)
        params = params + mean
    assert np.allclose(run.model.params, params, atol=1e-9)


LAYOUT = Layout((Tensor("w", (2,)), Tensor("mean", (1,), Kind.BUFFER)))


def test_server_momentum_beside_its_equations() -> None:
    algorithm = tacit.fedavg(lr=0.1, server_lr=0.5, momentum=0.9).build()
    state = algorithm.start(np.zeros(3))
    velocity, params = np.zeros(2), np.zeros(2)
    for mean in np.random.default_rng(0).normal(size=(6, 3)):
        velocity = 0.9 * velocity + mean[:2]
        params = params + 0.5 * velocity
        state = algorithm.apply(state, Aggregate(mean, {}, 1), LAYOUT)
        assert np.allclose(state["params"][:2], params)
        assert state["params"][2] == mean[2], "buffers are averaged and bypass the optimiser"


def test_fedadam_beside_its_equations() -> None:
    algorithm = tacit.fedadam(lr=0.1, server_lr=0.3, beta1=0.9, beta2=0.99, tau=1e-2).build()
    state = algorithm.start(np.zeros(3))
    m, v, params = np.zeros(2), np.full(2, 1e-4), np.zeros(2)
    for mean in np.random.default_rng(0).normal(size=(6, 3)):
        m = 0.9 * m + 0.1 * mean[:2]
        v = 0.99 * v + 0.01 * mean[:2] ** 2
        params = params + 0.3 * m / (np.sqrt(v) + 1e-2)
        state = algorithm.apply(state, Aggregate(mean, {}, 1), LAYOUT)
        assert np.allclose(state["params"][:2], params)


@pytest.mark.parametrize("batch", [0, 3, 4, 100])
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_every_pass_sees_every_record_once(batch: int, steps: int) -> None:
    seen: list[int] = []

    class Spy:
        layout = Layout((Tensor("w", (1,)),))

        def grad(self, params: Any, held: Examples, key: Key) -> Any:
            from tacit.learn.task import Gradient

            seen.extend(int(v) for v in held.y)
            return Gradient(np.zeros(1), np.zeros(0), 0.0)

    home = Home(Spy(), Examples(np.zeros((10, 1)), np.arange(10)), Key.seed(0))  # type: ignore[arg-type]  # only grad is used
    done = home.train(np.zeros(1), Steps(0.1, batch, epochs=2, steps=steps))
    per_pass = -(-10 // (min(batch, 10) or 10))
    assert done.steps == (steps or 2 * per_pass)
    whole = done.steps // per_pass
    for i in range(whole):
        assert sorted(seen[10 * i : 10 * i + 10]) == list(range(10))


def test_poisson_sampling_of_records_has_the_stated_rate_and_varies_by_round() -> None:
    task = tacit.numpy.logistic_regression().build(CONTRACT)
    held = Examples(np.zeros((2000, 3)), np.zeros(2000, np.int64))

    def drawn(rate: float, turn: int) -> int:
        return Home(task, held, Key.seed(1) / turn, RecordRule(1.0, rate)).drawn().count

    counts = [drawn(0.1, turn) for turn in range(200)]
    spread = np.sqrt(2000 * 0.1 * 0.9)
    assert abs(np.mean(counts) - 200) < 4 * spread / np.sqrt(200)
    assert 0.8 * spread < np.std(counts) < 1.2 * spread
    wrong = [drawn(0.12, turn) for turn in range(200)]
    assert abs(np.mean(wrong) - 200) > 4 * spread / np.sqrt(200), "the test can fail"


@pytest.mark.parametrize(
    "make",
    [
        lambda: tacit.fedavg(lr=0.0),
        lambda: tacit.fedavg(lr=float("nan")),
        lambda: tacit.fedavg(lr=0.1, epochs=0),
        lambda: tacit.fedavg(lr=0.1, batch=-1),
        lambda: tacit.fedsgd(lr=0.1, momentum=1.0),
        lambda: tacit.fedadam(lr=0.1, tau=0.0),
        lambda: tacit.fedadam(lr=0.1, server_lr=-1.0),
    ],
)
def test_settings_that_mean_nothing_are_refused(make: Any) -> None:
    with pytest.raises(tacit.TacitError) as caught:
        make()
    assert caught.value.code == "task.setting"
