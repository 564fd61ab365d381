from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import tacit
from tacit.base.errors import TacitError
from tacit.record.plots import KINDS, curves, image, save
from tacit.record.run import Run
from tests.record.small_runs import federation, noised, run

STARTS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def labels(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def with_history(found: Run, **columns: list[float]) -> Run:
    rows = [dict(row) for row in found.history]
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    return replace(found, outcome=replace(found.outcome, history=tuple(rows)))


def test_one_run_shows_accuracy_with_its_worst_client_and_both_losses() -> None:
    found = run()
    accuracy, loss = curves({"small": found}).axes
    assert labels(accuracy) == ["all clients", "worst client"]
    assert labels(loss) == ["test records", "training records"]
    for axes in (accuracy, loss):
        assert axes.get_xlabel() == "round"
        assert axes.get_ylabel()
    line = accuracy.get_lines()[0]
    assert list(np.asarray(line.get_xdata())) == [row["round"] for row in found.history]
    assert list(np.asarray(line.get_ydata())) == [row["test_accuracy"] for row in found.history]
    assert len(accuracy.collections) == 1


def test_the_band_reaches_from_the_worst_client_to_all_of_them() -> None:
    found = run()
    (band,) = curves({"small": found}).axes[0].collections
    heights = np.concatenate([np.asarray(path.vertices)[:, 1] for path in band.get_paths()])
    assert heights.min() == min(row["worst_client"] for row in found.history)
    assert heights.max() == max(row["test_accuracy"] for row in found.history)


def test_several_runs_share_panels_and_one_legend() -> None:
    runs = {name: run(seed=seed) for seed, name in enumerate(("one", "two", "three"))}
    figure = curves(runs)
    assert [len(axes.get_lines()) for axes in figure.axes] == [3, 3, 3]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(runs)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["Accuracy: all clients", "Accuracy: worst client", "Loss: test records"]
    colours = {line.get_color() for line in figure.axes[0].get_lines()}
    assert len(colours) == 3


def test_more_runs_than_colours_still_look_different() -> None:
    found = run()
    lines = curves({f"run {i}": found for i in range(10)}).axes[0].get_lines()
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 10


def test_without_test_records_only_the_training_loss_is_drawn() -> None:
    (axes,) = curves({"small": run(test=False)}).axes
    assert labels(axes) == ["training records"]


def test_a_regression_has_no_accuracy_to_draw() -> None:
    described = federation(
        task=tacit.numpy.ridge_regression(), data=tacit.arrays(shape=(2,), classes=0)
    )
    for runs in ({"one": run(described)}, {"one": run(described), "two": run(described)}):
        (axes,) = curves(runs).axes
        assert axes.get_ylabel() == "mean loss a record (nats)"


def test_a_run_without_any_number_says_so() -> None:
    figure = curves({"small": run(noised(), test=False)})
    assert figure.axes == []
    assert "No round left a number" in figure.texts[0].get_text()


def test_a_run_without_test_records_beside_one_with_them_is_in_the_legend() -> None:
    figure = curves({"with": run(), "without": with_history(run(test=False), test_loss=[0.5] * 5)})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["with", "without"]


def test_reported_metrics_are_marked_as_such() -> None:
    accuracy, loss = curves({"small": run(federation(metrics=("loss", "accuracy")))}).axes
    assert labels(accuracy)[-1] == labels(loss)[-1] == "as reported"


def test_rounds_without_a_number_are_left_out() -> None:
    found = with_history(run(), test_loss=[0.7, math.nan, 0.5, math.inf, 0.3])
    line = curves({"small": found}).axes[1].get_lines()[0]
    assert list(np.asarray(line.get_xdata())) == [1, 3, 5]
    assert list(np.asarray(line.get_ydata())) == [0.7, 0.5, 0.3]


def test_names_are_text_and_never_formulas() -> None:
    figure = curves({"$\\bad{$ one": run(), "two": run()})
    assert image(figure, "svg").startswith(STARTS["svg"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_is_saved_by_its_ending_and_has_the_same_bytes_again(
    kind: str, tmp_path: Path
) -> None:
    found = run()
    first, again = tmp_path / f"first.{kind}", tmp_path / f"again.{kind}"
    for path in (first, again):
        curves({"small": found}, path)
    assert first.read_bytes().startswith(STARTS[kind])
    assert first.read_bytes() == again.read_bytes()


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TacitError) as refused:
        curves({"small": run()}, tmp_path / "curves.bmp")
    assert refused.value.code == "task.setting"
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(TacitError) as refused:
        save(curves({"small": run()}), tmp_path / "missing" / "curves.png")
    assert refused.value.code == "data.cannot-write"


def test_a_notebook_shows_the_figure() -> None:
    figure = curves({"small": run()})
    assert isinstance(figure, Figure)
    shown = getattr(figure, "_repr_png_")()  # noqa: B009  # IPython's protocol, not matplotlib's
    assert shown == image(figure, "png")


def test_drawing_changes_no_global_setting() -> None:
    before = dict(mpl.rcParams)
    image(curves({"small": run()}), "png")
    assert dict(mpl.rcParams) == before


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(TacitError) as refused:
        curves({"small": run()})
    assert refused.value.code == "task.missing-extra"
    assert refused.value.facts["extra"] == "plot"
    assert "plot" in refused.value.remedy
