"""Pictures of runs: learning curves, and several methods side by side.

Drawn on figures of their own, without pyplot: nothing global changes and no display is needed.
Colours are Okabe and Ito's (2008), which people with colour blindness tell apart.
"""

from __future__ import annotations

import functools
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tacit.base.atomic import write_atomically
from tacit.base.errors import TacitError
from tacit.base.extras import optional

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tacit.record.comparison import Comparison, Result
    from tacit.record.run import Run
    from tacit.sim.engine import Row

Kind = Literal["png", "svg", "pdf"]
KINDS: tuple[Kind, ...] = ("png", "svg", "pdf")

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
INK, FAINT = "#333333", "#999999"

_STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "savefig.dpi": 160,
    "svg.hashsalt": "tacit",
}


class Series(NamedTuple):
    """One column of the history and how it is drawn."""

    column: str
    label: str
    style: Mapping[str, Any]


class Panel(NamedTuple):
    """One pair of axes. With several runs only the first series that a run has is drawn."""

    title: str
    axis: str
    series: tuple[Series, ...]


_LINE: Mapping[str, Any] = {}
_DASHED: Mapping[str, Any] = {"linestyle": (0, (4, 2)), "linewidth": 1.4}
_NOISED: Mapping[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 2.8, "alpha": 0.6}

_ACCURACY = Panel(
    "Accuracy",
    "accuracy",
    (
        Series("test_accuracy", "all clients", _LINE),
        Series("worst_client", "worst client", _DASHED),
        Series("reported_accuracy", "as reported", _NOISED),
    ),
)
_WORST = Panel(
    "Accuracy",
    "accuracy",
    (
        Series("worst_client", "worst client", _LINE),
        Series("reported_worst", "worst client, as reported", _LINE),
    ),
)
_LOSS = Panel(
    "Loss",
    "mean loss a record (nats)",
    (
        Series("test_loss", "test records", _LINE),
        Series("train_loss", "training records", _DASHED),
        Series("reported_loss", "as reported", _NOISED),
    ),
)


def curves(runs: Mapping[str, Run], path: str | os.PathLike[str] | None = None) -> Figure:
    """Learning curves of one run or several: accuracy, the worst client, loss, round by round.

    Exact numbers exist in simulations only; "as reported" are the clients' own, noised if the
    plan is. A notebook shows the figure; with `path` (.png, .svg or .pdf) it is saved as well.
    Raises `task.missing-extra`, `task.setting` for another ending, or `data.cannot-write`.
    """
    histories = {name: run.history for name, run in runs.items()}
    right = (_ACCURACY, _WORST) if len(runs) > 1 else (_ACCURACY,)
    panels = (*(right if any(map(classifies, runs.values())) else ()), _LOSS)
    shown = [(panel, found) for panel in panels if (found := _found(panel, histories))]
    with _styled():
        figure = _figure(4.4 * max(len(shown), 1), 3.5)
        if not shown:
            figure.text(0.5, 0.5, "No round left a number to draw.", ha="center", va="center")
        for i, (panel, found) in enumerate(shown, start=1):
            _draw_panel(figure.add_subplot(1, len(shown), i), panel, found, histories)
        if len(runs) > 1:
            _legend_below(figure)
    if path is not None:
        save(figure, path)
    return figure


def classifies(run: Run) -> bool:
    """Whether the run's task has classes, so that accuracy means something."""
    contract = run.plan.federation.data
    return contract is None or contract.classes > 0


def comparison(compared: Comparison) -> Figure:
    """Every method on every evaluation set: mean over seeds, standard deviation, single seeds."""
    results = compared.results
    with _styled():
        figure = _figure(1.75 * len(compared.sets) + 1.6, 0.3 * len(results) + 1.4)
        grid = figure.subplots(1, len(compared.sets), sharex=True, sharey=True, squeeze=False)[0]
        for i, (axes, found) in enumerate(zip(grid, compared.sets, strict=True)):
            axes.axvline(100 * found.guess, color=FAINT, linewidth=1, linestyle=(0, (3, 2)))
            axes.set_title(f"{found.name} ({found.records})")
            axes.tick_params(axis="y", length=0)
            for row, result in enumerate(results):
                _draw_score(axes, row, result.scores[i].values, _colour(result))
        grid[0].set_yticks(range(len(results)), [result.method.label for result in results])
        for label, result in zip(grid[0].get_yticklabels(), results, strict=True):
            label.set_color(_colour(result))
        grid[0].invert_yaxis()
        grid[0].xaxis.set_major_locator(_ticks(4))
        figure.supxlabel(_reading(compared), fontsize=8.5)
    return figure


def image(figure: Figure, kind: Kind) -> bytes:
    """The figure as a file's content; the same figure gives the same bytes."""
    stamp = {"png": "Software", "svg": "Date", "pdf": "CreationDate"}[kind]
    content = io.BytesIO()
    with _styled():
        figure.savefig(content, format=kind, metadata={stamp: None})
    return content.getvalue()


