"""Devices on the virtual clock: speeds, bandwidths, who is there when, and who drops out.

A round's time at one device is: the model comes down, the local steps are taken, the answer goes
up; nothing of it is measured, all of it follows from the plan's bytes, the client's records and the
device. So a schedule of devices repeats to the bit and costs no waiting.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, final

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.learn.examples import Clients, NamedClients
from tacit.plan.build import Plan
from tacit.sim.faults import Fault
from tacit.sim.trace import Spell, Trace, read_devices, read_trace


class Device(NamedTuple):
    """One machine.

    `step` seconds a local step, `down` and `up` bytes a second, `latency` seconds one way, and the
    probability `dropout` that it drops out of a round.
    """

    step: float
    down: float
    up: float
    latency: float = 0.0
    dropout: float = 0.0

    def seconds(self, steps: int, bytes_down: int, bytes_up: int) -> float:
        """From asking the device to holding its answer."""
        moved = bytes_down / self.down + bytes_up / self.up
        return 2 * self.latency + moved + steps * self.step


class Law(Protocol):
    """Which device a client has."""

    def device(self, index: int, name: str) -> Device:
        """The device of the client at `index`, called `name`."""
        ...


@final
@dataclass(frozen=True)
class Lognormal:
    """Speeds and bandwidths spread around their medians, each client's from its index alone.

    The logarithms have standard deviation `spread`; a `slow` fraction of clients takes `factor`
    times as long for a step.
    """

    median: Device
    spread: float
    slow: float
    factor: float
    seed: int

    def device(self, index: int, name: str) -> Device:
        """Drawn for the index, the same at every call."""
        draw = (Key.seed(self.seed) / "device" / index).generator()
        own = np.exp(self.spread * draw.standard_normal(3))
        slower = self.factor if draw.random() < self.slow else 1.0
        step, down, up, *rest = self.median
        return Device(step * own[0] * slower, down * own[1], up * own[2], *rest)


@final
@dataclass(frozen=True)
class Listed:
    """Devices by the client's name, as a file lists them."""

    devices: dict[str, Device]
    file: str

    def device(self, index: int, name: str) -> Device:
        """Raises `run.device-missing` for a client without a line."""
        if name not in self.devices:
            raise TacitError("run.device-missing", client=name, file=self.file)
        return self.devices[name]


@final
@dataclass(frozen=True)
class Devices:
    """What a simulation is given: which device each client has, and when it is there.

    `spells` are times of presence by client (None: everybody, always), which repeat every `period`
    seconds (0: they happen once); `file` is where they were read.
    """

    law: Law
    spells: tuple[Spell, ...] | None = None
    period: float = 0.0
    file: str = ""

    def during(self, path: str | os.PathLike[str], period: float = 0.0) -> Devices:
        """The same devices, there only at the times of a CSV file: client,start,end in seconds.

        With a `period` (a day: 86400) the file's times repeat. A client that the file does not
        name is never there. Raises `run.csv-line` with the line.
        """
        _in("period", period, 0.0, math.inf, "0 or more")
        spells = read_trace(Path(path), period)
        return replace(self, spells=spells, period=period, file=str(path))

    @property
    def digest(self) -> str:
        """A hash of all of it, by which a checkpoint knows them."""
        return hashlib.sha256(repr((self.law, self.spells, self.period)).encode()).hexdigest()

    def at(self, plan: Plan, clients: Clients, key: Key) -> Fleet:
        """The devices of these clients at the work of this plan; refuses what does not fit."""
        if self.spells is not None:
            _refuse_amplification(plan)
        if isinstance(clients, NamedClients):
            for index, name in enumerate(clients.names):
                self.law.device(index, name)
        trace = None
        if self.spells is not None:
            trace = Trace.of(self.spells, self.period, clients, self.file)
        return Fleet(self.law, plan, clients, key / "devices", trace)


