"""Ray actors give the exact engine's numbers, on a real local cluster, whatever happens to them."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tacit
from tacit.base.key import Key
from tacit.learn.examples import as_clients
from tacit.sim.backend import Receipt
from tacit.sim.dispatch import Dispatch
from tacit.sim.engine import run_plan
from tacit.sim.exact import Exact
from tacit.sim.ray import Actors, ray
from tests.sim.crews import COUNT, Troubled, data, federation

KEY = Key.seed(1)

pytestmark = [
    pytest.mark.xdist_group("ray"),  # one cluster, in one worker
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray's own sockets and log files
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # the same
    pytest.mark.filterwarnings("ignore:.*:FutureWarning"),  # of what Ray will change
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),  # of what Ray imports
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of two cores on this computer, without a telltale token in the user's home."""
    before = os.environ.copy()
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own, as above
        import ray as library

        library.init(
            num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
        )
        yield library
        library.shutdown()
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ |= before


@pytest.mark.parametrize(
    "algorithm",
    [
        tacit.scaffold(lr=0.1, batch=4, steps=5),
        tacit.fedavg(
            lr=0.1, batch=4, optimiser=tacit.adam(keep=True), schedule=tacit.step_decay(1, 0.5)
        ),
    ],
    ids=lambda one: one.kind,
)
def test_memories_travel_between_actors(cluster: Any, algorithm: Any) -> None:
    plan = federation(algorithm=algorithm, cohort=tacit.fixed(size=4)).plan()
    clients = as_clients(data())
    exact = run_plan(plan, clients, KEY)
    found = run_plan(plan, clients, KEY, backend=ray(plan, clients, KEY, 2))
    assert np.allclose(exact.params, found.params, atol=1e-9)
    for i in range(COUNT):
        assert np.allclose(exact.models.of(i), found.models.of(i), atol=1e-9)
    assert cluster.is_initialized()


def test_a_killed_actor_is_replaced_and_its_answers_computed_again(cluster: Any) -> None:
    plan, clients = federation().plan(), as_clients(data())
    offer = plan.algorithm.offer(plan.algorithm.start(plan.start(KEY)))
    dispatch, exact = ray(plan, clients, KEY, 1), Exact(plan, clients, KEY)
    for backend in (exact, dispatch):
        backend.open(0, offer)
        receipts = [one for one in backend.take(range(COUNT)) if isinstance(one, Receipt)]
        assert len(receipts) == COUNT
    assert isinstance(dispatch, Dispatch) and isinstance(dispatch.crew, Actors)
    cluster.kill(dispatch.crew.members[0].actor)
    (one, count), (two, again) = exact.total([6, 0, 3]), dispatch.total([6, 0, 3])
    assert count == again == 3 and np.allclose(one, two, atol=1e-12)
    dispatch.close()


def test_troubled_clients_are_named_or_tried_again(cluster: Any, tmp_path: Path) -> None:
    """Clients by index: one that raises, and one that ends its actor's process once."""
    plan = federation(quorum=COUNT - 1, rounds=2).plan()
    clients = Troubled(tmp_path, raising=4, deadly=2, deaths=1)
    found = run_plan(plan, clients, KEY, backend=ray(plan, clients, KEY, 1))
    assert [p.client for p in found.problems] == ["site-4", "site-4"]
    assert "record 17" in found.problems[0].error.cause
    assert len(list(tmp_path.iterdir())) == 1
    clients = Troubled(tmp_path, raising=4)
    assert np.allclose(run_plan(plan, clients, KEY).params, found.params, atol=1e-9)


def test_through_the_facade(cluster: Any) -> None:
    run = tacit.simulate(federation(rounds=1), data(), engine="ray", workers=1)
    assert run.outcome.notices == ("Clients run on 1 Ray actor with one core each.",)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(tacit.TacitError, match=r"tacit\[ray\]") as caught:
        tacit.simulate(federation(), data(), engine="ray")
    assert caught.value.code == "task.missing-extra"
