"""A picture of who holds what: clients down, classes across, and each client's records beside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from tacit.learn.summary import Summary, summary
from tacit.record.plots import COLOURS, FAINT, INK, _figure, _styled, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMED = 40
"""More clients than this are not named one by one."""
_WRITTEN = 260
"""More cells than this have no number written in them."""


def heatmap(data: Any, path: str | os.PathLike[str] | None = None) -> Figure:
    """The share of each class in each client's records, and how many records each client has.

    `data`: what `tacit.simulate` takes, or a `tacit.data.summary`. A notebook shows the figure;
    with `path` (.png, .svg or .pdf) it is saved as well. Without classes (a regression) only the
    records are drawn. Raises `task.missing-extra`, `task.setting`, `data.cannot-write`.
    """
    held = data if isinstance(data, Summary) else summary(data)
    classes = len(held.classes)
    height = min(max(0.24 * len(held.rows), 1.2), 9.0) + 1.1
    with _styled():
        figure = _figure(max(0.42 * classes, 2.0) * bool(classes) + 3.4, height)
        widths = [max(0.42 * classes, 2.0), 1.8] if classes else [1.8]
        grid = figure.subplots(1, len(widths), sharey=True, squeeze=False, width_ratios=widths)[0]
        if classes:
            _draw_shares(figure, grid[0], held)
        _draw_records(grid[-1], held)
        _name_clients(grid[0], held)
    if path is not None:
        save(figure, path)
    return figure


def _draw_shares(figure: Figure, axes: Axes, held: Summary) -> None:
    shares = np.array([row.shares for row in held.rows])
    image = axes.imshow(shares, aspect="auto", cmap="Blues", vmin=0, interpolation="nearest")
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_title("Share of each class, %")
    axes.set_xlabel("class")
    every = max(1, len(held.classes) // 20)
    places = range(0, len(held.classes), every)
    axes.set_xticks(places, [str(held.classes[i]) for i in places])
    if shares.size <= _WRITTEN:
        _write(axes, shares)
    else:
        bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
        bar.ax.yaxis.set_major_formatter(_percent)


def _write(axes: Axes, shares: Any) -> None:
    """Each share in its cell, in a colour that can be read on it."""
    bright = 0.6 * shares.max(initial=0.0)
    for (row, column), share in np.ndenumerate(shares):
        if share > 0:
            colour = "white" if share > bright else INK
            text = f"{100 * share:.0f}" if share >= 0.01 else "<1"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=7)


def _draw_records(axes: Axes, held: Summary) -> None:
    counts = [row.records for row in held.rows]
    axes.barh(
        range(len(counts)), counts, height=0.8 if len(counts) <= _NAMED else 1.0, color=COLOURS[0]
    )
    axes.axvline(sum(counts) / max(len(counts), 1), color=FAINT, linewidth=1, linestyle=(0, (3, 2)))
    axes.set_title("Records (mean dashed)")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(counts) - 0.5, -0.5)


def _name_clients(axes: Axes, held: Summary) -> None:
    if len(held.rows) <= _NAMED:
        axes.set_yticks(range(len(held.rows)), [row.client for row in held.rows])
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(held.rows)} clients")


def _percent(value: float, _: Any) -> str:
    return f"{100 * value:.0f}"
