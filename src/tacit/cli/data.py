"""`tacit data`: check a site's table, make fake rows to develop on, register a client's data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from tacit.base.atomic import write_atomically
from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.cli.output import json_option, print_json
from tacit.learn.heart import heart_disease_schema
from tacit.learn.mapping import SiteMapping
from tacit.learn.mock import as_csv, mock_table
from tacit.learn.schema import Schema
from tacit.learn.schema_toml import mapping_from_toml, schema_from_toml
from tacit.learn.table import read_table

BUNDLED = {"heart_disease": heart_disease_schema}
"""Schemas that come with tacit, by name."""

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_SCHEMA = click.option(
    "--schema",
    required=True,
    help="A schema file, a federation file, or the name of a bundled schema: heart_disease.",
)


class Verdict(NamedTuple):
    """What was found out about one file; `rows` is None when it could not be read as a table."""

    site: str
    file: Path
    rows: int | None
    mismatches: Sequence[TacitError]
    notices: Sequence[TacitError] = ()

    def as_json(self) -> str:
        """The verdict for programs."""
        plain = {
            "ok": not self.mismatches,
            "site": self.site,
            "file": str(self.file),
            "rows": self.rows,
            "mismatches": [error.as_dict() for error in self.mismatches],
            "notices": [notice.as_dict() for notice in self.notices],
        }
        return json.dumps(plain, indent=2)


@click.group("data")
def data() -> None:
    """Check a site's table against the data contract, make fake rows, register a client's data."""


@data.command("check")
@click.argument("file", type=_FILE)
@_SCHEMA
@click.option("--mapping", type=_FILE, help="How this site's table becomes the schema's (TOML).")
@click.option("--site", help="The site's name in messages; by default the file's name.")
@json_option
def check(file: Path, schema: str, mapping: Path | None, site: str | None, as_json: bool) -> None:
    """Name every mismatch between the table in FILE and the schema, each with its remedy.

    Reads only, sends nothing. Shows cells and line numbers, so its output is for the site's own
    people. Exit code 0: the table fits; 1: it does not; 2: the command was not understood.
    """
    try:
        verdict = _verdict(file, _schema(schema), mapping, site or file.stem)
    except TacitError as error:
        verdict = Verdict(site or file.stem, file, None, (error,))
    if as_json:
        click.echo(verdict.as_json())
    else:
        _show(verdict)
    raise SystemExit(1 if verdict.mismatches else 0)


@data.command("mock")
@_SCHEMA
@click.option("--rows", type=click.IntRange(min=1), default=100, show_default=True)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="The same seed, the same rows."
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="By default: stdout.")
@json_option
def mock(schema: str, rows: int, seed: int, out: Path | None, as_json: bool) -> None:
    """Write fake rows that obey the schema, to develop on without anybody's data.

    Values are uniform over the public ranges and categories and independent of each other: there
    is nothing to learn from them.
    """
    text = as_csv(mock_table(_schema(schema), rows, Key.seed(seed)))
    if out is not None:
        write_atomically(out, text)
    if as_json:
        print_json({"rows": rows, "out": out and str(out), "csv": None if out else text})
        return
    if out is None:
        click.echo(text, nl=False)
    click.echo(
        f"FAKE: {rows} rows in {out or 'stdout'} were drawn at random from the schema's public "
        "ranges and categories. They are nobody's data.",
        err=out is None,
    )


@data.command("add")
@click.argument("name")
@click.argument("source")
@click.option("--mapping", type=_FILE, help="How this site's table becomes the schema's (TOML).")
@click.option("--label", default="", help="The label's column, where there is no schema.")
@click.option("--reads", multiple=True, help="A file or folder that a module:function reads.")
@click.option("--home", type=click.Path(path_type=Path), help="The client's folder.")
@json_option
def add(  # one argument an option
    name: str,
    source: str,
    mapping: Path | None,
    label: str,
    reads: tuple[str, ...],
    home: Path | None,
    as_json: bool,
) -> None:
    """Register a data set of this client under NAME, by which runs may ask for it.

    SOURCE: a CSV, Parquet or NPZ file (arrays x and y), your own module:function, or a bundled set
    such as heart_disease:Zurich. Where it lies is never told to anybody.
    """
    from tacit.cli.homes import client_home
    from tacit.deploy.client import datasets  # the extra "deploy"

    text = str(mapping) if mapping else None
    found = datasets.add(client_home(home), name, source, text, label=label, reads=reads)
    if as_json:
        print_json({"name": name, "source": found.source, "form": found.form})
    else:
        click.echo(f"{name} is registered ({found.form}); runs may ask for it by that name.")


@data.command("list")
@click.option("--home", type=click.Path(path_type=Path), help="The client's folder.")
@json_option
def list_(home: Path | None, as_json: bool) -> None:
    """List the data sets that this client has registered."""
    from tacit.cli.homes import client_home
    from tacit.deploy.client import datasets  # the extra "deploy"

    found = datasets.registered(client_home(home))
    if as_json:
        told = [{"name": n, "source": one.source, "form": one.form} for n, one in found.items()]
        print_json({"data": told})
        return
    for name, one in found.items():
        click.echo(f"{name}  {one.form}  {one.source}")


def _schema(given: str) -> Schema:
    if given in BUNDLED:
        return BUNDLED[given]()
    path = Path(given)
    if not path.is_file():
        names = ", ".join(BUNDLED)
        raise click.BadParameter(
            f"{given!r} is neither a file nor a bundled schema ({names}).", param_hint="--schema"
        )
    return schema_from_toml(_toml(path), path.name)


def _toml(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as failed:
        raise TacitError("description.syntax", file=path.name, problem=failed) from failed


def _verdict(file: Path, schema: Schema, mapping_file: Path | None, site: str) -> Verdict:
    mapping = SiteMapping()
    if mapping_file is not None:
        mapping = mapping_from_toml(_toml(mapping_file), mapping_file.name)
    table = read_table(file, mapping.file, site)
    mismatches = schema.mismatches(table, mapping, site)
    notices = () if mismatches else schema.notices(table, mapping, site)
    return Verdict(site, file, len(table), mismatches, notices)


def _show(verdict: Verdict) -> None:
    console = Console()
    if verdict.mismatches:
        console.print(_grid(f"{verdict.file}: does not fit", verdict.mismatches))
    else:
        rows = f"{verdict.rows} row" + ("" if verdict.rows == 1 else "s")
        console.print(Text(f"{verdict.file}: fits ({rows}).", style="green"))
    if verdict.notices:
        console.print(_grid("Worth knowing", verdict.notices))


def _grid(title: str, errors: Sequence[TacitError]) -> Grid:
    """One row an error; cells of the site's file are plain text here, never markup."""
    grid = Grid(title=Text(title), show_lines=True, expand=True)
    grid.add_column("#", justify="right", no_wrap=True)
    grid.add_column("What", ratio=1, overflow="fold")
    grid.add_column("What to do", ratio=1, overflow="fold")
    for i, error in enumerate(errors, start=1):
        grid.add_row(str(i), Text(error.cause), Text(error.remedy))
    return grid
