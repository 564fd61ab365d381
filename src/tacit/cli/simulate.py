"""`tacit simulate`: run a federation on this computer and leave a folder behind."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from tacit.cli.main import INTERRUPTED
from tacit.cli.output import (
    bullets,
    console,
    grid,
    heading,
    json_option,
    number,
    print_json,
    show_grid,
)
from tacit.cli.paths import let_import
from tacit.cli.sources import Source, find
from tacit.cli.summary import show_run
from tacit.plan.federation import Federation
from tacit.record.folder import Saved, describe, write_run
from tacit.record.run import Run
from tacit.record.run import simulate as run_simulation
from tacit.record.whole_folder import refuse_unwritable
from tacit.sim.devices import Devices, from_csv
from tacit.sim.engine import Progress as Told
from tacit.sim.engine import Row

MEASURES = ("test_accuracy", "worst_client", "spread", "test_loss", "train_loss")
"""Numbers of the last round that are averaged over seeds."""


class Finished(NamedTuple):
    """One run and where it was saved."""

    run: Run
    saved: Saved

    def plain(self, source: Source) -> dict[str, Any]:
        """For programs."""
        return {
            "summary": self.run.summary(),
            "folder": str(self.saved.folder),
            "files": list(self.saved.files),
            "left_out": list(self.saved.left_out),
            "data": source.told,
            **describe(self.run),
        }


@click.command("simulate")
@click.argument("description", default="app.toml", type=click.Path(path_type=Path))
@click.option("--data", help="module:function, a folder of CSV files, or a bundled set's name.")
@click.option("--test", help="The same for test data, or the fraction of records to hold out.")
@click.option("--seed", default=0, show_default=True, help="The same seed, the same bits.")
@click.option("--seeds", default=1, type=click.IntRange(1), help="Runs, of consecutive seeds.")
@click.option(
    "--out", default="runs", show_default=True, type=click.Path(path_type=Path), help="Where to."
)
@click.option("--name", help="The run folder's name; by default the federation's and the time.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="Keep the state after every round here, and go on from it if the run was stopped.",
)
@click.option(
    "--engine", default="exact", show_default=True, help="exact, stacked, pool, ray, or auto."
)
@click.option("--workers", default=0, help="Processes of pool or ray; 0: one a core.")
@click.option(
    "--devices",
    type=click.Path(path_type=Path),
    help="A CSV file of every client's speed, bandwidth and dropouts.",
)
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    help="A CSV file of when clients are there; with --devices.",
)
@click.option(
    "--period", default=0.0, help="The trace repeats after so many seconds; 0: it does not."
)
@click.option("--quiet", is_flag=True, help="No progress, and only the folder's name at the end.")
@json_option
def simulate(  # noqa: PLR0913  # one argument an option
    description: Path,
    data: str | None,
    test: str | None,
    seed: int,
    seeds: int,
    out: Path,
    name: str | None,
    checkpoint: Path | None,
    engine: str,
    workers: int,
    devices: Path | None,
    trace: Path | None,
    period: float,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run the federation in DESCRIPTION (app.toml) on this computer, and save the run in a folder.

    Without --data, the function data() of the Python file beside DESCRIPTION that has the same
    name (app.py) gives `{client: (x, y)}`; test_data() there, if it exists, gives test records.
    With a folder, each CSV file in it is one client's table, and NAME.mapping.toml beside it says
    how the table becomes the schema's.

    With --devices the run is one in virtual time. The file's columns are client,step,down,up and
    perhaps latency,dropout: seconds a local step, bytes a second, seconds one way, probability a
    round. A trace has client,start,end in seconds.
    """
    federation = Federation.load(description)
    fleet = _devices(devices, trace, period)
    let_import(description)
    folders = run_folders(out, name, federation.name, range(seed, seed + seeds))
    for folder in folders.values():
        refuse_unwritable(folder)
    source = find(description, federation, data, test)
    if not (quiet or as_json):
        console(stderr=True).print(Text(source.told[:1].upper() + source.told[1:] + "."))
    finished = []
    go = partial(run_simulation, federation, engine=engine, workers=workers, devices=fleet)
    for one_seed, folder in folders.items():
        kept = checkpoint / f"seed{one_seed}" if checkpoint and seeds > 1 else checkpoint
        run = _simulated(go, federation.rounds, source, one_seed, kept, quiet=quiet)
        if not (quiet or as_json):
            for note in run.outcome.notices:
                console(stderr=True).print(Text(note))
            _show(run, alone=seeds == 1)
        finished.append(Finished(run, write_run(run, folder)))
    _report(finished, source, quiet=quiet, as_json=as_json)


