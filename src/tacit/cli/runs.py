"""`tacit runs`: list, show, compare and export what simulations left behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from tacit.base.atomic import write_atomically
from tacit.base.errors import TacitError
from tacit.base.nearest import did_you_mean
from tacit.cli.beside import Beside, cell
from tacit.cli.output import (
    F,
    bullets,
    console,
    grid,
    heading,
    json_option,
    number,
    print_json,
    show_grid,
)
from tacit.cli.summary import epsilons, moved, show_run
from tacit.plan.trust import size
from tacit.record.folder import ABOUT, HISTORY, MODEL
from tacit.record.folder import as_json as json_text
from tacit.record.stored import StoredRun, load_meta, load_run, runs_in

LAST = 5
"""Rounds that `show` prints."""

SHOWN = (
    "round", "answers", "failed", "train_loss", "reported_loss", "reported_accuracy",
    "test_loss", "test_accuracy", "worst_client",
)  # fmt: skip
"""Columns of the history that `show` prints; what clients reported only without exact numbers."""


def runs_option(command: F) -> F:
    """`--runs`: where the run folders are."""
    kind = click.Path(path_type=Path)
    option = click.option(
        "--runs", "place", default="runs", show_default=True, type=kind, help="Where the runs are."
    )
    return option(command)


@click.group("runs")
def runs() -> None:
    """Runs on this machine (list, show, compare, export), and those of a coordinator (--on)."""


ON = "Of this coordinator: its URL, or the name of a membership."


@runs.command("list")
@runs_option
@click.option("--on", help=ON)
@json_option
def list_(place: Path, on: str | None, as_json: bool) -> None:
    """List the runs in a folder, oldest first, or those of a coordinator, newest first."""
    if on is not None:
        from tacit.cli import runs_remote  # the extra "deploy"

        runs_remote.show_list(on, as_json=as_json)
        return
    found = {folder: _about(folder) for folder in runs_in(place)}
    if as_json:
        print_json({"runs": [{"folder": str(f), **about} for f, about in found.items()]})
        return
    screen = console()
    if not found:
        screen.print(Text(f"No runs in {place} yet. `tacit simulate` writes one."))
        return
    columns = ("run", "saved", "rounds", "accuracy", "worst", "epsilon", "moved")
    rows = [_line(folder, about) for folder, about in found.items()]
    show_grid(screen, grid(columns, rows, ("run", "saved")))


@runs.command("show", short_help="Show how one run ended, and its last rounds.")
@click.argument("name")
@runs_option
@click.option("--on", help=ON)
@json_option
def show(name: str, place: Path, on: str | None, as_json: bool) -> None:
    """Show one run: how it ended, what it promises, its last rounds, and what failed."""
    if on is not None:
        from tacit.cli import runs_remote  # the extra "deploy"

        runs_remote.show_one(on, name, as_json=as_json)
        return
    run = load_run(folder_of(name, place))
    if as_json:
        print_json({"folder": str(run.folder), **run.meta, "history": list(_rows(run))})
        return
    screen = console()
    show_run(screen, run.meta)
    _show_rounds(screen, run)
    heading(screen, "Saved")
    bullets(screen, [f"{run.folder}: {', '.join([ABOUT, *run.meta['files']])}"])


@runs.command("compare", short_help="Show where runs differ, side by side.")
@click.argument("names", nargs=-1, required=True)
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), help="Write a CSV file too.")
@runs_option
@json_option
def compare(names: tuple[str, ...], to: Path | None, place: Path, as_json: bool) -> None:
    """Put runs side by side: the settings in which they differ, and their last numbers."""
    found = [load_run(folder_of(name, place)) for name in names]
    beside = Beside.of(found)
    if to:
        write_atomically(to, beside.csv())
    if as_json:
        print_json(beside.plain())
    else:
        beside.show(console())


@runs.command("export", short_help="Write a run, or a part of it, as one file.")
@click.argument("name")
@click.option(
    "--to",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="FILE.csv: the history; .json: everything but the model; .npz: the model; .zip: all.",
)
@runs_option
@json_option
def export(name: str, to: Path, place: Path, as_json: bool) -> None:
    """Write one run, or a part of it, as one file; what the file's ending says."""
    if to.suffix not in EXPORTS:
        known = ", ".join(EXPORTS)
        raise click.BadParameter(f"{to.name!r} ends in none of {known}.", param_hint="--to")
    run = load_run(folder_of(name, place))
    write_atomically(to, EXPORTS[to.suffix](run))
    if as_json:
        print_json({"run": str(run.folder), "file": str(to), "bytes": to.stat().st_size})
    else:
        click.echo(f"{run.name} -> {to} ({size(to.stat().st_size)})")


