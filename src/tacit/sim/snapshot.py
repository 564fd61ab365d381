"""Everything that a simulation is between two rounds, as facts and arrays in whole files."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from tacit.base.errors import TacitError
from tacit.base.tree import Leaf, flatten, unflatten
from tacit.learn.algorithm import State
from tacit.round.events import Event, event_from_plain, event_to_plain
from tacit.sim.backend import Problem
from tacit.sim.memory import Shelf

FORMAT = 1

Later = tuple[float, int, Event]
"""An event that is still to come: when, its place among simultaneous ones, and what."""


class Snapshot(NamedTuple):
    """Everything that a simulation is between two rounds.

    `round` is the next one, `later` events on their way, `held` answers that wait in a buffer.
    """

    round: int
    state: State
    journal: Sequence[Event]
    later: Sequence[Later]
    clock: float
    bytes_up: int
    bytes_down: int
    history: Sequence[Mapping[str, float]]
    problems: Sequence[Problem]
    memories: Sequence[Shelf]
    held: Sequence[Shelf] = ()


class Damaged(Exception):
    """A checkpoint that cannot be read, and why; users meet it as a notice or a `TacitError`."""


def split(snapshot: Snapshot) -> tuple[dict[str, Any], list[Leaf]]:
    """Facts for JSON, and arrays."""
    arrays = {
        "algorithm": snapshot.state,
        "memories": [list(shelf) for shelf in snapshot.memories],
        "held": [list(shelf) for shelf in snapshot.held],
    }
    outline, leaves = flatten(arrays, "simulation")
    facts = {
        "format": FORMAT,
        "round": snapshot.round,
        "outline": outline,
        "later": [[when, place, event_to_plain(event)] for when, place, event in snapshot.later],
        "clock": snapshot.clock,
        "history": [_row(row) for row in snapshot.history],
        "bytes": [snapshot.bytes_up, snapshot.bytes_down],
        "problems": [
            [one.round, one.client, one.error.code, _plain(one.error.facts)]
            for one in snapshot.problems
        ],
    }
    return facts, leaves


def joined(facts: dict[str, Any], leaves: list[Leaf], journal: list[Event]) -> Snapshot:
    """What `split` took apart."""
    arrays = unflatten(facts["outline"], leaves)
    up, down = facts["bytes"]
    return Snapshot(
        facts["round"],
        arrays["algorithm"],
        journal,
        [(when, place, event_from_plain(event)) for when, place, event in facts["later"]],
        facts["clock"],
        up,
        down,
        facts["history"],
        [
            Problem(round_, client, TacitError(code, **told))
            for round_, client, code, told in facts["problems"]
        ],
        [Shelf(*shelf) for shelf in arrays["memories"]],
        [Shelf(*shelf) for shelf in arrays["held"]],
    )


def _row(row: Mapping[str, Any]) -> dict[str, float]:
    """A row of the history in Python's numbers, which JSON holds exactly."""
    return {
        name: held.item() if isinstance(held, np.generic) else held for name, held in row.items()
    }


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of an error as JSON holds them, so that its sentences read the same."""
    return {
        name: held if isinstance(held, str | int | float | None) else str(held)
        for name, held in facts.items()
    }


def sealed(facts: dict[str, Any]) -> str:
    """Two lines: the facts, and their hash."""
    text = json.dumps(facts)
    return f"{text}\n{hashlib.sha256(text.encode()).hexdigest()}\n"


def opened(path: Path) -> dict[str, Any]:
    """The facts of a sealed file, if they are those that were written."""
    try:
        text, seal, _ = path.read_text("utf-8").split("\n")
    except (OSError, ValueError) as failed:
        raise Damaged(f"{path.name} is incomplete") from failed
    if hashlib.sha256(text.encode()).hexdigest() != seal:
        raise Damaged(f"{path.name} is not what was written")
    facts: dict[str, Any] = json.loads(text)
    return facts


def write_arrays(path: Path, leaves: list[Leaf]) -> str:
    """Write beside `path`, flush to the disk, rename; returns the SHA-256."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with beside.open("xb") as file:
            np.savez(file, *leaves)
            file.flush()
            os.fsync(file.fileno())
        found = sha256(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return found


def read_arrays(path: Path) -> list[Leaf]:
    """The arrays of a file, in order."""
    try:
        with np.load(path, allow_pickle=False) as held:
            return [held[f"arr_{i}"] for i in range(len(held.files))]
    except (OSError, ValueError, BadZipFile) as failed:
        raise Damaged(f"{path.name}: {failed}") from failed


def sha256(path: Path) -> str:
    """The hash (hex) of a file's bytes."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as failed:
        raise Damaged(f"{path.name} is missing") from failed
