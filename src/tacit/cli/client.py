"""`tacit client`: take part, and read in plain words what happened."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from tacit.base.errors import TacitError
from tacit.cli.homes import client_home, home_option
from tacit.cli.output import bullets, console, grid, heading, json_option, print_json, show_grid
from tacit.deploy.client import diary
from tacit.deploy.client.agent import Agent
from tacit.deploy.client.child import ChildProcess, limits
from tacit.deploy.client.database import open_ledger
from tacit.deploy.client.datasets import registered
from tacit.deploy.client.home import Home, read_coordinator
from tacit.deploy.client.https import https_transport
from tacit.deploy.client.owner import read_policy
from tacit.deploy.client.records import Decided, Records
from tacit.deploy.clock import RealClock

LOOK = 0.5
"""Seconds between two looks into the diary."""


@click.group("client", invoke_without_command=True)
@home_option
@click.option("--quiet", is_flag=True, help="Say nothing; `tacit client log` tells it all.")
@json_option
@click.pass_context
def client(ctx: click.Context, home: Path | None, quiet: bool, as_json: bool) -> None:
    """Take part with this machine's data, until Ctrl-C or SIGTERM.

    Everything goes out from here: nothing has to reach this machine. What is asked is held against
    policy.toml, and answered once. The subcommands only read.
    """
    if ctx.invoked_subcommand is None:
        asyncio.run(_work(client_home(home), quiet=quiet, as_json=as_json))


async def _work(home: Home, *, quiet: bool, as_json: bool) -> None:
    known = read_coordinator(home)
    runner = ChildProcess(
        home,
        limits(read_policy(home).limits),
        client=known.name,
    )
    quiet = quiet or as_json
    if as_json:
        told = {"id": known.id, "name": known.name, "url": known.url}
        print_json({**told, "protections": list(runner.report())})
    elif not quiet:
        screen = console(stderr=True)
        screen.print(Text(f"{known.name} takes part at {known.url}.", "bold"))
        bullets(screen, runner.report())
    tell = _quiet if quiet else partial(click.echo, err=True)
    clock = RealClock()
    transport = https_transport(home, clock, os.urandom, _skewed(tell))
    agent = Agent(home, transport, clock, runner, os.urandom, registered, planner=runner)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tasks = [asyncio.create_task(agent.run()), asyncio.create_task(stop.wait())]
    if not quiet:
        tasks.append(asyncio.create_task(_follow(home, tell)))
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await transport.close()


def _quiet(_text: str) -> None:
    return None


def _skewed(tell: Callable[[str], None]) -> Callable[[float], None]:
    def on_skew(seconds: float) -> None:
        side = "behind" if seconds > 0 else "ahead of"
        off = f"{abs(seconds):.0f} s {side} the coordinator's"
        tell(f"This machine's clock is {off}; set it right.")

    return on_skew


async def _follow(home: Home, tell: Callable[[str], None]) -> None:
    """New lines of the diary, as they are written."""
    ledger = open_ledger(home)
    try:
        seen = max((line.seq for line in diary.lines(ledger)), default=0)
        while True:
            for line in diary.lines(ledger, seen):
                tell(str(line))
                seen = line.seq
            await asyncio.sleep(LOOK)
    finally:
        ledger.close()


@client.command("log")
@home_option
@click.option("--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@json_option
def log(home: Path | None, follow: bool, as_json: bool) -> None:
    """Tell in plain words what was asked, answered and refused, and what exactly left."""
    ledger = open_ledger(client_home(home))
    try:
        seen = 0
        while True:
            found = diary.lines(ledger, seen)
            for line in found:
                seen = line.seq
                if not as_json:
                    click.echo(str(line))
            if not found and not follow:
                break
            if not found:
                time.sleep(LOOK)
        if as_json:
            print_json({"lines": [_plain(line) for line in diary.lines(ledger, 0, 10**9)]})
    finally:
        ledger.close()


def _plain(line: diary.Line) -> dict[str, Any]:
    return {"at": line.at, "run": line.run, "round": line.round, "text": line.text}


@client.command("show")
@home_option
@json_option
def show(home: Path | None, as_json: bool) -> None:
    """Show who this client is, its data sets, its runs, and what they have spent."""
    found = client_home(home)
    known, ledger = read_coordinator(found), open_ledger(found)
    try:
        records = Records(ledger)
        runs = _joined(records)
        sets = registered(found)
        spent = {name: [_spend(one) for one in records.spent(name, "")] for name in sets}
    finally:
        ledger.close()
    if as_json:
        told = {"id": known.id, "name": known.name, "url": known.url, "data": list(sets)}
        open_ = [{"run": one.asked.run, "name": one.asked.name} for one in runs]
        print_json({**told, "runs": open_, "spent": spent})
        return
    screen = console()
    screen.print(Text(f"{known.name} ({known.id}) at {known.url}", "bold"))
    heading(screen, "Data sets")
    columns = ("name", "form", "source", "spent")
    rows = [(n, one.form, one.source, "; ".join(spent[n]) or "-") for n, one in sets.items()]
    show_grid(screen, grid(columns, rows, columns))
    heading(screen, "Runs that it takes part in")
    bullets(screen, [f"{one.asked.name} ({one.asked.run[:12]})" for one in runs] or ["None."])


def _spend(one: Any) -> str:
    told = "no promise" if one.epsilon is None else f"epsilon {one.epsilon:.2f}"
    return f"{told} per {one.unit} against {one.against}"


@client.command("leave")
@click.argument("run")
@home_option
@json_option
def leave(run: str, home: Path | None, as_json: bool) -> None:
    """Leave a run, by its name or the first letters of its id; a running client tells it."""
    ledger = open_ledger(client_home(home))
    try:
        records = Records(ledger)
        left = [one for one in _joined(records) if _means(run, one)]
        if not left:
            raise TacitError("client.not-in-run", name=run)
        for one in left:
            said = f"{one.asked.name!r}: the owner left the run."
            records.leave(one.asked.run, "the owner left", RealClock().now(), said)
    finally:
        ledger.close()
    if as_json:
        print_json({"left": [one.asked.run for one in left]})
        return
    for one in left:
        click.echo(f"Left {one.asked.name} ({one.asked.run[:12]}).")


def _joined(records: Records) -> list[Decided]:
    """Open runs that the client takes part in."""
    return [one for one in records.open_runs() if one.decision == "accept"]


def _means(run: str, one: Decided) -> bool:
    return one.asked.name == run or one.asked.run.startswith(run.lower())
