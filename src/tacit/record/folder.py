"""A run as a folder that a person can open: the model, the numbers, the journal, the pictures.

run.json          what ran, how it ended, what is claimed; the SHA-256 of every other file
federation.toml   the description
trust.txt         who could see what
history.csv       one line a round
journal.jsonl     one event a line; the state of the run is its fold
model.npz         the parameters by name
curves.png .svg   learning curves, and
report.html       everything on one page, where matplotlib is installed
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import platform
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

import tacit
from tacit.base.errors import TacitError
from tacit.base.plain import to_plain
from tacit.plan.claims import Claim
from tacit.record.plots import Kind, curves, image
from tacit.record.report import report
from tacit.record.whole_folder import whole_folder
from tacit.round.events import event_to_plain
from tacit.sim.backend import Problem
from tacit.sim.evaluate import Evaluation

if TYPE_CHECKING:
    from tacit.record.run import Run

FORMAT = 1
ABOUT, FEDERATION, TRUST = "run.json", "federation.toml", "trust.txt"
HISTORY, JOURNAL, MODEL = "history.csv", "journal.jsonl", "model.npz"
REPORT = "report.html"
PICTURES: dict[str, Kind] = {"curves.png": "png", "curves.svg": "svg"}


Draw = Callable[["Run", Path], tuple[str, ...]]
"""Writes files about a run into a folder, and tells in words what it had to leave out."""

KEYS = (
    "format", "name", "digest", "seed", "versions", "rounds", "clients", "parameters", "bytes",
    "last", "final", "claims", "problems", "warnings", "files",
)  # fmt: skip
"""What run.json holds."""


class Saved(NamedTuple):
    """What was written where, and what was left out and why."""

    folder: Path
    files: tuple[str, ...]
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"Saved in {self.folder}: {', '.join(self.files)}."]
        return "\n".join([*lines, *(f"Left out: {text}" for text in self.left_out)])


def save_run(run: Run, folder: str | os.PathLike[str]) -> str:
    """Write a run folder, complete or not at all, and say in words what it holds.

    Raises `run.folder-exists`, `run.no-space` or `run.cannot-write`.
    """
    return str(write_run(run, Path(folder)))


def write_run(run: Run, folder: Path, draw: Draw | None = None) -> Saved:
    """As `save_run`, for callers that want the parts of what it says.

    `draw` makes pictures and report in place of the usual ones, and may add files of its own.
    """
    with whole_folder(folder) as place:
        for name, text in _texts(run).items():
            (place / name).write_text(text, "utf-8", newline="\n")
        _write_arrays(place / MODEL, run.model.arrays())
        left_out = (draw or _draw)(run, place)
        digests = {path.name: file_digest(path) for path in sorted(place.iterdir())}
        about = describe(run) | {"files": digests}
        (place / ABOUT).write_text(as_json(about), "utf-8", newline="\n")
    return Saved(folder, (ABOUT, *digests), left_out)


def describe(run: Run) -> dict[str, Any]:
    """A finished run as plain data that is strict JSON: what is no finite number is null."""
    federation, outcome = run.plan.federation, run.outcome
    return {
        "format": FORMAT,
        "name": federation.name,
        "digest": federation.digest,
        "seed": run.seed,
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "tacit": tacit.__version__,
        },
        "rounds": {"planned": federation.rounds, "counted": len(run.history)},
        "clients": federation.clients,
        "parameters": run.plan.task.layout.size,
        "bytes": {"up": outcome.bytes_up, "down": outcome.bytes_down},
        "last": finite(run.history[-1]) if run.history else {},
        "final": finite(_evaluation(run.final)) if run.final else None,
        "claims": [plain_claim(claim) for claim in run.claims],
        "problems": [_problem(problem) for problem in run.problems],
        "warnings": list(run.warnings),
    }


def plain_claim(claim: Claim) -> dict[str, Any]:
    """A claim as plain data; its epsilon is null where nothing is promised."""
    plain: dict[str, Any] = finite(to_plain(claim))
    return plain | {"epsilon": claim.epsilon if claim.holds else None}


def as_json(plain: Any) -> str:
    """Strict JSON for people and programs."""
    return json.dumps(plain, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def history_csv(history: Iterable[Mapping[str, float]]) -> str:
    """One line a round, the union of the columns; `float` of a cell gives the very number back."""
    rows = list(history)
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _number(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _texts(run: Run) -> dict[str, str]:
    events = (json.dumps(event_to_plain(event)) for event in run.outcome.journal)
    return {
        FEDERATION: run.plan.federation.to_toml(),
        TRUST: f"{run.trust}\n",
        HISTORY: history_csv(run.history),
        JOURNAL: "".join(f"{line}\n" for line in events),
    }


def _number(value: float) -> str:
    """`item` makes a numpy number, whose `repr` is not a numeral, a plain one."""
    return repr(value.item() if isinstance(value, np.generic) else value)


def _write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """The format of `np.savez`, which itself cannot take an array called "file"."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _draw(run: Run, place: Path) -> tuple[str, ...]:
    """Pictures and report; what they lack is told, not hidden."""
    try:
        figure = curves({run.plan.federation.name: run})
    except TacitError as missing:
        if missing.code != "task.missing-extra":
            raise
        return (f"{', '.join(PICTURES)} and {REPORT}. {missing.cause} {missing.remedy}",)
    for name, kind in PICTURES.items():
        (place / name).write_bytes(image(figure, kind))
    (place / REPORT).write_text(report(run), "utf-8", newline="\n")
    return ()


def _evaluation(found: Evaluation) -> dict[str, Any]:
    clients = {
        name: {"examples": one.examples, "loss": one.mean_loss, "accuracy": one.accuracy}
        for name, one in found.clients.items()
    }
    return {
        "accuracy": found.accuracy,
        "loss": found.loss,
        "worst_client": found.worst,
        "spread": found.spread,
        "examples": found.pooled.examples,
        "clients": clients,
    }


def _problem(problem: Problem) -> dict[str, Any]:
    """Rounds count from 1 here, as in the history; the journal's count from 0."""
    return {"round": problem.round + 1, "client": problem.client, **problem.error.as_dict()}


def finite(value: Any) -> Any:
    """JSON has no infinity and no NaN."""
    if isinstance(value, Mapping):
        return {name: finite(held) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [finite(held) for held in value]
    if isinstance(value, np.generic):
        return finite(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
