"""`tacit serve`: a coordinator, from nothing to an address that clients can join."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import click
from rich.text import Text

from tacit.base.atomic import write_atomically
from tacit.cli.homes import FOLDER, coordinator_folder, operator_home
from tacit.cli.output import bullets, console, json_option, print_json
from tacit.deploy.client.home import Coordinator, coordinator_text
from tacit.deploy.coordinator.serve import PORT, Serving, Started
from tacit.deploy.coordinator.serve import serve as run_coordinator
from tacit.deploy.coordinator.settings import Settings
from tacit.deploy.identity.keys import Identity

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # compared with, not bound


@click.command("serve")
@click.option("--home", type=FOLDER, help="Where everything is kept; ~/.tacit/coordinator.")
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0: all networks.")
@click.option("--port", default=PORT, show_default=True, help="0: a free one.")
@click.option("--names", default="", help="Under which clients reach it; by default its host.")
@click.option("--public-port", default=0, help="The port that clients use, if it is another.")
@click.option("--database", envvar="TACIT_DATABASE", help="postgresql+psycopg://...; or SQLite.")
@click.option("--blobs", envvar="TACIT_BLOBS", help="s3://... or another fsspec URL; or a folder.")
@click.option("--absent", default=Settings.absent, show_default=True, help="Seconds of silence.")
@click.option("--assemble", default=Settings.assemble, show_default=True, help="Seconds to join.")
@click.option("--logs", type=click.Choice(["text", "json", "none"]), default="text")
@json_option
def serve(  # noqa: PLR0913  # one argument an option
    home: Path | None,
    host: str,
    port: int,
    names: str,
    public_port: int,
    database: str | None,
    blobs: str | None,
    absent: float,
    assemble: float,
    logs: str,
    as_json: bool,
) -> None:
    """Run a coordinator until Ctrl-C or SIGTERM: one process, one port, TLS 1.3.

    The first start makes a certificate authority and the operator's key. A client that is silent
    for --absent seconds is left out of its round; a run begins without the missing ones, if there
    is a quorum, --assemble seconds after it was submitted.
    """
    folder = coordinator_folder(home)
    hosts = tuple(part.strip() for part in names.split(",") if part.strip()) or _names(host)
    settings = Settings(absent=absent, assemble=assemble)
    serving = Serving(folder, host, port, hosts, database or "", blobs or "", logs, settings)

    def started(told: Started) -> None:
        if public_port:
            told = replace(told, url=f"{told.url.rpartition(':')[0]}:{public_port}")
        _write_membership(folder, told)
        if as_json:
            print_json(_plain(folder, told))
        else:
            _show(folder, told)

    run_coordinator(serving, started)


def _names(host: str) -> tuple[str, ...]:
    """What to call a coordinator that listens on all networks: nobody can connect to "all"."""
    return (socket.gethostname(), "localhost") if host in EVERYWHERE else ()


def _write_membership(folder: Path, told: Started) -> None:
    """So that `tacit invite` finds the coordinator, under the address of this start."""
    home = operator_home(folder)
    me = Identity.load(home.key).id
    known = Coordinator(told.url, me, "operator", "operator", told.fingerprint, told.authority_pem)
    write_atomically(home.coordinator, coordinator_text(known))


def _plain(folder: Path, told: Started) -> dict[str, str]:
    return {"url": told.url, "fingerprint": told.fingerprint, "home": str(folder)}


def _show(folder: Path, told: Started) -> None:
    screen = console()
    screen.print(Text("The coordinator is ready.", "bold"))
    lines = [
        f"Address      {told.url}",
        f"Fingerprint  {told.fingerprint}",
        f"Kept in      {folder}",
        "Invite a data owner    tacit invite NAME",
        "Invite a researcher    tacit invite NAME --role researcher",
        "Stop                   Ctrl-C; runs go on where they were at the next start",
    ]
    bullets(screen, lines, " ")
