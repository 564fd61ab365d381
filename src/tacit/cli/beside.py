"""Runs side by side: the settings in which they differ, and how they ended."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console

from tacit.cli.output import bullets, grid, heading, show_grid
from tacit.cli.summary import epsilons, moved
from tacit.record.stored import StoredRun


class Beside(NamedTuple):
    """Runs side by side: rows of settings that differ, and rows of numbers, one column a run."""

    names: tuple[str, ...]
    settings: Mapping[str, Sequence[Any]]
    numbers: Mapping[str, Sequence[float | None]]

    @staticmethod
    def of(found: Sequence[StoredRun]) -> Beside:
        """Compare stored runs."""
        flat = [_flat(run.federation.plain) | {"seed": run.meta["seed"]} for run in found]
        settings = {key: [one.get(key) for one in flat] for key in _keys(flat)}
        differing = {key: row for key, row in settings.items() if any(v != row[0] for v in row)}
        each = [_numbers(run.meta) for run in found]
        numbers = {key: [one.get(key) for one in each] for key in _keys(each)}
        told = {key: row for key, row in numbers.items() if any(v is not None for v in row)}
        return Beside(tuple(run.name for run in found), differing, told)

    def plain(self) -> dict[str, Any]:
        """For programs."""
        return {
            "runs": list(self.names),
            "settings": dict(self.settings),
            "numbers": dict(self.numbers),
        }

    def csv(self) -> str:
        """One line a setting or number, one column a run."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("what", *self.names))
        for key, row in (*self.settings.items(), *self.numbers.items()):
            writer.writerow((key, *("" if value is None else value for value in row)))
        return text.getvalue()

    def show(self, screen: Console) -> None:
        """For people."""
        heading(screen, "Settings that differ")
        if self.settings:
            self._table(screen, self.settings, "setting")
        else:
            bullets(screen, ["None: the same description and seed."])
        heading(screen, "How they ended")
        self._table(screen, self.numbers, "number")

    def _table(self, screen: Console, rows: Mapping[str, Sequence[Any]], first: str) -> None:
        cells = [(key, *(cell(value) for value in row)) for key, row in rows.items()]
        show_grid(screen, grid((first, *self.names), cells, (first,)))


def _keys(each: Sequence[Mapping[str, Any]]) -> list[str]:
    """All keys, each once, in the order in which they are met."""
    return list(dict.fromkeys(key for one in each for key in one))


def _flat(plain: Any, path: str = "") -> dict[str, Any]:
    """`{"algorithm.lr": 0.5, "protect[0].kind": "clip"}`: one entry a setting."""
    if isinstance(plain, Mapping):
        pairs = [(f"{path}.{name}".lstrip("."), held) for name, held in plain.items()]
    elif isinstance(plain, list) and any(isinstance(held, Mapping) for held in plain):
        pairs = [(f"{path}[{i}]", held) for i, held in enumerate(plain)]
    else:
        return {path: plain}
    return {key: value for name, held in pairs for key, value in _flat(held, name).items()}


def _numbers(about: Mapping[str, Any]) -> dict[str, float | None]:
    final = about["final"] or {}
    return {
        "rounds": about["rounds"]["counted"],
        "test accuracy": final.get("accuracy"),
        "worst client": final.get("worst_client"),
        "spread": final.get("spread"),
        "test loss": final.get("loss"),
        "training loss": about["last"].get("train_loss"),
        **{f"epsilon: one {key}": value for key, value in epsilons(about).items()},
        "bytes moved": moved(about),
        "failures": len(about["problems"]),
    }


def cell(value: Any) -> str:
    """A value of any kind, short."""
    if value is None or value != value:
        return "-"
    whole = isinstance(value, float) and value.is_integer()
    return f"{value:.0f}" if whole else f"{value:.4g}" if isinstance(value, float) else str(value)
