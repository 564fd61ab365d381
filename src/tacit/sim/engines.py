"""The engines of a simulation by name: who computes the turns of a cohort."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from tacit.base.atomic import write_atomically
from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.nearest import did_you_mean
from tacit.learn.examples import Clients
from tacit.plan.build import Plan
from tacit.sim.backend import Backend
from tacit.sim.choose import Candidate, Choice, choose
from tacit.sim.exact import Exact
from tacit.sim.pool import cores, pool
from tacit.sim.ray import ray
from tacit.sim.stacked import Stacked

Constructor = Callable[[Plan, Clients, Key], Backend]
CrewConstructor = Callable[[Plan, Clients, Key, int], Backend]

LOCAL: dict[str, Constructor] = {"exact": Exact, "stacked": Stacked}
"""Engines in this process."""

CREWS: dict[str, CrewConstructor] = {
    "pool": pool,
    "stacked_pool": partial(pool, inner=Stacked, parts=2),
    "ray": ray,
}
"""Engines of several workers: processes, processes that stack, and actors on a cluster."""

ENGINES = (*LOCAL, *CREWS, "auto")

CHOSEN = "engine.txt"
"""Beside a checkpoint: what "auto" chose, since another engine would end in other last bits."""


class Started(NamedTuple):
    """A backend, and why it was taken if that was not said."""

    backend: Backend
    why: tuple[str, ...] = ()


def start(
    name: str, plan: Plan, clients: Clients, key: Key, workers: int = 0, kept: Path | None = None
) -> Started:
    """The engine of that name; raises `run.engine` for one that does not exist.

    `workers`: processes or actors (0: one a core); `kept`: the folder of a checkpoint, in which
    "auto" remembers its choice.
    """
    if name not in ENGINES:
        known = ", ".join(ENGINES)
        raise TacitError("run.engine", engine=name, hint=did_you_mean(name, ENGINES), known=known)
    if name in CREWS:
        return Started(CREWS[name](plan, clients, key, workers))
    if workers > 1 and name in LOCAL:
        raise TacitError("run.engine-alone", engine=name, crews=", ".join(CREWS))
    if name in LOCAL:
        return Started(LOCAL[name](plan, clients, key))
    return _automatic(plan, clients, key, workers, kept)


def _automatic(plan: Plan, clients: Clients, key: Key, workers: int, kept: Path | None) -> Started:
    """What was chosen for the checkpoint, or else what is measured to be the fastest."""
    remembered = kept / CHOSEN if kept else None
    if remembered and remembered.exists():
        name = remembered.read_text("utf-8").strip()
        if name in ENGINES and name != "auto":
            return start(name, plan, clients, key, workers if name in CREWS else 0)
    chosen = measured(plan, clients, key, workers)
    if remembered:
        remembered.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(remembered, chosen.name + "\n")
    return Started(chosen.backend, (chosen.says,))


def measured(plan: Plan, clients: Clients, key: Key, workers: int = 0) -> Choice:
    """Try the engines of this computer on a few turns each."""
    count = workers or cores()
    candidates = [
        Candidate("exact", partial(Exact, plan, clients, key), 1),
        Candidate("stacked", partial(Stacked, plan, clients, key), 32),
    ]
    if count > 1:
        for name, group in (("pool", 4), ("stacked_pool", 32)):
            begin = partial(CREWS[name], plan, clients, key, count)
            candidates.append(Candidate(name, begin, group * count, dear=True))
    return choose(plan, clients, key, candidates)


@runtime_checkable
class Says(Protocol):
    """A backend that tells in one line how it computes."""

    @property
    def says(self) -> str:
        """The line."""
        ...


def told(backend: Backend) -> tuple[str, ...]:
    """What a backend tells its user."""
    return (backend.says,) if isinstance(backend, Says) else ()
