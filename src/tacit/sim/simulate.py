"""`simulate`: a federation and its clients in, an outcome out; and the two baselines."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.learn.examples import Clients, NamedClients, as_clients
from tacit.plan.build import Plan, build
from tacit.plan.cohort import Everyone
from tacit.plan.federation import Federation
from tacit.plan.warn import too_noisy
from tacit.protect.recipes import plain
from tacit.sim.checkpoint import Checkpoints, as_checkpoints
from tacit.sim.devices import Devices
from tacit.sim.engine import Outcome, Progress, run_plan
from tacit.sim.engines import start, told
from tacit.sim.faults import Faults, none

_ASKED = 256
"""Clients by index that are asked how many records they hold, to warn of too much noise."""


def simulate(
    federation: Federation | Plan,
    data: Any,
    seed: int = 0,
    test: Any = None,
    faults: Faults = none,
    progress: Progress | None = None,
    checkpoint: Checkpoints | str | os.PathLike[str] | None = None,
    engine: str = "exact",
    devices: Devices | None = None,
    workers: int = 0,
) -> Outcome:
    """Run a federation on this computer.

    `data`: what `as_clients` accepts, or a `FederatedData` (then `test` is its test part).
    Randomness, noise included, follows from `seed`: a simulation's noise is not secret.
    `checkpoint`: a folder in which the run leaves its state after every round, and from which it
    goes on if it was stopped (see `tacit.sim.checkpoint.checkpoints`).
    `devices`: how fast clients are and when they are there, in virtual time (see `tacit.devices`).
    `engine`: "exact" goes client by client; "stacked" computes many clients at once, with the same
    batches and weights within 1e-4; "pool" has processes and "ray" actors on a cluster, of which
    there are `workers` (0: one a core), "stacked_pool" has processes that stack; "auto" measures
    a few turns of each and takes the fastest. See `tacit.sim.engines`.
    """
    plan = federation if isinstance(federation, Plan) else build(federation)
    contract = plan.federation.data
    clients = as_clients(data, contract)
    test = getattr(data, "test", None) if test is None else test
    tested = None if test is None else as_clients(test, contract)
    check_clients(plan, clients)
    kept = None if checkpoint is None else as_checkpoints(checkpoint)
    key = Key.seed(seed)
    folder = kept.folder if kept else None
    if plan.federation.cohort.kind == "buffered":
        if engine not in ("exact", "auto"):
            raise TacitError("run.engine-buffered", engine=engine)
        return run_plan(
            plan, clients, key, tested, faults, progress, checkpoint=kept, devices=devices
        )
    backend, why = start(engine, plan, clients, key, workers, folder)
    outcome = run_plan(plan, clients, key, tested, faults, progress, backend, kept, devices)
    return replace(outcome, notices=(*outcome.notices, *why, *told(backend)))


def check_clients(plan: Plan, clients: Clients) -> None:
    """Number of clients, and the contract at every client that is held in memory.

    Others are checked when their records are read (see `tacit.sim.exact.held_by`).
    """
    federation = plan.federation
    if len(clients) != federation.clients:
        raise TacitError("run.clients", found=len(clients), expected=federation.clients)
    if not isinstance(clients, NamedClients):
        return
    for name, held in clients:
        if federation.data is not None:
            federation.data.check(name, held)
        plan.task.check(held)


def noise_warnings(plan: Plan, clients: Clients) -> tuple[str, ...]:
    """The plan's warnings, and for record sums the one that needs the number of records."""
    if not plan.form.record_sum or plan.form.noise is None:
        return plan.warnings
    records = records_held(clients)
    share = plan.team.cohort / plan.team.clients * plan.form.rate
    return (*plan.warnings, *too_noisy(plan.form, plan.team, records * share, "records"))


def records_held(clients: Clients) -> float:
    """Records of all clients together; of many that are not in memory, estimated from some."""
    every = 1 if isinstance(clients, NamedClients) else max(1, len(clients) // _ASKED)
    some = range(0, len(clients), every)
    return sum(clients.examples(i).count for i in some) * len(clients) / len(some)


def alone(federation: Federation) -> Federation:
    """The same learning at one place, with nothing to protect: what baselines run."""
    return federation.replace(
        clients=1, cohort=Everyone(), quorum=0, collusion=0, protect=plain(), metrics=()
    )


def pooled(federation: Federation, data: Any, seed: int = 0, test: Any = None) -> Outcome:
    """Train on all records at one place: what a federation without limits could reach."""
    together = _held(data, federation).pooled()
    return simulate(alone(federation), together, seed, _test(data, test))


def local_only(
    federation: Federation, data: Any, seed: int = 0, test: Any = None
) -> dict[str, Outcome]:
    """Train at every client alone, and evaluate each model on every client's test set."""
    held, single = _held(data, federation), alone(federation)
    plan = build(single)
    return {
        name: simulate(plan, held.only(i), seed, _test(data, test))
        for i, name in enumerate(held.names)
    }


def _test(data: Any, test: Any) -> Any:
    return getattr(data, "test", None) if test is None else test


def _held(data: Any, federation: Federation) -> NamedClients:
    """All clients in memory, as baselines need them."""
    clients = as_clients(data, federation.data)
    if isinstance(clients, NamedClients):
        return clients
    names = tuple(clients.name(i) for i in range(len(clients)))
    return NamedClients(names, tuple(clients.examples(i) for i in range(len(clients))))