@final
@dataclass(frozen=True)
class Fleet:
    """The devices of one run."""

    law: Law
    plan: Plan
    clients: Clients
    key: Key
    trace: Trace | None

    def begins(self, now: float, needed: int, without: Collection[int] = ()) -> float:
        """The first moment from `now` on at which `needed` clients are there, `without` some."""
        if self.trace is None:
            return now
        trace = self.trace.without(without) if without else self.trace
        return trace.moment(now, needed)

    def cohort(self, key: Key, now: float) -> tuple[int, ...]:
        """Who is asked: a fixed number of those who are there, or whom coins for all have drawn.

        Coins are tossed for everyone and those away left out, never replaced by others, so each
        client's chance stays what the law says or falls to nothing.
        """
        law, clients = self.plan.federation.cohort, len(self.clients)
        if self.trace is None:
            return law.draw(clients, key)
        here = self.trace.present(now)
        if law.rate is None:
            return tuple(int(here[i]) for i in law.draw(len(here), key))
        return tuple(int(i) for i in np.intersect1d(law.draw(clients, key), here))

    def present(self, now: float) -> npt.NDArray[np.int64] | None:
        """Clients that are there; None for all."""
        return None if self.trace is None else self.trace.present(now)

    def fault(self, round_: int, client: int, records: int, now: float, other: Fault) -> Fault:
        """On top of `other`: how long the answer takes from `now`, and whether it is lost."""
        device = self.law.device(client, self.clients.name(client))
        steps = local_steps(self.plan.federation.algorithm, records)
        cost = self.plan.cost
        delay = device.seconds(steps, cost.down, cost.up) + other.delay
        coin = (self.key / round_ / client).generator().random()
        drop = other.drop or coin < device.dropout
        if self.trace is not None:
            drop = drop or self.trace.until(client, now) < now + delay
        return replace(other, delay=delay, drop=drop)


def local_steps(settings: Any, records: int) -> int:
    """Minibatch steps of one visit, from an algorithm's settings.

    Each pair `epochs` and `steps`, `own_epochs` and `own_steps`, ... is a training of its own;
    settings without (one gradient a round, closed forms) count as a single step.
    """
    fields = {field.name for field in dataclasses.fields(settings)}
    parts = [name.removesuffix("epochs") for name in fields if name.endswith("epochs")]
    batch = getattr(settings, "batch", 0) or max(records, 1)
    passes = math.ceil(records / batch)
    steps = [
        getattr(settings, f"{part}steps") or getattr(settings, f"{part}epochs") * passes
        for part in parts
        if f"{part}steps" in fields
    ]
    return sum(steps) or 1


def lognormal(
    step: float = 0.05,
    down: float = 1e6,
    up: float = 2.5e5,
    latency: float = 0.05,
    dropout: float = 0.0,
    spread: float = 0.5,
    slow: float = 0.0,
    factor: float = 10.0,
    seed: int = 0,
) -> Devices:
    """Devices whose speeds spread lognormally: for populations of any size, by index.

    Medians: `step` seconds a local step, `down` and `up` bytes a second; `latency` seconds one way
    and `dropout` probability a round, the same for all; `spread` the standard deviation of the
    logarithms (0: all alike); a fraction `slow` takes `factor` times as long for a step.
    """
    for name, value in (("step", step), ("latency", latency), ("spread", spread)):
        _in(name, value, 0.0, math.inf, "0 or more")
    for name, value in (("down", down), ("up", up), ("factor", factor)):
        _in(name, value, 1e-9, math.inf, "more than 0")
    for name, value in (("dropout", dropout), ("slow", slow)):
        _in(name, value, 0.0, 1.0, "a probability")
    return Devices(Lognormal(Device(step, down, up, latency, dropout), spread, slow, factor, seed))


def from_csv(path: str | os.PathLike[str]) -> Devices:
    """Devices listed in a CSV file: client,step,down,up and perhaps latency,dropout.

    Units as in `lognormal`. Raises `run.csv-line` with the line, and `run.device-missing` for a
    client without one.
    """
    rows = read_devices(Path(path))
    return Devices(Listed({name: Device(*row) for name, row in rows.items()}, str(path)))


def _in(name: str, value: float, low: float, high: float, rule: str) -> None:
    if not (low <= value <= high and math.isfinite(value)):
        raise TacitError("task.setting", name=name, value=value, rule=rule)


def _refuse_amplification(plan: Plan) -> None:
    """Who is there depends on how long earlier rounds took, and so on who was drawn for them."""
    for claim in plan.claims:
        if claim.hides == "client" and claim.event is not None and claim.event.rate < 1:
            raise TacitError("run.trace-amplification")
