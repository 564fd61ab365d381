"""Time to accuracy: when a run first reached a level, in virtual seconds, rounds and bytes."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, final

from tacit.base.extras import optional
from tacit.record.run import Run
from tacit.sim.engine import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Reached(NamedTuple):
    """The first round at which a level was reached."""

    seconds: float
    round: int
    bytes: float


def time_to(run: Run, level: float, measure: str = "test_accuracy") -> Reached | None:
    """When `measure` was first at least `level` (a loss: at most); None if it never was."""
    falls = measure.endswith("loss")

    def there(row: Row) -> bool:
        value = row.get(measure, float("nan"))
        return value <= level if falls else value >= level

    row = next((row for row in run.history if there(row)), None)
    return None if row is None else Reached(row["seconds"], int(row["round"]), row["bytes"])


@final
@dataclass(frozen=True)
class TimeTo:
    """Several runs beside each other; print it, or see it in a notebook."""

    runs: Mapping[str, Run]
    levels: tuple[float, ...]
    measure: str

    def rows(self) -> list[tuple[str, ...]]:
        """A header, and one row a run: virtual seconds (and rounds) to each level."""
        header = (f"seconds to {self.measure}", *(f"{level:g}" for level in self.levels))
        return [header, *((name, *map(self._cell, self._found(run))) for name, run in self._all())]

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )

    def _repr_html_(self) -> str:
        cells = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in self.rows())
        return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """The measure over virtual time, one line a run; saved if `path` is given."""
        from tacit.record.plots import COLOURS, save  # optional extra: plot

        figure: Figure = optional("matplotlib.figure", "Drawing a plot").Figure(
            (4.4, 3.5), layout="constrained"
        )
        axes = figure.subplots()
        for i, (name, run) in enumerate(self._all()):
            held = [
                (row["seconds"], row[self.measure]) for row in run.history if self.measure in row
            ]
            axes.plot(*zip(*held, strict=True), color=COLOURS[i % len(COLOURS)], label=name)
        axes.set_xlabel("virtual seconds")
        axes.set_ylabel(self.measure.replace("_", " "))
        axes.legend()
        if path is not None:
            save(figure, path)
        return figure

    def _all(self) -> Sequence[tuple[str, Run]]:
        return tuple(self.runs.items())

    def _found(self, run: Run) -> list[Reached | None]:
        return [time_to(run, level, self.measure) for level in self.levels]

    @staticmethod
    def _cell(found: Reached | None) -> str:
        return "never" if found is None else f"{found.seconds:.4g} ({found.round})"


def times_to(
    runs: Mapping[str, Run], levels: Sequence[float], measure: str = "test_accuracy"
) -> TimeTo:
    """A table of virtual seconds (and rounds) that each run took to reach each level."""
    return TimeTo(dict(runs), tuple(levels), measure)