def images(name: str, figure: Figure) -> dict[str, bytes]:
    """`name`.png for a slide and `name`.svg to scale, as file names and contents."""
    return {f"{name}.png": image(figure, "png"), f"{name}.svg": image(figure, "svg")}


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write the figure in the format that the path's ending names."""
    ending = Path(path).suffix.removeprefix(".").lower()
    kind = next((known for known in KINDS if known == ending), None)
    if kind is None:
        rule = "a file name ending in .png, .svg or .pdf"
        raise TacitError("task.setting", name="path", value=str(path), rule=rule)
    write_atomically(Path(path), image(figure, kind))


def _found(panel: Panel, histories: Mapping[str, Sequence[Row]]) -> tuple[Series, ...]:
    """The panel's series that hold a number: all of them for one run, the first for several."""
    held = [s for s in panel.series if any(_finite(rows, s.column) for rows in histories.values())]
    return tuple(held if len(histories) == 1 else held[:1])


def _draw_panel(
    axes: Axes, panel: Panel, found: Sequence[Series], histories: Mapping[str, Sequence[Row]]
) -> None:
    single = len(histories) == 1
    for i, (name, rows) in enumerate(histories.items()):
        for series in found:
            if points := _finite(rows, series.column):
                label, style = (series.label, series.style) if single else (name, _nth(i))
                axes.plot(*zip(*points, strict=True), color=_colours(i), label=label, **style)
        if single:
            _band(axes, rows, {series.column for series in found})
    axes.set_title(panel.title if single else f"{panel.title}: {found[0].label}")
    axes.set_xlabel("round")
    axes.set_ylabel(panel.axis)
    axes.xaxis.set_major_locator(_ticks(8, integer=True))
    if panel.axis == "accuracy":
        axes.yaxis.set_major_locator(_ticks(8))
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    if single:
        axes.legend()


def _band(axes: Axes, rows: Sequence[Row], columns: set[str]) -> None:
    """Shade from the worst client up to all clients together."""
    if not {"test_accuracy", "worst_client"} <= columns:
        return
    rounds = [row["round"] for row in rows]
    low, high = ([row[name] for row in rows] for name in ("worst_client", "test_accuracy"))
    axes.fill_between(rounds, low, high, color=COLOURS[0], alpha=0.12, linewidth=0)


def _draw_score(axes: Axes, row: int, values: Sequence[float], colour: str) -> None:
    percents = [100 * value for value in values]
    mean = sum(percents) / len(percents)
    spread = math.sqrt(sum((p - mean) ** 2 for p in percents) / max(len(percents) - 1, 1))
    axes.plot(percents, [row] * len(percents), "o", color=colour, alpha=0.25, markersize=3)
    axes.errorbar(mean, row, xerr=spread, fmt="o", color=colour, markersize=5, elinewidth=1.5)


def _colour(result: Result) -> str:
    """Grey without a federation, blue without a promise, vermilion with one."""
    if not result.federated:
        return "#666666"
    return COLOURS[1] if result.claim("record") else COLOURS[0]


def _reading(compared: Comparison) -> str:
    seeds = len(compared.seeds)
    return (
        "accuracy in % on each test set (number of records): mean and standard deviation over "
        f"{seeds} seed{'s' * (seeds > 1)}, each seed faint\n"
        "grey: not federated; blue: federated without DP; vermilion: with DP; dashed: always "
        "naming the commoner class"
    )


def _legend_below(figure: Figure) -> None:
    """One entry a run, from whichever axes it is on."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    if found:
        columns = min(len(found), 6)
        figure.legend(found.values(), found, loc="outside lower center", ncols=columns)


def _finite(rows: Sequence[Row], column: str) -> list[tuple[float, float]]:
    """(round, value) wherever the column holds a number."""
    points = ((row["round"], row.get(column, math.nan)) for row in rows)
    return [(round_, value) for round_, value in points if math.isfinite(value)]


def _colours(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def _nth(i: int) -> Mapping[str, Any]:
    """A thin line; where the colours start again, another dash."""
    return {"linewidth": 1.3, "linestyle": ("-", "--", ":")[i // len(COLOURS) % 3]}


def _figure(width: float, height: float) -> Figure:
    figure: Figure = _shown_figure()(figsize=(width, height), layout="constrained")
    return figure


@functools.cache
def _shown_figure() -> Any:
    """matplotlib's figure with the method by which a notebook shows what a cell returns."""
    base = optional("matplotlib.figure", "Drawing a plot").Figure
    return type("Figure", (base,), {"_repr_png_": lambda figure: image(figure, "png")})


def _ticks(most: int, *, integer: bool = False) -> Any:
    """Round numbers along an axis."""
    ticker = optional("matplotlib.ticker", "Drawing a plot")
    return ticker.MaxNLocator(most, steps=[1, 2, 5, 10], integer=integer)


def _styled() -> Any:
    return optional("matplotlib", "Drawing a plot").rc_context(_STYLE)
