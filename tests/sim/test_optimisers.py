"""Clients' optimisers and schedules give the same numbers in every engine, and after a stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tacit
from tacit.base.key import Key
from tacit.learn.algorithm import AlgorithmSpec
from tacit.learn.examples import as_clients
from tacit.sim.dispatch import Dispatch
from tacit.sim.engine import Row, run_plan
from tacit.sim.exact import Exact
from tacit.sim.pool import Processes
from tacit.sim.stacked import Stacked
from tests.sim import crews
from tests.sim.stacking import apart, both, data, federation

KEY = Key.seed(1)
BOTH = tacit.warmup(2, 0.3, over="steps", then=tacit.cosine(4, least=0.1))
VISIT = tacit.cosine(0, least=0.1, over="steps")

ALGORITHMS: list[Callable[..., AlgorithmSpec]] = [
    tacit.fedavg,
    tacit.fedadagrad,
    tacit.fedadam,
    tacit.fedyogi,
    tacit.fedbuff,
    partial(tacit.fedprox, mu=0.1),
    partial(tacit.fedper, personal="bias0"),
    partial(tacit.fedrep, personal="bias0", head_epochs=2),
    partial(tacit.ditto, own_steps=3),
    partial(tacit.feddyn, alpha=0.1),
    tacit.finetune,
    tacit.moon,
]

DESCENTS: list[dict[str, Any]] = [
    {"optimiser": tacit.sgd(momentum=0.8, nesterov=True, keep=True), "schedule": VISIT},
    {"optimiser": tacit.adam(epsilon=1e-4, keep=True), "schedule": BOTH},
    {"optimiser": tacit.adamw(epsilon=1e-4, weight_decay=0.1), "schedule": tacit.cosine(3)},
]


def every() -> list[AlgorithmSpec]:
    return [
        make(lr=0.02, batch=5, epochs=2, **descent) for make in ALGORITHMS for descent in DESCENTS
    ]


def named(spec: Any) -> str:
    return f"{spec.kind}-{spec.optimiser.kind}"


@pytest.mark.parametrize("algorithm", every(), ids=named)
def test_blocks_of_ragged_clients(algorithm: AlgorithmSpec) -> None:
    """Clients of 1 to 24 records, 6 of 8 drawn a round: some have moments, some have none."""
    federated = federation(tacit.numpy.mlp((6,)), (4,), 3, algorithm=algorithm)
    exact, stacked, backend = both(federated, data((4,), 3))
    assert bool(backend.block_of) == (algorithm.kind != "moon")
    assert apart(exact, stacked) < 1e-9


@pytest.mark.parametrize(
    "make",
    [partial(tacit.scaffold, steps=4), tacit.fednova, partial(tacit.qffl, q=1.0), tacit.apfl],
)
def test_rates_by_round_of_algorithms_of_plain_sgd(make: Any) -> None:
    algorithm = make(lr=0.05, batch=5, schedule=tacit.step_decay(1, 0.5))
    federated = federation(tacit.numpy.mlp((6,)), (4,), 3, algorithm=algorithm)
    exact, stacked, backend = both(federated, data((4,), 3))
    assert backend.block_of and apart(exact, stacked) < 1e-9


@pytest.mark.parametrize("schedule", [None, BOTH, VISIT])
def test_clusters_start_afresh(schedule: Any) -> None:
    optimiser = tacit.adam(epsilon=1e-4)
    algorithm = tacit.ifca(0.02, clusters=2, batch=5, optimiser=optimiser, schedule=schedule)
    federated = federation(tacit.numpy.mlp((6,)), (4,), 3, algorithm=algorithm)
    exact, stacked, backend = both(federated, data((4,), 3))
    assert backend.block_of and apart(exact, stacked) < 1e-9


def test_in_pieces_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coordinates are moved a few at a time; every piece sees the same count of steps."""
    algorithm = tacit.fedrep(
        0.02, personal="bias0", batch=5, optimiser=tacit.adamw(keep=True), schedule=VISIT
    )
    federated = federation(tacit.numpy.mlp((6,)), (4,), 3, algorithm=algorithm)
    whole = both(federated, data((4,), 3))
    monkeypatch.setattr("tacit.learn.descent.PIECE", 7)
    parts = both(federated, data((4,), 3))
    for one, two in zip(whole[:2], parts[:2], strict=True):
        assert np.array_equal(one.params, two.params)


def test_whoever_has_finished_does_not_move() -> None:
    """Moments would go on moving a client; one record takes one step, 24 take five."""
    plan = federation(
        tacit.numpy.logistic_regression(),
        (4,),
        3,
        algorithm=tacit.fedavg(0.1, batch=5, optimiser=tacit.adam(keep=True)),
        cohort=tacit.everyone(),
    ).plan()
    held = as_clients(data((4,), 3))
    backend = Stacked(plan, held, KEY)
    run_plan(plan.federation.replace(rounds=1).plan(), held, KEY, backend=backend)
    counts = [backend.memory(i)["algorithm"]["moments"][0]["count"].item() for i in range(8)]
    assert counts == [5, 1, 3, 4, 1, 2, 5, 3]


@pytest.fixture(scope="module")
def crew() -> Iterator[Processes]:
    found = Processes(2)
    yield found
    found.close()


@pytest.mark.parametrize("inner", [Exact, Stacked])
@pytest.mark.parametrize("algorithm", every()[1::6], ids=named)
def test_processes(crew: Processes, algorithm: AlgorithmSpec, inner: Any) -> None:
    federated = crews.federation(
        task=tacit.numpy.mlp((6,)), algorithm=algorithm, cohort=tacit.fixed(size=5), rounds=4
    )
    plan, clients = federated.plan(), as_clients(crews.data())
    exact = run_plan(plan, clients, KEY)
    crew.begin(plan, clients, KEY, inner)
    lent = Dispatch(plan, clients, crew, exact=inner is Exact, lent=True)
    found = run_plan(plan, clients, KEY, backend=lent)
    assert np.abs(exact.params - found.params).max() < 1e-9
    for i in range(crews.COUNT):
        assert np.abs(exact.models.of(i) - found.models.of(i)).max() < 1e-9


def test_buffered_rounds_follow_the_models_that_were_made() -> None:
    """Half the rate with each model: after many, clients hardly move it."""
    federated = crews.federation(
        algorithm=tacit.fedbuff(
            0.1, batch=4, optimiser=tacit.adam(keep=True), schedule=tacit.step_decay(1, 0.5)
        ),
        cohort=tacit.buffered(size=2, concurrency=3),
        rounds=20,
    )
    found: list[Any] = []
    for rounds in (10, 20):
        run = tacit.simulate(federated.replace(rounds=rounds), crews.data())
        found.append(run.model.params)
    assert 0 < np.abs(found[1] - found[0]).max() < 1e-2
    assert np.abs(found[0]).max() > 0.05


def test_a_stopped_run_goes_on_with_its_moments_and_its_round(tmp_path: Path) -> None:
    algorithm = tacit.fedavg(0.1, batch=4, optimiser=tacit.adam(keep=True), schedule=BOTH)
    federated = crews.federation(algorithm=algorithm, rounds=4)

    def stop(row: Row) -> None:
        if row["round"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tacit.simulate(federated, crews.data(), checkpoint=tmp_path, progress=stop)
    resumed = tacit.simulate(federated, crews.data(), checkpoint=tmp_path)
    assert resumed.outcome.notices
    whole = tacit.simulate(federated, crews.data())
    assert np.array_equal(resumed.model.params, whole.model.params)
