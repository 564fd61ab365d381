"""The engines of a simulation by name: who computes the turns of a cohort."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.learn.examples import Clients
from tacit.plan.build import Plan
from tacit.sim.backend import Backend
from tacit.sim.exact import Exact
from tacit.sim.stacked import Stacked

Constructor = Callable[[Plan, Clients, Key], Backend]

ENGINES: dict[str, Constructor] = {"exact": Exact, "stacked": Stacked, "auto": Stacked}
"""`auto` is the fastest for the plan at hand."""


def backend_named(name: str, plan: Plan, clients: Clients, key: Key) -> Backend:
    """The engine of that name; raises `task.setting` for one that does not exist."""
    if name not in ENGINES:
        rule = f"one of {', '.join(ENGINES)}"
        raise TacitError("task.setting", name="engine", value=repr(name), rule=rule)
    return ENGINES[name](plan, clients, key)


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