def run_folders(
    out: Path, name: str | None, federation: str, seeds: Sequence[int]
) -> dict[int, Path]:
    """A folder for each seed: a given name is kept, and a made-up one is fresh."""
    stem = name or f"{_slug(federation)}-{_now()}"

    def folders(base: str) -> dict[int, Path]:
        single = len(seeds) == 1
        return {seed: out / (base if single else f"{base}-seed{seed}") for seed in seeds}

    found, again = folders(stem), 1
    while name is None and any(folder.exists() for folder in found.values()):
        again += 1
        found = folders(f"{stem}-{again}")
    return found


def over_seeds(runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """Mean and sample standard deviation of the last round's numbers."""
    last = [run.history[-1] for run in runs if run.history]
    found = {
        name: [row[name] for row in last if row.get(name, float("nan")) == row.get(name)]
        for name in MEASURES
    }
    return {
        name: {"mean": statistics.fmean(values), "sd": statistics.stdev(values)}
        for name, values in found.items()
        if len(values) == len(runs) > 1
    }


def _devices(file: Path | None, trace: Path | None, period: float) -> Devices | None:
    """The devices of two files, if they are asked for."""
    if file is None:
        if trace is not None:
            raise click.UsageError("--trace needs --devices: who is there, and how fast.")
        return None
    found = from_csv(file)
    return found if trace is None else found.during(trace, period)


def _now() -> str:
    """The local time for a folder's name."""
    return f"{datetime.now().astimezone():%Y-%m-%d-%H%M%S}"


def _slug(name: str) -> str:
    """A name that any file system takes."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"


def _simulated(
    go: Callable[..., Run],
    rounds: int,
    source: Source,
    seed: int,
    checkpoint: Path | None,
    *,
    quiet: bool,
) -> Run:
    try:
        with _progress(f"seed {seed}", rounds, quiet=quiet) as told:
            return go(source.train, seed, source.test, progress=told, checkpoint=checkpoint)
    except KeyboardInterrupt:
        if checkpoint is None:
            raise
        click.echo(f"Stopped. The same command goes on from {checkpoint}.", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None


@contextmanager
def _progress(title: str, rounds: int, *, quiet: bool) -> Iterator[Told]:
    """A bar with an estimate on stderr, where a person is watching."""
    screen = console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rounds, left:"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    hidden = quiet or not screen.is_terminal
    with Progress(*columns, console=screen, transient=True, disable=hidden) as bar:
        task = bar.add_task(title, total=rounds)

        def told(row: Row) -> None:
            live = f"{title}  {_live(row)}"
            bar.update(task, completed=row["round"], description=live)

        yield told


def _live(row: Row) -> str:
    if "test_accuracy" in row:
        return f"accuracy {number(row['test_accuracy'])}"
    return f"training loss {number(row['train_loss'])}"


def _show(run: Run, *, alone: bool) -> None:
    screen = console()
    if alone:
        show_run(screen, describe(run))
    else:
        screen.print(Text(f"seed {run.seed}: {_live(run.history[-1])}"))


def _report(finished: Sequence[Finished], source: Source, *, quiet: bool, as_json: bool) -> None:
    """Where the runs are, and what they come to over seeds."""
    runs = [one.run for one in finished]
    if as_json and len(finished) == 1:
        print_json(finished[0].plain(source))
    elif as_json:
        each = [one.plain(source) for one in finished]
        print_json({"runs": each, "over_seeds": over_seeds(runs)})
    elif quiet:
        for one in finished:
            click.echo(one.saved.folder)
    else:
        if len(runs) > 1:
            _show_seeds(console(), runs)
        _show_saved(console(), [one.saved for one in finished])


def _show_seeds(screen: Console, runs: Sequence[Run]) -> None:
    heading(screen, f"Over {len(runs)} seeds")
    rows = [
        (name.replace("_", " "), number(found["mean"], 4), number(found["sd"], 4))
        for name, found in over_seeds(runs).items()
    ]
    show_grid(screen, grid(("last round", "mean", "sd"), rows, ("last round",)))


def _show_saved(screen: Console, saved: Sequence[Saved]) -> None:
    heading(screen, "Saved")
    if len(saved) == 1:
        bullets(screen, [f"{saved[0].folder}: {', '.join(saved[0].files)}"])
    else:
        bullets(screen, [str(one.folder) for one in saved])
    bullets(screen, dict.fromkeys(f"Left out: {t}" for one in saved for t in one.left_out), "!")
