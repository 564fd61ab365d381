"""Schedules of faults as plain data: what goes wrong, when, and to whom.

A schedule is a number and a list; the same schedule gives the same story. Times are virtual seconds
since the run was submitted, by a clock that stands above all nodes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, final

COORDINATOR: Final = -1
"""The node that is no client."""

CLIENTS: Final = 3
"""Clients of a rehearsed federation, by number from 0."""


class Fault(NamedTuple):
    """At `at` seconds `what` befalls `node`; what `amount` and `seconds` mean, `FAULTS` says."""

    at: float
    what: str
    node: int
    amount: int = 0
    seconds: float = 0.0


FAULTS: Final = {
    "kill": "it dies at its `amount`-th operation from then on, and is back after `seconds`",
    "power": "the same, and what was not flushed to the disk may be lost or torn",
    "lose": "its next message is lost; with an odd `amount` the reply to it",
    "repeat": "its next message arrives once more, `seconds` later",
    "delay": "its next `amount` messages arrive `seconds` later, so others overtake them",
    "cut": "its next message with a body ends after `amount` bytes",
    "part": "nothing gets through between it and the coordinator for `seconds`",
    "jump": "its clock is set by `seconds`, forward or back",
    "full": "its disk is full for `seconds`",
    "slow": "its next `amount` turns take `seconds` more",
    "leave": "the client's owner leaves the run",
    "stranger": "somebody unknown tries trick number `amount`",
}
"""What may go wrong."""

CASES: Final = (
    "plain",
    "scaffold",
    "secure_sum",
    "record_dp",
    "top_k",
    "partial",
    "earnest",
    "fedbuff",
    "fedadam",
    "earnest_memory",
)
"""What is learned meanwhile; `tacit.testing.cases` has them."""

AT_CLIENTS: Final = ("lose", "repeat", "delay", "cut", "part", "slow", "leave")


@final
@dataclass(frozen=True)
class Schedule:
    """`seed` fixes everything that is left to chance: latencies, nonces, cohorts in earnest."""

    seed: int
    case: str
    faults: tuple[Fault, ...] = ()

    @property
    def literal(self) -> str:
        """Python that gives this schedule."""
        lines = "".join(f"        Fault{tuple(fault)!r},\n" for fault in self.faults)
        return f"Schedule(\n    {self.seed},\n    {self.case!r},\n    (\n{lines}    ),\n)"

    @property
    def end(self) -> float:
        """When the last fault is over, the dead are back, and all messages have arrived."""
        lasting = (one.at + abs(one.seconds) for one in self.faults if one.what != "jump")
        return max(lasting, default=0.0)


def schedule_of(seed: int) -> Schedule:
    """The schedule of a number."""
    chance = random.Random(seed)  # noqa: S311  # to be repeated, not to be secret
    case = CASES[seed % len(CASES)]
    faults = tuple(sorted(_fault(chance) for _ in range(chance.randrange(1, 9))))
    return Schedule(seed, case, faults)


_OFTEN: Final = (
    ("kill", 8),
    ("power", 4),
    ("lose", 4),
    ("repeat", 3),
    ("delay", 3),
    ("cut", 2),
    ("part", 2),
    ("jump", 2),
    ("full", 3),
    ("slow", 2),
    ("leave", 1),
    ("stranger", 2),
)


def _fault(chance: random.Random) -> Fault:
    kinds, weights = zip(*_OFTEN, strict=True)
    what = chance.choices(kinds, weights)[0]
    node = chance.randrange(CLIENTS) if what in AT_CLIENTS else chance.randrange(-2, CLIENTS)
    at = round(chance.uniform(0.0, 2.0 if chance.random() < 0.8 else 60.0), 3)
    return Fault(at, what, max(node, COORDINATOR), *_amount(chance, what))


def _amount(chance: random.Random, what: str) -> tuple[int, float]:
    soon = round(chance.choice((0.05, 1.0, 5.0, 40.0, 90.0)) * chance.uniform(0.5, 1.5), 3)
    match what:
        case "kill" | "power":
            return chance.randrange(40), soon
        case "jump":
            return 0, chance.choice((-3600.0, -30.0, 30.0, 3600.0))
        case "cut":
            return chance.randrange(400), 0.0
        case "leave" | "stranger" | "lose":
            return chance.randrange(12), 0.0
    return chance.randrange(1, 4), soon


def shrunk(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """A schedule that still fails, with fewer and simpler faults: greedily, to a fixed point."""
    going = True
    while going:
        going = False
        for simpler in _simpler(schedule):
            if fails(simpler):
                schedule, going = simpler, True
                break
    return schedule


def _simpler(schedule: Schedule) -> Iterator[Schedule]:
    faults = schedule.faults
    half = len(faults) // 2
    if half > 1:
        yield replace(schedule, faults=faults[:half])
        yield replace(schedule, faults=faults[half:])
    for place in range(len(faults)):
        yield replace(schedule, faults=faults[:place] + faults[place + 1 :])
    for place, fault in enumerate(faults):
        for easier in _easier(fault):
            yield replace(schedule, faults=(*faults[:place], easier, *faults[place + 1 :]))


def _easier(fault: Fault) -> Iterator[Fault]:
    if fault.what == "power":
        yield fault._replace(what="kill")
    for at in (0.0, round(fault.at, 1)):
        if at < fault.at:
            yield fault._replace(at=at)
    for amount in (0, fault.amount // 2, fault.amount - 1):
        if 0 <= amount < fault.amount:
            yield fault._replace(amount=amount)
    for seconds in (0.0, 1.0, 30.0):
        if abs(seconds) < abs(fault.seconds):
            yield fault._replace(seconds=seconds)
