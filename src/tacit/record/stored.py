"""Reading run folders back: checked against the digests that were saved with them."""

from __future__ import annotations

import csv
import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.plan.federation import Federation
from tacit.record.folder import (
    ABOUT,
    FEDERATION,
    FORMAT,
    HISTORY,
    JOURNAL,
    KEYS,
    MODEL,
    file_digest,
)
from tacit.round.events import Event, event_from_plain
from tacit.sim.engine import Row


@final
@dataclass(frozen=True, eq=False)
class StoredRun:
    """A run as its folder tells it. `meta` is run.json; `params` are the model's arrays by name."""

    folder: Path
    federation: Federation
    history: tuple[Row, ...]
    params: Mapping[str, npt.NDArray[Any]]
    meta: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The folder's name: what a user calls the run."""
        return self.folder.name


def load_run(folder: str | os.PathLike[str]) -> StoredRun:
    """Read a run folder, and check that it is what was saved.

    Raises `run.not-a-run`, `run.format`, `run.file-missing`, `run.file-corrupt` or
    `run.other-federation`. Nothing is unpickled and no code of the run is loaded.
    """
    place = Path(folder)
    meta = load_meta(place)
    federation = _federation(place, meta)
    return StoredRun(place, federation, _history(place, meta), _params(place, meta), meta)


def load_meta(folder: Path) -> dict[str, Any]:
    """run.json alone: enough for a list of runs."""
    if not (folder / ABOUT).is_file():
        raise TacitError("run.not-a-run", folder=folder)
    try:
        meta = json.loads((folder / ABOUT).read_text("utf-8"))
    except (OSError, ValueError) as wrong:
        raise _corrupt(folder, ABOUT, wrong) from wrong
    if not isinstance(meta, dict):
        raise _corrupt(folder, ABOUT, "it holds no table")
    if meta.get("format") != FORMAT:
        raise TacitError("run.format", folder=folder, found=meta.get("format"), known=FORMAT)
    if lost := [name for name in KEYS if name not in meta]:
        raise _corrupt(folder, ABOUT, f"it lacks {', '.join(lost)}")
    return meta


def history_from(lines: Iterable[str]) -> tuple[Row, ...]:
    """The rows of a history.csv; an empty cell is a number that the round did not have."""
    rows = csv.DictReader(lines)
    return tuple({name: float(cell) for name, cell in row.items() if cell} for row in rows)


def load_journal(folder: str | os.PathLike[str]) -> tuple[Event, ...]:
    """The events of a run, in order."""
    place = Path(folder)
    lines = _checked(place, JOURNAL, load_meta(place)).read_text("utf-8").splitlines()
    try:
        return tuple(event_from_plain(json.loads(line)) for line in lines)
    except (ValueError, TacitError) as wrong:
        raise _corrupt(place, JOURNAL, wrong) from wrong


def runs_in(folder: str | os.PathLike[str]) -> tuple[Path, ...]:
    """The run folders inside `folder`, oldest first; empty if there is no such folder."""
    place = Path(folder)
    found = [
        path.parent for path in place.glob(f"*/{ABOUT}") if not path.parent.name.startswith(".")
    ]
    return tuple(sorted(found, key=lambda run: ((run / ABOUT).stat().st_mtime, run.name)))


def _federation(folder: Path, meta: Mapping[str, Any]) -> Federation:
    """The description may be laid out anew, but must still mean the same."""
    federation = Federation.load(_present(folder, FEDERATION))
    expected = str(meta.get("digest"))
    if federation.digest != expected:
        found = federation.digest[:12]
        raise TacitError("run.other-federation", folder=folder, found=found, expected=expected[:12])
    return federation


def _history(folder: Path, meta: Mapping[str, Any]) -> tuple[Row, ...]:
    try:
        return history_from(_checked(folder, HISTORY, meta).read_text("utf-8").splitlines())
    except (TypeError, ValueError) as wrong:
        raise _corrupt(folder, HISTORY, wrong) from wrong


def _params(folder: Path, meta: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    path = _checked(folder, MODEL, meta)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as wrong:
        raise _corrupt(folder, MODEL, wrong) from wrong


def _present(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise TacitError("run.file-missing", folder=folder, file=name)
    return path


def _checked(folder: Path, name: str, meta: Mapping[str, Any]) -> Path:
    path = _present(folder, name)
    if file_digest(path) != meta["files"].get(name):
        raise _corrupt(folder, name, "its SHA-256 is another")
    return path


def _corrupt(folder: Path, name: str, problem: object) -> TacitError:
    return TacitError("run.file-corrupt", folder=folder, file=name, problem=problem)
