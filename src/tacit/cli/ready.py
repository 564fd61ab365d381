"""`tacit ready`: for health checks, whether a coordinator takes requests."""

from __future__ import annotations

from pathlib import Path

import click

from tacit.cli.homes import FOLDER, coordinator_folder, operator_home
from tacit.cli.output import json_option, print_json
from tacit.cli.remote import with_remote


@click.command("ready")
@click.option("--home", type=FOLDER, help="The coordinator's folder; ~/.tacit/coordinator.")
@click.option("--url", default="", help="Where to ask, such as https://localhost:8750.")
@json_option
def ready(home: Path | None, url: str, as_json: bool) -> None:
    """Ask the coordinator of this machine whether it takes requests; exit status 0: yes."""
    with_remote(operator_home(coordinator_folder(home)), lambda remote: remote.ready(), url)
    if as_json:
        print_json({"ready": True})
    else:
        click.echo("ready")
