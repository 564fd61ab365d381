"""What leaves an owner's machine, and what a coordinator keeps: no record, path, key or code of it.

A small federation in earnest whose data, paths, messages, keys and randomness are marked. Two of
its sites fail with the marks in what they raise. Then everything that went over the wire, and
everything that the coordinator wrote, is searched for them.
"""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import structlog

import tacit
from tacit.deploy.client.agent import Agent
from tacit.deploy.client.home import Home
from tacit.deploy.client.in_process import InProcess
from tacit.deploy.client.transport import Request, Response, SignedTransport
from tacit.deploy.coordinator.serve import configure_logs
from tacit.deploy.identity.invitation import Invitation
from tacit.deploy.identity.keys import Identity, pem_of
from tacit.deploy.wire.messages import Role
from tacit.learn.examples import Examples
from tacit.plan.build import Plan
from tests.deploy.client.test_client_whole import Asgi, begun
from tests.deploy.client.virtual import played
from tests.deploy.coordinator.test_coordinator_bits import federation

VALUE = 271828.18284590452
WORDS = ("Musterfrau", "/srv/geheim/kardiologie", "patients-2026.parquet")
POLICY = 'researchers = ["ruth"]\nhidden_answers = false\nminimum_cohort = 2\n'

PLANS = {
    "plain": federation(quorum=2, rounds=2),
    "dp": federation(quorum=2, rounds=2, protect=tacit.central_dp(30.0, 1e-5, clip=1.0)),
}


@pytest.fixture(autouse=True)
def _usual_logs() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@dataclass
class Tapped:
    """A wire that keeps all bytes of both directions."""

    inner: Asgi
    heard: list[bytes] = field(default_factory=list)

    async def exchange(
        self, request: Request, content: bytes, headers: Mapping[str, str]
    ) -> Response:
        reply = await self.inner.exchange(request, content, headers)
        self.heard += [f"{request.path}?{request.query}{dict(headers)}".encode(), content]
        self.heard += [reply.body, str(dict(reply.headers)).encode()]
        return reply

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Fresh:
    """Random bytes, all of which are remembered."""

    given: list[bytes] = field(default_factory=list)

    def __call__(self, size: int) -> bytes:
        self.given.append(os.urandom(size))
        return self.given[-1]


def records(place: int) -> Examples:
    rng = np.random.default_rng(place)
    x = rng.normal(size=(30, 5))
    x[3, 2] = VALUE if place == 0 else 0.5
    return Examples(x, rng.integers(0, 3, 30))


def held(place: int, dataset: str, plan: Plan) -> Examples:
    """Two sites are well; one cannot read its file, one meets a record that breaks its code."""
    if place == 1:
        raise FileNotFoundError(2, WORDS[0], f"{WORDS[1]}/{WORDS[2]}")
    if place == 2:
        try:
            float(f"{WORDS[0]} {VALUE}")
        except ValueError as wrong:
            raise KeyError(f"{WORDS[1]}: {WORDS[0]} has {VALUE}") from wrong
    return records(place)


async def federated(
    folder: Path, described: tacit.Federation
) -> tuple[list[bytes], list[bytes], list[Home]]:
    """All that went over the wire, all secrets that were made, and the homes."""
    world, remote, homes, ticking = await begun(folder)
    fact = await remote.submit(described, name="a run", dataset="data")
    wires, fresh, tasks = [], Fresh(), []
    for place, home in enumerate(homes):
        home.policy.write_text(POLICY, "utf-8")
        me = Identity.load(home.key)
        wires.append(Tapped(Asgi(world)))
        signer = SignedTransport("https://coordinator", wires[-1], me, world.clock, os.urandom)

        def mine(dataset: str, plan: Plan, place: int = place) -> Examples:
            return held(place, dataset, plan)

        one = Agent(home, signer, world.clock, InProcess(mine), fresh, lambda home: ("data",))
        tasks.append(asyncio.ensure_future(one.run()))
    told = [event.text async for event in remote.follow(fact.id)]
    assert (await remote.result(fact.id)).status == "finished", told
    said = "\n".join(told).encode()
    async with asyncio.timeout(5):
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    ticking.cancel()
    await world.here.driver.cancel()
    shown = [one.body for one in [await world.ask(None, "GET", "/metrics")]]
    keys = [Identity.load(home.key) for home in homes]
    secrets = [one for one in fresh.given if len(one) >= 32]
    secrets += [secret for key in keys for secret in _forms(key)]
    assert len(secrets) > 3 * len(keys)  # keys of rounds too
    return [said, *shown, *(part for wire in wires for part in wire.heard)], secrets, homes


def _forms(key: Identity) -> list[bytes]:
    raw = key._secret.private_bytes_raw()
    return [raw, pem_of(key._secret)]


def marks(secrets: list[bytes]) -> dict[str, bytes]:
    """What must not be found, as text and as bytes of every usual kind."""
    found = {word: word.encode() for word in WORDS}
    found |= {repr(VALUE)[:9]: repr(VALUE)[:9].encode()}
    found |= {kind: struct.pack(kind, VALUE) for kind in ("<d", ">d", "<f", ">f")}
    for number, secret in enumerate(secrets):
        found[f"secret {number}"] = secret
        found[f"secret {number} in hex"] = secret.hex().encode()
        found[f"secret {number} in base64"] = base64.b64encode(secret).rstrip(b"=")
    return found


def kept(world: Path) -> list[bytes]:
    """Every file of the coordinator: its database with its journal, its blobs and its spool."""
    own = [world / "blobs", world / "spool"]
    files = [file for folder in own for file in folder.rglob("*") if file.is_file()]
    return [file.read_bytes() for file in (*files, *world.glob("tacit.db*"))]


@pytest.mark.parametrize("name", PLANS)
def test_nothing_marked_leaves_its_owner(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logs("json")
    passed, secrets, homes = played(federated(tmp_path, PLANS[name]))
    out, err = capfd.readouterr()
    places = [*passed, *kept(tmp_path), out.encode(), err.encode()]
    for what, mark in marks(secrets).items():
        assert not any(mark in place for place in places), what
    failures = b"".join(place for place in passed if b'"phase"' in place)
    assert (b"FileNotFoundError" in failures) is (name == "plain")
    assert (b"client.turn-failed" in failures) is (name == "dp")
    assert (b'traceback":""' in failures) is (name == "dp")
    for home in homes:
        own = b"".join(file.read_bytes() for file in home.folder.glob("state.db*"))
        for form in _forms(Identity.load(home.key)):
            assert form not in own
    read_by_owner = b"".join(file.read_bytes() for file in homes[1].folder.glob("state.db*"))
    assert WORDS[2].encode() in read_by_owner


def test_secrets_have_no_repr(tmp_path: Path) -> None:
    key = Identity.from_seed(b"s" * 32)
    code = "A" * 22
    invitation = Invitation("https://here:1", "", code, Role.CLIENT)
    for shown in (repr(key), str(key), f"{key}", repr(invitation), f"{invitation}"):
        assert "s" * 16 not in shown
        assert code not in shown
        assert key._secret.private_bytes_raw().hex() not in shown
