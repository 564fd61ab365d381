"""`tacit run`: a federation between machines, or its rehearsal on this one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

import click
from rich.text import Text

from tacit.base.errors import TacitError
from tacit.cli.fetching import Fetched, fetch
from tacit.cli.homes import on_option, remote_home
from tacit.cli.live import follow, view
from tacit.cli.output import console, json_option, print_json
from tacit.cli.paths import let_import
from tacit.cli.remote import with_remote
from tacit.cli.simulate import run_folders
from tacit.cli.sources import find
from tacit.cli.summary import show_run
from tacit.deploy.client.home import Home
from tacit.deploy.rehearse import DATASET, Rehearsal
from tacit.deploy.remote import Remote
from tacit.deploy.wire.messages import RunFact
from tacit.learn.examples import Examples, as_clients
from tacit.plan.federation import Federation
from tacit.record.deployed import ended
from tacit.record.folder import describe
from tacit.record.whole_folder import refuse_unwritable

LOCAL = "local"


@click.command("run")
@click.argument("description", default="app.toml", type=click.Path(path_type=Path))
@on_option
@click.option("--dataset", default="", help="The data set's name at its owners; NAME by default.")
@click.option("--clients", default="", help="Their names, by places; by default who joins first.")
@click.option("--data", help="For a rehearsal: as for `tacit simulate`.")
@click.option("--seed", type=click.IntRange(0), help="Makes it a rehearsal that can be repeated.")
@click.option(
    "--out", default="runs", show_default=True, type=click.Path(path_type=Path), help="Where to."
)
@click.option("--name", help="The run's name; by default the federation's.")
@click.option("--detach", is_flag=True, help="Queue it and leave; see `tacit runs`.")
@click.option("--quiet", is_flag=True, help="No progress, and only the folder's name at the end.")
@json_option
def run(  # noqa: PLR0913  # one argument an option
    description: Path,
    on: str | None,
    dataset: str,
    clients: str,
    data: str | None,
    seed: int | None,
    out: Path,
    name: str | None,
    detach: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run the federation in DESCRIPTION (app.toml) on a coordinator, and save what it learned.

    --on https://... queues it there and follows it; --on local:4 starts a coordinator and four
    clients as processes of this machine, with the data that `tacit simulate` would use.
    """
    federation = Federation.load(description)
    let_import(description)
    folder = run_folders(out, name, federation.name, [0])[0]
    refuse_unwritable(folder)
    hidden = quiet or as_json
    if on is not None and on.partition(":")[0] == LOCAL:
        job = Job(federation, name or federation.name, DATASET, (), seed or 0, folder, hidden)
        found = rehearsed(job, description, on.partition(":")[2], data)
    else:
        job = Job(
            federation,
            name or federation.name,
            dataset or federation.name,
            tuple(part.strip() for part in clients.split(",") if part.strip()),
            seed,
            folder,
            hidden,
        )
        home = remote_home(on)
        found = with_remote(home, lambda remote: submitted(remote, home, job, detach=detach))
    report(found, quiet=quiet, as_json=as_json)


class Job(NamedTuple):
    """What is to run, and how it is shown."""

    federation: Federation
    name: str
    dataset: str
    clients: tuple[str, ...]
    seed: int | None
    folder: Path
    hidden: bool


async def submitted(remote: Remote, home: Home, job: Job, *, detach: bool) -> Fetched | RunFact:
    """Queue a run, follow it to its end, and save it."""
    fact = await remote.submit(
        job.federation,
        name=job.name,
        dataset=job.dataset,
        clients=job.clients,
        seed=job.seed,
        scratch=home.folder,
    )
    if detach:
        return fact
    with view(job.federation.rounds, quiet=job.hidden) as shown:
        await follow(remote, fact.id, shown)
    ended((await remote.show(fact.id)).run)
    return await fetch(remote, fact.id, job.folder)


def rehearsed(job: Job, description: Path, count: str, data: str | None) -> Fetched | RunFact:
    """Run on processes of this machine: the same as between machines, but for the machines."""
    sites = sites_of(job.federation, description, data)
    if count and count != str(len(sites)):
        raise TacitError("client.rehearsal-names", asked=count, found=len(sites))
    told = console(stderr=True)
    told.quiet = job.hidden
    told.print(Text(f"Starting a coordinator and {len(sites)} clients on this machine."))
    code = tuple(filter(None, job.federation.task.code.split(", ")))
    where = description.parent.resolve() if code else None
    with (
        tempfile.TemporaryDirectory(prefix="tacit-rehearsal-") as place,
        Rehearsal(Path(place), sites, where, approved=code) as here,
    ):
        home, whole = here.researcher, job._replace(clients=tuple(sites))
        return with_remote(home, lambda remote: submitted(remote, home, whole, detach=False))


def sites_of(federation: Federation, description: Path, data: str | None) -> dict[str, Examples]:
    """The clients' training records by name, as `tacit simulate` would find them."""
    held = as_clients(find(description, federation, data, None).train, federation.data)
    return {held.name(i): held.examples(i) for i in range(len(held))}


def report(found: Fetched | RunFact, *, quiet: bool, as_json: bool) -> None:
    """What came of it."""
    if isinstance(found, RunFact):
        if as_json:
            print_json({"id": found.id, "name": found.name, "status": found.status})
        else:
            click.echo(f"Queued {found.name} as {found.id[:12]}.")
        return
    folder = found.saved.folder
    if as_json:
        print_json({"folder": str(folder), **describe(found.run)})
    elif quiet:
        click.echo(folder)
    else:
        show_run(console(), describe(found.run))
        console().print(Text(str(found.saved)))
