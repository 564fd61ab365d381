"""Becoming a member: from an invitation's text to a home folder, all of it or nothing."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from tacit.base.atomic import write_atomically
from tacit.base.errors import TacitError
from tacit.deploy.client.exchange import call
from tacit.deploy.client.home import Coordinator, Home, coordinator_text
from tacit.deploy.client.https import HttpsWire, in_thread
from tacit.deploy.client.owner import TEMPLATE
from tacit.deploy.client.transport import Refused, SignedTransport, Wire
from tacit.deploy.clock import Clock
from tacit.deploy.identity.authority import fetch_pinned
from tacit.deploy.identity.invitation import Invitation, parse
from tacit.deploy.identity.keys import Identity
from tacit.deploy.store import faults
from tacit.deploy.wire.files import sync_folder
from tacit.deploy.wire.messages import Enrolled, Enrolment, Role
from tacit.deploy.wire.statements import encoded

Reach: TypeAlias = Callable[[Invitation], Awaitable[tuple[str, Wire]]]
"""Finds the coordinator of an invitation: its authority (PEM, pinned), and a wire to it."""

DATASETS = (
    "# Data sets that runs may name; written by `tacit data add`. Paths never leave this file.\n"
)


async def join(
    text: str,
    home: Home,
    clock: Clock,
    fresh: Callable[[int], bytes],
    *,
    name: str = "",
    reach: Reach | None = None,
) -> Coordinator:
    """Redeem an invitation and make the home folder; `name` where the invitation leaves it open.

    The key is made here and never leaves. A connection that is lost in the middle leaves the key
    in a folder beside, so that the same invitation joins again with the same key. Errors:
    `invitation.*`, `client.home-taken`, `client.no-name`, `identity.fingerprint`, `Refused`, ...
    """
    invitation = parse(text)
    called = invitation.name or name
    if not called:
        raise TacitError("client.no-name")
    _free(home)
    begun = _begun(home, hashlib.sha256(text.encode()).hexdigest())
    identity = _key(begun)
    authority, wire = await (reach or https_reach)(invitation)
    transport = SignedTransport(invitation.url, wire, identity, clock, fresh)
    enrolment = Enrolment(invitation.code, called, encoded(identity.public))
    try:
        enrolled = await call(transport, "POST", "/v1/enrol", Enrolled, enrolment)
    except Refused as refused:
        if refused.status < 500:
            shutil.rmtree(begun.folder)
        raise
    finally:
        await transport.close()
    if enrolled.id != identity.id:
        raise TacitError("client.odd-reply", problem="it enrolled another key")
    known = Coordinator(
        invitation.url,
        enrolled.id,
        enrolled.name,
        enrolled.role.value,
        invitation.fingerprint,
        authority,
    )
    _finish(begun, home, known)
    return known


async def https_reach(invitation: Invitation) -> tuple[str, Wire]:
    """Over TLS: the authority whose fingerprint the invitation has, and nobody else's."""
    if not invitation.fingerprint:
        return "", HttpsWire.open(invitation.url, None)
    parts = urlsplit(invitation.url)
    where = (parts.hostname or "", parts.port or 443)
    authority = await in_thread(fetch_pinned, *where, invitation.fingerprint)
    return authority, HttpsWire.open(invitation.url, authority)


def _free(home: Home) -> None:
    """Nobody's home is overwritten."""
    with faults.disk(home.folder):
        if home.folder.exists() and any(home.folder.iterdir()):
            raise TacitError("client.home-taken", home=home.folder)


def _begun(home: Home, invitation: str) -> Home:
    """The folder beside, in which this invitation's home is made; another one's is dropped."""
    begun = Home(home.folder.with_name(f".{home.folder.name}.joining"))
    mark = begun.folder / "invitation"
    with faults.disk(begun.folder):
        if not mark.is_file() or mark.read_text("utf-8") != invitation:
            shutil.rmtree(begun.folder, ignore_errors=True)
            begun.make_folders()
            write_atomically(mark, invitation)
    return begun


def _key(begun: Home) -> Identity:
    return Identity.load(begun.key) if begun.key.exists() else Identity.create(begun.key)


def _finish(begun: Home, home: Home, known: Coordinator) -> None:
    """Write what is missing, then put the folder in its place at once."""
    write_atomically(begun.coordinator, coordinator_text(known))
    if known.role == Role.CLIENT.value:
        write_atomically(begun.policy, TEMPLATE)
        write_atomically(begun.datasets, DATASETS)
    with faults.disk(home.folder):
        (begun.folder / "invitation").unlink()
        sync_folder(begun.folder)
        if home.folder.exists():
            home.folder.rmdir()
        begun.folder.replace(home.folder)
        sync_folder(Path(home.folder).parent)
