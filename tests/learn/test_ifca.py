"""IFCA beside Algorithm 1 (option II) of Ghosh et al. 2020: clusters are found again."""

from __future__ import annotations

import numpy as np
import pytest

import tacit
from tacit.base.key import Key
from tacit.learn.algorithm import Aggregate
from tacit.learn.examples import Examples, as_clients
from tacit.learn.local import Home
from tacit.sim.engine import run_plan
from tests.learn.papers import Data, batches, federation, gradient, learned, loss

TRUTHS = np.array([[3.0, 0.0, 1.0], [-3.0, 1.0, 0.0], [0.0, -3.0, -2.0]])


def clustered(count: int = 9) -> Data:
    """Client i follows the linear model i mod 3; sizes differ."""
    draw = np.random.default_rng(5)
    found = {}
    for i in range(count):
        x = draw.normal(size=(20 + 3 * i, 3))
        found[f"c{i}"] = (x, x @ TRUTHS[i % 3] + 0.1 * draw.normal(size=len(x)))
    return found


def test_beside_the_equations() -> None:
    data = clustered()
    algorithm = tacit.ifca(lr=0.05, clusters=3, epochs=2, batch=8, spread=1.0, shuffle=False)
    found = learned(algorithm, data, 5)
    counts = np.array([len(y) for _, y in data.values()])
    models = algorithm.build().start(np.zeros(4))["models"]
    for _ in range(5):
        sums, totals = np.zeros((3, 4)), np.zeros(3)
        for count, (x, y) in zip(counts, data.values(), strict=True):
            j = int(np.argmin([loss(model, x, y) for model in models]))
            local = models[j].copy()
            for few in batches(x, y, 8, epochs=2):
                local -= 0.05 * gradient(local, *few)
            sums[j] += count * local
            totals[j] += count
        chosen = totals > 0
        models = np.where(chosen[:, None], sums / np.maximum(totals, 1)[:, None], models)
        models = models[np.argsort(-totals, kind="stable")]
    assert np.allclose(found, models[0], atol=1e-9)


def test_clients_find_their_cluster_and_its_model() -> None:
    data = clustered()
    run = tacit.simulate(
        federation(tacit.ifca(lr=0.1, clusters=3, batch=0, steps=5, spread=1.0), data, 60),
        data,
        test=data,
    )
    one = learned(tacit.fedavg(lr=0.1, batch=0, steps=5), data, 60)
    assert run.final is not None
    for name, (x, y) in data.items():
        assert run.final.clients[name].mean_loss < 0.05
        assert loss(one, x, y) > 1.0


def test_an_answer_has_the_same_shape_whatever_was_chosen() -> None:
    data = clustered()
    algorithm = tacit.ifca(lr=0.1, clusters=3, spread=1.0, batch=0)
    plan = federation(algorithm, data).plan()
    assert [b.size for b in plan.message.blocks] == [12, 1, 3]
    assert sum(plan.message.blocks[0].layers) == 12
    sent = plan.algorithm.offer(plan.algorithm.start(np.zeros(4)))
    chosen = set()
    for held in data.values():
        home = Home(plan.task, Examples(*held), Key.seed(0))
        found, _ = plan.algorithm.visit(sent, None, home)
        one_hot = found.extra["chosen"]
        assert found.update.shape == (12,) and one_hot.sum() == 1
        moved = np.abs(found.update.reshape(3, 4)).sum(axis=1) > 0
        assert np.array_equal(moved, one_hot > 0)
        chosen.add(int(one_hot.argmax()))
    assert len(chosen) > 1


def test_a_cluster_that_nobody_chose_keeps_its_model() -> None:
    algorithm = tacit.ifca(lr=0.1, clusters=2, spread=1.0)
    plan = federation(algorithm, clustered()).plan()
    state = plan.algorithm.start(np.zeros(4))
    mean = np.concatenate([np.full(4, 0.5), np.zeros(4)])
    found = Aggregate(mean, {"chosen": np.array([1.0, 0.0])}, 9, 9)
    after = plan.algorithm.apply(state, found, plan.task.layout)
    assert np.array_equal(after["models"][1], state["models"][1])
    assert np.allclose(after["models"][0], state["models"][0] + 0.5)


def test_all_models_travel_down_and_all_changes_up() -> None:
    data = clustered()
    plain = federation(tacit.fedavg(lr=0.1), data).plan().cost
    wide = federation(tacit.ifca(lr=0.1, clusters=3), data).plan().cost
    assert wide.down == 3 * plain.down
    assert wide.up == 3 * (plain.up - 8) + 8 + 3 * 8


@pytest.mark.parametrize("cap", [None, 30.0])
def test_under_a_secure_sum_the_coordinator_gets_the_same_models(cap: float | None) -> None:
    data = clustered()
    algorithm = tacit.ifca(lr=0.05, clusters=3, batch=0, spread=1.0)
    weigh = (tacit.weigh(cap=cap),) if cap else ()
    clear = (*weigh, tacit.plain_sum(), tacit.mean())
    hidden = (
        tacit.clip(50.0),
        *weigh,
        tacit.quantise(levels=10**6),
        tacit.secure_sum(),
        tacit.mean(),
    )
    one, two = (
        run_plan(federation(algorithm, data, protect=chain).plan(), as_clients(data), Key.seed(0))
        for chain in (clear, hidden)
    )
    assert np.allclose(one.params, two.params, atol=1e-2)
