"""`tacit demo`: four real hospitals learn one model on this computer, honestly measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tacit.base.errors import TacitError
from tacit.base.extras import optional
from tacit.cli.demo_text import show
from tacit.cli.output import console, json_option, number, print_json
from tacit.cli.second_act import SecondAct, second_act
from tacit.cli.simulate import run_folders
from tacit.learn.examples import as_clients
from tacit.learn.heart import heart_disease
from tacit.record.comparison import Comparison, Step
from tacit.record.demo import SHOWN, four_hospitals
from tacit.record.folder import Saved, write_run
from tacit.record.plots import comparison, curves, images
from tacit.record.report import report
from tacit.record.run import Run
from tacit.record.whole_folder import refuse_unwritable


@click.command("demo")
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1), help="Runs each.")
@click.option(
    "--out", default="runs", show_default=True, type=click.Path(path_type=Path), help="Where to."
)
@click.option("--rehearse/--no-rehearse", default=True, help="Also as real processes over TLS.")
@click.option("--quiet", is_flag=True, help="No progress, and only the folder's name at the end.")
@json_option
def demo(seeds: int, out: Path, rehearse: bool, quiet: bool, as_json: bool) -> None:
    """Federate four real hospitals on this computer, in seconds, and save a run folder.

    One model for heart disease, learned at each hospital alone, with all records in one place,
    federated, and federated with differential privacy for every record at epsilon 10, 3 and 1.
    Then the last of these again between processes over TLS, one of which is killed on the way.
    """
    folder = run_folders(out, None, "demo", [0])[0]
    refuse_unwritable(folder)
    optional("matplotlib", "The demo's plots and report")
    with _progress(hidden=quiet or as_json) as told:
        compared = four_hospitals(range(seeds), told)
        told(Step(1, 1, "drawing and saving", math.nan))
        saved = write_run(compared[SHOWN].run, folder, _drawing(compared))
        act = _second(compared[SHOWN].run, told) if rehearse else None
    if as_json:
        print_json(plain(compared, saved, act))
    elif quiet:
        click.echo(saved.folder)
    else:
        show(console(), compared, saved, act)
    if act is not None and not act.identical:
        raise TacitError("run.not-identical", simulated=act.simulated, deployed=act.deployed)


def _second(run: Run, told: Callable[[Step], None]) -> SecondAct:
    def tell(doing: str, done: int, rounds: int) -> None:
        told(Step(done, rounds, doing, math.nan))

    return second_act(run, as_clients(heart_disease().train), tell)


def plain(compared: Comparison, saved: Saved, act: SecondAct | None = None) -> dict[str, Any]:
    """For programs."""
    run = compared[SHOWN].run
    return {
        "second_act": act and act.plain(),
        **compared.plain(),
        "shown": SHOWN,
        "trust": [sentence._asdict() for sentence in run.trust.sentences],
        "folder": str(saved.folder),
        "files": list(saved.files),
    }


def _drawing(compared: Comparison) -> Callable[[Run, Path], tuple[str, ...]]:
    """What the folder holds beside the run: the comparison, and the curves of every federation."""

    def draw(run: Run, place: Path) -> tuple[str, ...]:
        pictures = images("curves", curves(compared.federated)) | images(
            "comparison", comparison(compared)
        )
        for name, content in pictures.items():
            (place / name).write_bytes(content)
        (place / "comparison.csv").write_text(compared.csv(), "utf-8", newline="\n")
        (place / "report.html").write_text(report(run, compared), "utf-8", newline="\n")
        return ()

    return draw


@contextmanager
def _progress(*, hidden: bool) -> Iterator[Callable[[Step], None]]:
    """A bar with an estimate on stderr where a person is watching, else a line for each method."""
    screen = console(stderr=True)
    if not (hidden or screen.is_terminal):
        yield _lines()
        return
    columns = (
        BarColumn(24),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=screen, transient=True, disable=hidden) as bar:
        task = bar.add_task("starting", total=None)

        def told(step: Step) -> None:
            last = f"  (last accuracy {number(step.accuracy)})" if step.accuracy > 0 else ""
            bar.update(
                task, completed=step.done, total=step.total, description=f"{step.doing}{last}"
            )

        yield told


def _lines() -> Callable[[Step], None]:
    """Says on stderr which method has just finished, and how much of the whole is done."""
    running = ""

    def told(step: Step) -> None:
        nonlocal running
        method, within, _ = step.doing.rpartition(": ")
        if running and method != running:
            click.echo(f"{100 * step.done / step.total:3.0f} %  {running} finished", err=True)
        running = method if within else ""

    return told
