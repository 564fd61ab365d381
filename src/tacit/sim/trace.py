"""Who is there when: times of presence by client, read from a CSV file and asked by index."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.base.nearest import did_you_mean
from tacit.learn.examples import Clients

Times = npt.NDArray[np.float64]


class Spell(NamedTuple):
    """One time of presence, in seconds, and the line of the file that says so."""

    client: str
    start: float
    end: float
    line: int


@final
@dataclass(frozen=True)
class Trace:
    """Spells (n,) sorted by client and start, without overlaps; they repeat every `period` > 0."""

    clients: npt.NDArray[np.int64]
    starts: Times
    ends: Times
    period: float

    @staticmethod
    def of(spells: Sequence[Spell], period: float, clients: Clients, file: str) -> Trace:
        """For a population: raises `run.csv-line` for a name that no client has."""
        index = _indices({spell.client for spell in spells}, clients)
        for spell in spells:
            if spell.client not in index:
                known = [clients.name(i) for i in range(min(len(clients), 1000))]
                hint = did_you_mean(spell.client, known)
                problem = f"no client is called {spell.client!r}. {hint}".strip()
                raise TacitError("run.csv-line", file=file, line=spell.line, problem=problem)
        found = sorted((index[one.client], one.start, one.end) for one in spells)
        merged = _merged(found)
        columns = list(zip(*merged, strict=True)) or [(), (), ()]
        return Trace(
            np.array(columns[0], np.int64), np.array(columns[1]), np.array(columns[2]), period
        )

    def without(self, clients: Collection[int]) -> Trace:
        """The others' spells."""
        stay = ~np.isin(self.clients, np.array(sorted(clients), np.int64))
        return Trace(self.clients[stay], self.starts[stay], self.ends[stay], self.period)

    def present(self, now: float) -> npt.NDArray[np.int64]:
        """Clients that are there, ascending."""
        phase, _ = self._phase(now)
        return self.clients[(self.starts <= phase) & (phase < self.ends)]

    def until(self, client: int, now: float) -> float:
        """The end of the spell that the client is in at `now`; `now` if it is away."""
        phase, began = self._phase(now)
        low, high = np.searchsorted(self.clients, [client, client + 1])
        starts, ends = self.starts[low:high], self.ends[low:high]
        place = int(np.searchsorted(starts, phase, "right")) - 1
        if place < 0 or phase >= ends[place]:
            return now
        if ends[place] < self.period or not self.period or starts[0] > 0:
            return began + float(ends[place])
        # It is there across the turn of the period.
        return math.inf if ends[0] >= self.period else began + self.period + float(ends[0])

    def moment(self, now: float, needed: int) -> float:
        """The first moment from `now` on with `needed` clients; raises `run.nobody-there`."""
        phase, began = self._phase(now)
        if len(self.present(now)) >= needed:
            return now
        times = np.unique(self.starts)
        there = self._counts(times) >= needed
        today = times[there & (times > phase)]
        if len(today):
            return self._at(began, float(today[0]))
        if self.period and there.any():
            return self._at(began + self.period, float(times[there][0]))
        raise TacitError("run.nobody-there", needed=needed, moment=now)

    def _at(self, began: float, start: float) -> float:
        """The moment of a spell's start, by no rounding before it."""
        moment = began + start
        while self._phase(moment)[0] < start:
            moment = math.nextafter(moment, math.inf)
        return moment

    def _counts(self, times: Times) -> npt.NDArray[np.int64]:
        """How many are there at each time: began so far, less ended so far."""
        began = np.searchsorted(np.sort(self.starts), times, "right")
        return began - np.searchsorted(np.sort(self.ends), times, "right")

    def _phase(self, now: float) -> tuple[float, float]:
        """The time within the period, and when this period began."""
        if not self.period:
            return now, 0.0
        began = math.floor(now / self.period) * self.period
        return now - began, began


