"""`tacit approve`: read the code that a federation would run here, and say yes to it."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.syntax import Syntax
from rich.text import Text

from tacit.cli.homes import client_home, home_option
from tacit.cli.output import console, json_option, print_json
from tacit.deploy.client.approve import Wanted, wanted
from tacit.deploy.client.approve import approve as approve_code
from tacit.deploy.client.home import Home
from tacit.plan.federation import Federation


@click.command("approve")
@click.argument("description", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--code", type=click.Path(path_type=Path), help="Where the code is; HOME/code.")
@click.option("--yes", is_flag=True, help="Approve what is shown without asking.")
@home_option
@json_option
def approve(
    description: Path, code: Path | None, yes: bool, home: Path | None, as_json: bool
) -> None:
    """Show the code that DESCRIPTION (app.toml) wants, what changed since your last yes, and ask.

    Your yes holds for these very bytes: another version is refused until you approve it too.
    """
    found = client_home(home)
    pieces = wanted(found, Federation.load(description), _folders(found, code))
    if as_json and not yes:
        print_json({"code": [_plain(one) for one in pieces], "approved": []})
        return
    if not as_json:
        _show(pieces)
    new = [one for one in pieces if one.state != "approved"]
    agreed = yes or (bool(new) and sys.stdin.isatty() and click.confirm("Approve this code?"))
    entries = approve_code(found, pieces) if agreed else ()
    if as_json:
        print_json({"code": [_plain(one) for one in pieces], "approved": list(entries)})
        return
    click.echo("\n".join(f"Approved {one}" for one in entries) or "Nothing was approved.")


def _folders(home: Home, code: Path | None) -> tuple[Path, ...]:
    return tuple(folder for folder in (code, home.folder / "code") if folder is not None)


def _plain(one: Wanted) -> dict[str, str]:
    return {"code": one.entry, "state": one.state, "diff": one.diff}


def _show(pieces: tuple[Wanted, ...]) -> None:
    screen = console()
    if not pieces:
        screen.print(Text("It runs tacit's own code only; there is nothing to approve."))
    for one in pieces:
        screen.print(Text(f"{one.entry}: {one.state}", "bold"))
        if one.diff:
            screen.print(Syntax(one.diff, "diff", background_color="default"))