@runs.command("logs", short_help="Tell a run's journal in plain words.")
@click.argument("name")
@click.option("--on", envvar="TACIT_ON", help=ON)
@click.option("--follow", is_flag=True, help="Go on with new lines until the run is over.")
@json_option
def logs(name: str, on: str | None, follow: bool, as_json: bool) -> None:
    """Tell what happened in a run: who was asked, answered, refused or failed, and why."""
    from tacit.cli import runs_remote  # the extra "deploy"

    runs_remote.tell(on, name, follow=follow, as_json=as_json)


@runs.command("stop", short_help="End a run on a coordinator.")
@click.argument("name")
@click.option("--on", envvar="TACIT_ON", help=ON)
@json_option
def stop(name: str, on: str | None, as_json: bool) -> None:
    """End a run; what was learned so far stays, and `tacit runs resume` goes on."""
    from tacit.cli import runs_remote  # the extra "deploy"

    runs_remote.order(on, name, "stop", as_json=as_json)


@runs.command("resume", short_help="Let a stopped run go on.")
@click.argument("name")
@click.option("--on", envvar="TACIT_ON", help=ON)
@json_option
def resume(name: str, on: str | None, as_json: bool) -> None:
    """Let a run that was stopped, or ran out of answers, go on with all its clients."""
    from tacit.cli import runs_remote  # the extra "deploy"

    runs_remote.order(on, name, "resume", as_json=as_json)


@runs.command("fetch", short_help="Save a coordinator's run as a run folder.")
@click.argument("name")
@click.option("--on", envvar="TACIT_ON", help=ON)
@click.option(
    "--out", default="runs", show_default=True, type=click.Path(path_type=Path), help="Where to."
)
@json_option
def fetch(name: str, on: str | None, out: Path, as_json: bool) -> None:
    """Download a run's newest model and history; also while it is still running."""
    from tacit.cli import runs_remote  # the extra "deploy"

    runs_remote.save(on, name, out, as_json=as_json)


def folder_of(name: str, place: Path) -> Path:
    """The run folder that a user means by its name or its path."""
    for folder in (place / name, Path(name)):
        if folder.is_dir():
            return folder
    hint = did_you_mean(name, [folder.name for folder in runs_in(place)])
    raise TacitError("run.unknown", name=name, folder=place, hint=hint)


def _about(folder: Path) -> dict[str, Any]:
    """run.json, or what is wrong with it: one bad folder does not hide the others."""
    try:
        return load_meta(folder)
    except TacitError as error:
        return {"error": error.as_dict()}


def _line(folder: Path, about: Mapping[str, Any]) -> tuple[str, ...]:
    when = datetime.fromtimestamp((folder / ABOUT).stat().st_mtime).astimezone()
    start = (folder.name, f"{when:%Y-%m-%d %H:%M}")
    if "error" in about:
        return (*start, "unreadable", "-", "-", "-", "-")
    final = about["final"] or {}
    held = [epsilon for epsilon in epsilons(about).values() if epsilon is not None]
    return (
        *start,
        f"{about['rounds']['counted']}",
        number(final.get("accuracy")),
        number(final.get("worst_client")),
        number(max(held), 2) if held else "-",
        size(moved(about)),
    )


def _rows(run: StoredRun) -> Iterable[dict[str, float | None]]:
    for row in run.history:
        yield {name: value if value == value else None for name, value in row.items()}


def _show_rounds(screen: Console, run: StoredRun) -> None:
    rows = run.history[-LAST:]
    tested = any("test_accuracy" in row for row in rows)
    names = [name for name in SHOWN if not (tested and name.startswith("reported"))]
    told = {name: [cell(row.get(name)) for row in rows] for name in names}
    columns = {name: cells for name, cells in told.items() if set(cells) - {"-"}}
    heading(screen, f"The last rounds of {len(run.history)}")
    lines = zip(*columns.values(), strict=True)
    show_grid(screen, grid([name.replace("_", " ") for name in columns], lines))


def _as_json_file(run: StoredRun) -> str:
    everything = {**run.meta, "federation": run.federation.plain, "history": list(_rows(run))}
    return json_text(everything)


def _as_zip(run: StoredRun) -> bytes:
    with tempfile.TemporaryDirectory() as place:
        base = str(Path(place) / "run")
        return Path(shutil.make_archive(base, "zip", run.folder.parent, run.name)).read_bytes()


EXPORTS: dict[str, Callable[[StoredRun], str | bytes]] = {
    ".csv": lambda run: (run.folder / HISTORY).read_text("utf-8"),
    ".json": _as_json_file,
    ".npz": lambda run: (run.folder / MODEL).read_bytes(),
    ".zip": _as_zip,
}
"""What each ending of a file asks for."""
