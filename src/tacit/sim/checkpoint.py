"""Checkpoints of a simulation: killed at any moment, it goes on from its last round, bit for bit.

A folder holds the journal of events, which only grows; and for each of the last two checkpoints a
file of arrays and a small file of facts, written last, that names both by length and hash. So a
checkpoint is there as a whole or not at all, and if the newest is damaged the one before serves.
Nothing is pickled: reading a checkpoint runs no code.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, final

import msgspec

from tacit.base.atomic import write_atomically
from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.learn.examples import Clients, NamedClients
from tacit.plan.build import Plan
from tacit.round.events import Event, event_from_plain, event_to_plain
from tacit.sim.devices import Devices
from tacit.sim.snapshot import (
    FORMAT,
    Damaged,
    Snapshot,
    joined,
    opened,
    read_arrays,
    sealed,
    sha256,
    split,
    write_arrays,
)

JOURNAL = "journal.jsonl"


@final
@dataclass(frozen=True)
class Checkpoints:
    """Where checkpoints go, and after how many rounds each."""

    folder: Path
    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1:
            rule = "a whole number from 1"
            raise TacitError("task.setting", name="every", value=self.every, rule=rule)


def checkpoints(folder: str | os.PathLike[str], every: int = 1) -> Checkpoints:
    """Checkpoints in `folder` after every `every` rounds; for `tacit.simulate(checkpoint=...)`."""
    return Checkpoints(Path(folder), every)


def as_checkpoints(given: Checkpoints | str | os.PathLike[str]) -> Checkpoints:
    """A folder alone means a checkpoint after every round."""
    return given if isinstance(given, Checkpoints) else checkpoints(given)


class About(NamedTuple):
    """What a run is: a checkpoint of another one is refused. Values are names or hashes."""

    federation: str
    seed: str
    engine: str
    data: str
    test: str
    devices: str


_IN_WORDS = {
    "federation": "another federation",
    "seed": "another seed",
    "engine": "another engine",
    "data": "other training data",
    "test": "other test data",
    "devices": "other devices",
}


def about(
    plan: Plan,
    key: Key,
    engine: str,
    data: Clients,
    test: Clients | None,
    devices: Devices | None = None,
) -> About:
    """The identity of a run. The seed is named by a hash that does not give it away."""
    seed = (key / "checkpoint").secret.hex()[:16]
    tested = "" if test is None else fingerprint(test)
    return About(
        plan.digest, seed, engine, fingerprint(data), tested, devices.digest if devices else ""
    )


def fingerprint(clients: Clients) -> str:
    """A hash of who holds how much: names, shapes, types, and each first and last record.

    Of clients that are not in memory only the number, and the names of some.
    """
    hashed = hashlib.blake2b(digest_size=16)
    for fact in _facts(clients):
        hashed.update(f"{len(fact)}:".encode() + fact)
    return hashed.hexdigest()


def _facts(clients: Clients) -> Iterator[bytes]:
    yield str(len(clients)).encode()
    if not isinstance(clients, NamedClients):
        some = range(0, len(clients), max(1, len(clients) // 16))
        yield from (clients.name(i).encode() for i in some)
        return
    for name, held in clients:
        yield name.encode()
        for array in held:
            yield f"{array.shape} {array.dtype.str}".encode()
            if len(array) and not array.dtype.hasobject:
                yield array[0].tobytes() + array[-1].tobytes()


@final
@dataclass
class Keeper:
    """Writes and finds the checkpoints of one run. `notices` say what a user should know."""

    where: Checkpoints
    about: About
    notices: list[str] = field(default_factory=list)
    written: int = 0  # events that are in the journal file
    length: int = 0  # their bytes
    hashed: Any = field(default_factory=hashlib.sha256)
    last: int = 0

    def load(self) -> Snapshot | None:
        """The newest whole checkpoint, or None where there is none at all.

        Raises `run.checkpoint-other` for one of another run, and `run.checkpoint-damaged` where
        none of those there can be read.
        """
        found = sorted(_numbers(self.where.folder), reverse=True)
        damage = []
        for number in found:
            try:
                snapshot = self._read(number)
            except Damaged as wrong:
                damage.append(f"the one after round {number} is damaged ({wrong})")
                continue
            told = "".join(f"; {one}" for one in damage)
            self.notices.append(f"Resumed after round {number} from {self.where.folder}{told}.")
            return snapshot
        if found:
            problem = "; ".join(damage)
            raise TacitError("run.checkpoint-damaged", folder=self.where.folder, problem=problem)
        return None

    def due(self, round_: int, *, over: bool) -> bool:
        """Whether a checkpoint before round `round_` is wanted; `over`: it is the last."""
        return over or (round_ > self.last and round_ % self.where.every == 0)

    def save(self, snapshot: Snapshot) -> None:
        """Write a checkpoint, then drop all but this one and the one before.

        Raises `run.cannot-write` or `data.cannot-write`; what was there stays good.
        """
        try:
            self.where.folder.mkdir(parents=True, exist_ok=True)
            self._append(snapshot.journal[self.written :])
            facts, leaves = split(snapshot)
            arrays = self._path("arrays", snapshot.round, "npz")
            facts |= {"arrays": write_arrays(arrays, leaves), "about": self.about._asdict()}
        except OSError as failed:
            why = failed.strerror or type(failed).__name__
            raise TacitError("run.cannot-write", folder=self.where.folder, why=why) from failed
        facts |= {"journal": {"bytes": self.length, "sha256": self.hashed.hexdigest()}}
        write_atomically(self._path("checkpoint", snapshot.round, "json"), sealed(facts))
        self._prune({self.last, snapshot.round})
        self.last = snapshot.round

    def _append(self, events: Sequence[Event]) -> None:
        """At the place where the known journal ends: what a killed run left behind it is junk."""
        lines = b"".join(msgspec.json.encode(event_to_plain(one)) + b"\n" for one in events)
        path = self.where.folder / JOURNAL
        with path.open("r+b" if path.exists() else "xb") as file:
            file.seek(self.length)
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        self.hashed.update(lines)
        self.length += len(lines)
        self.written += len(events)

    def _read(self, number: int) -> Snapshot:
        facts = opened(self._path("checkpoint", number, "json"))
        self._refuse_another(facts)
        arrays = self._path("arrays", number, "npz")
        if sha256(arrays) != facts["arrays"]:
            raise Damaged(f"{arrays.name} is not what was written")
        journal = self._journal(facts["journal"])
        self.last = number
        return joined(facts, read_arrays(arrays), journal)

    def _refuse_another(self, facts: dict[str, Any]) -> None:
        if facts["format"] != FORMAT:
            raise TacitError("run.checkpoint-format", folder=self.where.folder, known=FORMAT)
        known = self.about._asdict()
        other = [_IN_WORDS[name] for name in known if facts["about"].get(name) != known[name]]
        if other:
            what = " and ".join(other)
            raise TacitError("run.checkpoint-other", folder=self.where.folder, what=what)

    def _journal(self, facts: dict[str, Any]) -> list[Event]:
        try:
            with (self.where.folder / JOURNAL).open("rb") as file:
                text = file.read(facts["bytes"])
        except OSError as failed:
            raise Damaged(f"{JOURNAL}: {failed.strerror}") from failed
        hashed = hashlib.sha256(text)
        if len(text) != facts["bytes"] or hashed.hexdigest() != facts["sha256"]:
            raise Damaged(f"{JOURNAL} is not what was written")
        events = [event_from_plain(msgspec.json.decode(line)) for line in text.splitlines()]
        self.hashed, self.length, self.written = hashed, len(text), len(events)
        return events

    def _prune(self, kept: set[int]) -> None:
        """Drop other checkpoints, and what a killed writer left."""
        for path in self.where.folder.iterdir():
            match = _OURS.fullmatch(path.name)
            if match and (match["left"] or int(match["number"]) not in kept):
                path.unlink(missing_ok=True)

    def _path(self, kind: str, number: int, ending: str) -> Path:
        return self.where.folder / f"{kind}-{number:06d}.{ending}"


_OURS = re.compile(
    r"\.?(checkpoint|arrays)-(?P<number>\d{6,})\.(json|npz)(?P<left>\.[0-9a-f]+\.tmp)?"
)


def _numbers(folder: Path) -> Iterator[int]:
    for path in folder.glob("checkpoint-*.json"):
        if match := _OURS.fullmatch(path.name):
            yield int(match["number"])
