"""`tacit peers`: the other data owners, and which of them count."""

from __future__ import annotations

from pathlib import Path

import click
from rich.text import Text

from tacit.base.errors import TacitError
from tacit.base.nearest import did_you_mean
from tacit.cli.homes import client_home, home_option
from tacit.cli.output import console, grid, json_option, print_json, show_grid
from tacit.cli.remote import with_remote
from tacit.deploy.client.database import open_ledger
from tacit.deploy.client.home import Home
from tacit.deploy.client.records import Records
from tacit.deploy.client.roster import Approved
from tacit.deploy.clock import RealClock
from tacit.deploy.identity.keys import Identity
from tacit.deploy.remote import Remote
from tacit.deploy.wire.messages import Peer
from tacit.deploy.wire.statements import decoded, encoded, vouch_text


@click.group("peers")
def peers() -> None:
    """The other data owners: whoever you approve counts for your minimum cohort.

    The coordinator could invent peers. Compare a peer's id by telephone before you approve it.
    """


@peers.command("list")
@home_option
@json_option
def list_(home: Path | None, as_json: bool) -> None:
    """List the peers that the coordinator names, and which of them you approved."""
    found = client_home(home)
    named = with_remote(found, lambda remote: remote.peers()).peers
    approved = {one.id for one in _roster(found)}
    if as_json:
        rows = [{"id": p.id, "name": p.name, "approved": p.id in approved} for p in named]
        print_json({"peers": rows})
        return
    screen = console()
    columns = ("name", "id", "approved", "vouches")
    cells = [
        (peer.name, peer.id, "yes" if peer.id in approved else "-", f"{len(peer.vouches)}")
        for peer in named
    ]
    show_grid(screen, grid(columns, cells, ("name", "approved")))
    if not named:
        screen.print(Text("No other client has joined yet."))


@peers.command("approve")
@click.argument("names", nargs=-1, required=True)
@click.option("--vouch", is_flag=True, help="Sign for them too, for owners who trust your word.")
@home_option
@json_option
def approve(names: tuple[str, ...], vouch: bool, home: Path | None, as_json: bool) -> None:
    """Put peers on your roster, by name or id."""
    found = client_home(home)
    named = with_remote(found, lambda remote: remote.peers()).peers
    chosen = [_chosen(name, named) for name in names]
    ledger = open_ledger(found)
    try:
        for peer in chosen:
            key = decoded(peer.public_key)
            said = f"approved the peer {peer.name!r} ({peer.id})."
            Records(ledger).approve(Approved(peer.id, key, peer.name, RealClock().now()), said)
    finally:
        ledger.close()
    if vouch:
        _vouch(found, chosen)
    if as_json:
        print_json({"approved": [{"id": peer.id, "name": peer.name} for peer in chosen]})
        return
    for peer in chosen:
        click.echo(f"{peer.name} ({peer.id}) is on your roster.")


@peers.command("remove")
@click.argument("name")
@home_option
@json_option
def remove(name: str, home: Path | None, as_json: bool) -> None:
    """Take a peer off your roster, by name or id."""
    found = client_home(home)
    roster = _roster(found)
    fits = [one for one in roster if name in (one.id, one.name)]
    if not fits:
        raise TacitError("client.no-member", name=name, hint=_hint(name, roster))
    ledger = open_ledger(found)
    try:
        said = f"took the peer {fits[0].name!r} off the roster."
        Records(ledger).disapprove(fits[0].id, RealClock().now(), said)
    finally:
        ledger.close()
    if as_json:
        print_json({"removed": fits[0].id})
    else:
        click.echo(f"{fits[0].name} is no longer on your roster.")


def _vouch(home: Home, chosen: list[Peer]) -> None:
    me = Identity.load(home.key)
    signatures = {one.id: encoded(me.sign(vouch_text(one.id, one.name))) for one in chosen}

    async def sign(remote: Remote) -> None:
        for peer, signature in signatures.items():
            await remote.vouch(peer, signature)

    with_remote(home, sign)


def _roster(home: Home) -> tuple[Approved, ...]:
    ledger = open_ledger(home)
    try:
        return Records(ledger).roster()
    finally:
        ledger.close()


def _chosen(name: str, named: tuple[Peer, ...]) -> Peer:
    fits = [peer for peer in named if name in (peer.id, peer.name)]
    if not fits:
        raise TacitError("client.no-member", name=name, hint=_hint(name, named))
    return fits[0]


def _hint(name: str, known: tuple[Peer, ...] | tuple[Approved, ...]) -> str:
    return did_you_mean(name, [one.name for one in known])
