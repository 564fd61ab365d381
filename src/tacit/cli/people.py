"""`tacit invite`, `tacit join`, `tacit members`: who belongs to a federation."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from tacit.base.errors import TacitError
from tacit.base.nearest import did_you_mean
from tacit.cli.homes import FOLDER, coordinator_folder, member_home, on_option, operator_home
from tacit.cli.homes import remote_home as membership
from tacit.cli.output import bullets, console, grid, json_option, print_json, show_grid
from tacit.cli.remote import with_remote
from tacit.deploy.client.home import Coordinator, Home, read_coordinator
from tacit.deploy.client.join import join as join_coordinator
from tacit.deploy.clock import RealClock
from tacit.deploy.identity.invitation import Invitation, parse
from tacit.deploy.wire.messages import MemberFact, Role

ROLES = click.Choice([role.value for role in Role])


@click.command("invite")
@click.argument("name", required=False)
@click.option("--role", type=ROLES, default="client", show_default=True, help="What it may do.")
@click.option("--hours", default=48.0, show_default=True, help="Until it expires.")
@click.option("--home", type=FOLDER, help="The coordinator's folder; ~/.tacit/coordinator.")
@json_option
def invite(name: str | None, role: str, hours: float, home: Path | None, as_json: bool) -> None:
    """Make an invitation for NAME: it works once, and only until it expires."""
    operator = operator_home(coordinator_folder(home))
    known = read_coordinator(operator)
    made = with_remote(operator, lambda remote: remote.invite(Role(role), name, hours))
    text = Invitation(known.url, known.fingerprint, made.code, Role(role), made.name).text()
    if as_json:
        print_json({"invitation": text, "role": role, "name": name, "expires": made.expires})
        return
    click.echo(text)
    told = console(stderr=True)
    told.print(Text(f"For one {role}, until {_when(made.expires)}. Hand it over in private:"))
    bullets(told, [f"tacit join {text[:28]}..."], " ")


@click.command("join")
@click.argument("invitation")
@click.option("--name", default="", help="Your name, if the invitation leaves it open.")
@click.option("--home", type=FOLDER, help="Where to keep your key; by default under ~/.tacit.")
@json_option
def join(invitation: str, name: str, home: Path | None, as_json: bool) -> None:
    """Become a member: makes your key here and pins the coordinator's certificate."""
    asked = parse(invitation)
    called = asked.name or name
    if not called:
        raise TacitError("client.no-name")
    place = Home(home) if home else member_home(asked.role, called)
    known = asyncio.run(join_coordinator(invitation, place, RealClock(), os.urandom, name=name))
    if as_json:
        told = {"id": known.id, "name": known.name, "role": known.role, "home": str(place.folder)}
        print_json({**told, "url": known.url, "fingerprint": known.fingerprint})
        return
    screen = console()
    screen.print(Text(f"You are {known.name}, {known.role} at {known.url}.", "bold"))
    bullets(screen, _next(place, known, home is not None), " ")


def _next(place: Home, known: Coordinator, named: bool) -> list[str]:
    """What to do now."""
    if known.role != "client":
        return [
            f"Your id      {known.id} (data owners allow you by it)",
            f"Kept in      {place.folder}",
            "Run          tacit run app.toml --on URL",
        ]
    which = f" --home {place.folder}" if named else ""
    return [
        f"Your rules   {place.policy} (read it: it says who may ask for what)",
        f"Your data    tacit data add NAME FILE{which}",
        f"Your peers   tacit peers list{which}, then tacit peers approve NAME{which}",
        f"Take part    tacit client{which}",
    ]


@click.group("members")
def members() -> None:
    """List and revoke the members of a federation (operators)."""


@members.command("list")
@on_option
@json_option
def list_(on: str | None, as_json: bool) -> None:
    """List all members."""
    found = with_remote(_operator(on), lambda remote: remote.members()).members
    if as_json:
        print_json({"members": [_fact(one) for one in found]})
        return
    rows = [(one.name, one.role, one.id, _state(one)) for one in found]
    columns = ("name", "role", "id", "state")
    show_grid(console(), grid(columns, rows, ("name", "role", "since", "state")))


@members.command("revoke")
@click.argument("name")
@on_option
@json_option
def revoke(name: str, on: str | None, as_json: bool) -> None:
    """End a membership at once, by name or id."""
    home = _operator(on)
    found = with_remote(home, lambda remote: remote.members()).members
    fits = [one for one in found if name in (one.id, one.name)]
    if not fits:
        hint = did_you_mean(name, [one.name for one in found])
        raise TacitError("client.no-member", name=name, hint=hint)
    with_remote(home, lambda remote: remote.revoke(fits[0].id))
    if as_json:
        print_json({"revoked": fits[0].id})
    else:
        click.echo(f"{fits[0].name} is no longer a member.")


def _operator(on: str | None) -> Home:
    own = operator_home(coordinator_folder(None))
    return own if on is None and own.coordinator.is_file() else membership(on)


def _fact(one: MemberFact) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__struct_fields__}


def _state(one: MemberFact) -> str:
    if one.revoked is not None:
        return f"revoked {_when(one.revoked)}"
    return f"seen {_when(one.seen)}" if one.seen else "not seen yet"


def _when(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC).astimezone():%Y-%m-%d %H:%M}"
