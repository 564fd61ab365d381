"""What is there before a story begins: fresh disks, members, and homes of clients."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import closing
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tacit.deploy.client.database import open_ledger
from tacit.deploy.client.home import Coordinator, Home, coordinator_text
from tacit.deploy.client.records import Records
from tacit.deploy.client.roster import Approved
from tacit.deploy.identity.keys import Identity, pem_of, write_secret
from tacit.deploy.store import members
from tacit.deploy.store.database import open_database
from tacit.deploy.store.members import Member
from tacit.deploy.wire.messages import Role
from tacit.testing.schedule import CLIENTS

RUN: Final = "ab" * 16
HOST, RESEARCHER, OUTSIDER = "coordinator", "ruth", "oscar"
NAMES: Final = tuple(f"client {place}" for place in range(CLIENTS))

POLICY: Final = """
researchers = ["ruth"]
rehearsals = true
hidden_answers = false
minimum_cohort = 1
"""


def secret_of(name: str) -> Ed25519PrivateKey:
    """The same secret for the same name."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def identity_of(name: str) -> Identity:
    """The same key for the same name."""
    return Identity.from_seed(hashlib.sha256(name.encode()).digest())


def furnish(root: Path) -> None:
    """Fresh disks: a coordinator with members, and clients that have joined it."""
    template = root.with_name(f"{root.name}-new")
    if not template.exists():
        _make(template)
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(template, root)


def _make(template: Path) -> None:
    (template / HOST).mkdir(parents=True)
    database = open_database(f"sqlite:///{template / HOST / 'tacit.db'}")
    roles = {RESEARCHER: Role.RESEARCHER, OUTSIDER: Role.CLIENT} | dict.fromkeys(NAMES, Role.CLIENT)
    with database.begin() as connection:
        for name, role in roles.items():
            who = identity_of(name)
            members.add(connection, Member(who.id, name, role, who.public, 0.0))
    database.close()
    for name in NAMES:
        _home(Home(template / name), name)


def _home(home: Home, name: str) -> None:
    home.make_folders()
    me = identity_of(name)
    write_secret(home.key, pem_of(secret_of(name)))
    known = Coordinator("https://here", me.id, name, "client", "SHA256:x", "")
    home.coordinator.write_text(coordinator_text(known), "utf-8")
    home.policy.write_text(POLICY, "utf-8")
    with closing(open_ledger(home)) as ledger:
        for peer in NAMES:
            one = identity_of(peer)
            Records(ledger).approve(Approved(one.id, one.public, peer, 0.0), "approved.")
