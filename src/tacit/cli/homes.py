"""Options that say which coordinator, client or membership of this machine is meant."""

from __future__ import annotations

from pathlib import Path

import click

from tacit.cli.output import F
from tacit.deploy.memberships import (
    client_home,
    coordinator_folder,
    member_home,
    operator_home,
    remote_home,
    tacit_home,
)

__all__ = [
    "FOLDER",
    "client_home",
    "coordinator_folder",
    "home_option",
    "member_home",
    "on_option",
    "operator_home",
    "remote_home",
    "tacit_home",
]

FOLDER = click.Path(path_type=Path, file_okay=False)


def home_option(command: F) -> F:
    """`--home`: which client of this machine."""
    text = "The client's folder; by default the only one on this machine."
    return click.option("--home", type=FOLDER, help=text)(command)


def on_option(command: F) -> F:
    """`--on`: which coordinator."""
    text = "The coordinator's URL, or the name of a membership; by default the only one."
    return click.option("--on", envvar="TACIT_ON", help=text)(command)
