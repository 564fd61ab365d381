"""What can go wrong with a client in a simulation, on the virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class Fault:
    """How one client fares in one round.

    `delay`: virtual seconds until its answer arrives; `drop`: it never arrives; `repeats`: extra
    deliveries of the same answer; `fail`: it reports this error code instead.
    """

    delay: float = 0.0
    drop: bool = False
    repeats: int = 0
    fail: str = ""


Faults = Callable[[int, int], Fault]
"""(round, client index) -> what happens."""

_FINE = Fault()


def none(round_: int, client: int) -> Fault:
    """Nothing goes wrong."""
    return _FINE