def read_trace(path: Path, period: float) -> tuple[Spell, ...]:
    """Lines client,start,end; raises `run.csv-line`."""
    spells = []
    for line, client, (start, end) in _lines(path, ("start", "end")):
        if not 0 <= start < end or (period and end > period):
            most = f" <= {period:g}, the period" if period else ""
            problem = f"{start:g} to {end:g} is no time of presence: 0 <= start < end{most}"
            raise TacitError("run.csv-line", file=path, line=line, problem=problem)
        spells.append(Spell(client, start, end, line))
    return tuple(spells)


def read_devices(path: Path) -> dict[str, tuple[float, ...]]:
    """Lines client,step,down,up and perhaps latency,dropout; raises `run.csv-line`."""
    found: dict[str, tuple[float, ...]] = {}
    for line, client, values in _lines(path, ("step", "down", "up"), ("latency", "dropout")):
        step, down, up, latency, dropout = (*values, 0.0, 0.0)[:5]
        problem = ""
        if client in found:
            problem = f"{client!r} has a line already"
        elif step < 0 or latency < 0 or down <= 0 or up <= 0:
            problem = "step and latency are 0 or more, down and up more than 0"
        elif not 0 <= dropout <= 1:
            problem = f"dropout is a probability, not {dropout:g}"
        if problem:
            raise TacitError("run.csv-line", file=path, line=line, problem=problem)
        found[client] = (step, down, up, latency, dropout)
    return found


def _lines(
    path: Path, needed: tuple[str, ...], optional: tuple[str, ...] = ()
) -> Iterator[tuple[int, str, tuple[float, ...]]]:
    """Line number, client, and the numbers in the columns' order."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, skipinitialspace=True)
            names = [name.strip() for name in rows.fieldnames or ()]
            _check_header(path, names, needed, optional)
            rows.fieldnames = names
            wanted = [name for name in (*needed, *optional) if name in names]
            for row in rows:
                values = tuple(_number(path, rows.line_num, name, row[name]) for name in wanted)
                yield rows.line_num, _client(path, rows.line_num, row["client"]), values
    except (OSError, UnicodeDecodeError, csv.Error) as failed:
        problem = getattr(failed, "strerror", None) or "it is not a CSV file in UTF-8"
        raise TacitError("run.csv-line", file=path, line=1, problem=problem) from failed


def _check_header(
    path: Path, names: list[str], needed: tuple[str, ...], optional: tuple[str, ...]
) -> None:
    known = ("client", *needed, *optional)
    wrong = [name for name in names if name not in known]
    # A row cannot say that it skips a column, so the optional ones come in order.
    gap = "dropout" in names and "latency" not in names
    if wrong or gap or any(name not in names for name in ("client", *needed)):
        problem = f"the columns are {','.join(known)}, not {','.join(names) or 'nothing'}"
        raise TacitError("run.csv-line", file=path, line=1, problem=problem)


def _number(path: Path, line: int, name: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        problem = f"{name} is {text!r}, not a number"
        raise TacitError("run.csv-line", file=path, line=line, problem=problem)
    return value


def _client(path: Path, line: int, text: str) -> str:
    if not text.strip():
        raise TacitError("run.csv-line", file=path, line=line, problem="the client has no name")
    return text.strip()


def _indices(names: set[str], clients: Clients) -> dict[str, int]:
    """Where these names are in the population."""
    all_names = (clients.name(i) for i in range(len(clients)))
    return {name: i for i, name in enumerate(all_names) if name in names}


def _merged(spells: list[tuple[int, float, float]]) -> list[tuple[int, float, float]]:
    """Spells of one client that touch become one."""
    merged: list[tuple[int, float, float]] = []
    for client, start, end in spells:
        if merged and merged[-1][0] == client and start <= merged[-1][2]:
            merged[-1] = (client, merged[-1][1], max(end, merged[-1][2]))
        else:
            merged.append((client, start, end))
    return merged
