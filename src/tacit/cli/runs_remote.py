"""The verbs of `tacit runs` that ask a coordinator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import click
from rich.text import Text

from tacit.cli.fetching import chosen
from tacit.cli.fetching import fetch as fetch_run
from tacit.cli.homes import remote_home
from tacit.cli.output import bullets, console, grid, heading, number, print_json, show_grid
from tacit.cli.remote import with_remote
from tacit.cli.simulate import run_folders
from tacit.deploy.remote import Remote
from tacit.deploy.wire.messages import EventFact, RunDetail, RunFact
from tacit.record.deployed import journal

LAST = 5
"""Rounds that are shown."""


def show_list(on: str, *, as_json: bool) -> None:
    """A coordinator's runs, newest first."""
    found = with_remote(remote_home(on), lambda remote: remote.runs())
    if as_json:
        print_json({"runs": [_plain(one) for one in found]})
        return
    columns = ("id", "name", "by", "submitted", "status", "round", "clients")
    rows = [
        (
            one.id[:12],
            one.name,
            one.by_name,
            _when(one.submitted),
            one.status,
            f"{one.round}/{one.rounds}",
            f"{one.joined}/{one.clients}",
        )
        for one in found
    ]
    show_grid(console(), grid(columns, rows, columns[:5]))


def show_one(on: str, name: str, *, as_json: bool) -> None:
    """A run with its clients, refusals and last numbers."""

    async def ask(remote: Remote) -> RunDetail:
        return await remote.show((await chosen(remote, name)).id)

    found = with_remote(remote_home(on), ask)
    if as_json:
        told = {"refusals": list(found.refusals), "history": list(found.history)}
        clients = [{"index": c.index, "name": c.name, "state": c.state} for c in found.clients]
        print_json({**_plain(found.run), "clients": clients, **told})
        return
    _show(found)


def _show(found: RunDetail) -> None:
    screen, run = console(), found.run
    kind = "rehearsal" if run.rehearsal else "run"
    screen.print(Text(run.name, "bold").append(f"  {run.id[:12]}", "dim"))
    screen.print(Text(f"A {kind} of {run.by_name}: {run.status}. {run.why}".rstrip()))
    screen.print(Text(f"Round {run.round} of {run.rounds}, {run.joined} of {run.clients} joined."))
    heading(screen, "Clients")
    rows = [(one.name, one.state, _when(one.seen)) for one in found.clients]
    show_grid(screen, grid(("name", "state", "last heard"), rows, ("name", "state", "last heard")))
    if found.refusals:
        heading(screen, "Refusals")
        bullets(screen, [f"{one['name']}: {'; '.join(one['reasons'])}" for one in found.refusals])
    if found.history:
        heading(screen, "The last rounds")
        names = list(found.history[-1])
        cells = [[number(row.get(name)) for name in names] for row in found.history[-LAST:]]
        show_grid(screen, grid([name.replace("_", " ") for name in names], cells))


def tell(on: str | None, name: str, *, follow: bool, as_json: bool) -> None:
    """A run's journal."""

    async def ask(remote: Remote) -> list[EventFact]:
        run = (await chosen(remote, name)).id
        if follow and not as_json:
            await _told(remote.follow(run))
            return []
        return await journal(remote, run)

    lines = with_remote(remote_home(on), ask)
    if as_json:
        print_json({"lines": [_line(one) for one in lines]})
        return
    for one in lines:
        _echo(one)


async def _told(lines: AsyncIterator[EventFact]) -> None:
    async for one in lines:
        _echo(one)
        await asyncio.sleep(0)


def _echo(one: EventFact) -> None:
    click.echo(f"{_when(one.at, seconds=True)} {one.text}")
    trace = one.body.get("traceback") if one.kind == "tried" else ""
    if trace:
        click.echo("\n".join(f"    {line}" for line in str(trace).splitlines()))


def order(on: str | None, name: str, what: Literal["stop", "resume"], *, as_json: bool) -> None:
    """Stop or resume a run."""

    async def ask(remote: Remote) -> RunFact:
        run = (await chosen(remote, name)).id
        return await (remote.stop(run) if what == "stop" else remote.resume(run))

    found = with_remote(remote_home(on), ask)
    if as_json:
        print_json(_plain(found))
    else:
        click.echo(f"{found.name}: {found.status}.")


def save(on: str | None, name: str, out: Path, *, as_json: bool) -> None:
    """Download a run into a run folder."""

    async def ask(remote: Remote) -> Any:
        fact = await chosen(remote, name)
        folder = run_folders(out, None, fact.name, [0])[0]
        return (await fetch_run(remote, fact.id, folder)).saved

    saved = with_remote(remote_home(on), ask)
    if as_json:
        print_json({"folder": str(saved.folder), "files": list(saved.files)})
    else:
        click.echo(str(saved))


def _plain(one: RunFact) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__struct_fields__}


def _line(one: EventFact) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__struct_fields__}


def _when(moment: float | None, *, seconds: bool = False) -> str:
    if moment is None:
        return "-"
    local = datetime.fromtimestamp(moment, UTC).astimezone()
    return f"{local:%Y-%m-%d %H:%M:%S}" if seconds else f"{local:%Y-%m-%d %H:%M}"
