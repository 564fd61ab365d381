"""Signed calls of researchers, operators and auditors to a coordinator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.deploy.client.exchange import call, download, upload
from tacit.deploy.client.home import Home
from tacit.deploy.client.https import https_transport
from tacit.deploy.client.join import join
from tacit.deploy.client.transport import Request, Transport
from tacit.deploy.clock import Clock
from tacit.deploy.coordinator.outline import outline_of
from tacit.deploy.identity.keys import Identity
from tacit.deploy.wire.messages import (
    EventFact,
    Events,
    Hello,
    Invite,
    Invited,
    Members,
    Nothing,
    Peers,
    Result,
    Role,
    RunDetail,
    RunFact,
    Runs,
    Submission,
    Vouching,
)
from tacit.deploy.wire.packs import file_digest, write_pack
from tacit.deploy.wire.statements import encoded, submission_text
from tacit.plan.federation import Federation

__all__ = ["Remote", "enrol", "open_remote", "over"]

enrol = join
"""Redeem an invitation of any role; see `tacit.deploy.client.join`."""

_OVER = frozenset({"finished", "failed", "stopped"})


def over(status: str) -> bool:
    """Whether a run of this status has ended."""
    return status in _OVER


@final
@dataclass(frozen=True)
class Remote:
    """A coordinator as its members see it. Every call raises `Refused`, `client.unreachable`."""

    transport: Transport
    fresh: Callable[[int], bytes]
    sign: Callable[[bytes], bytes]

    async def hello(self) -> Hello:
        """Version, time and fingerprint."""
        return await call(self.transport, "GET", "/v1/hello", Hello)

    async def ready(self) -> None:
        """Returns where requests are taken; raises `Refused`, `client.unreachable`."""
        await self.transport.send(Request("GET", "/ready"))

    async def submit(
        self,
        federation: Federation,
        *,
        name: str,
        dataset: str,
        clients: Sequence[str] = (),
        seed: int | None = None,
        run: str = "",
        scratch: Path | None = None,
    ) -> RunFact:
        """Queue a run; `seed` makes it a rehearsal, `run` (32 hex digits) repeats a submission.

        The plan is built here first. Where the task is the researcher's own code, which a
        coordinator never loads, the model's start is uploaded as well, by way of `scratch`.
        """
        plan = federation.plan()
        if plan.form.ideal and seed is None:
            raise TacitError("deploy.secure-sum-simulated")
        run = run or self.fresh(16).hex()
        text = submission_text(run, federation.digest, dataset, seed, name)
        submission = Submission(
            run,
            name,
            federation.plain,
            federation.digest,
            dataset,
            tuple(clients),
            seed,
            outline_of(plan),
            encoded(self.sign(text)),
        )
        fact = await call(self.transport, "POST", "/v1/runs", RunFact, submission)
        if submission.outline is not None:
            if scratch is None:
                raise ValueError("a run of the researcher's own code needs a scratch folder")
            key = Key.fresh() if seed is None else Key.seed(seed)
            file = scratch / f"{submission.id}.start"
            if not file.exists():  # a repeated submission must not begin elsewhere
                write_pack(file, {"params": plan.start(key / "start")})
            path = f"/v1/runs/{submission.id}/start"
            await upload(self.transport, path, file, file_digest(file), file.stat().st_size)
        return fact

    async def runs(self, before: str = "") -> tuple[RunFact, ...]:
        """Runs that one may see, newest first; those older than `before`."""
        query = f"before={before}" if before else ""
        return (await call(self.transport, "GET", "/v1/runs", Runs, query=query)).runs

    async def show(self, run: str) -> RunDetail:
        """A run with its clients, refusals and numbers."""
        return await call(self.transport, "GET", f"/v1/runs/{run}", RunDetail)

    async def events(self, run: str, after: int = 0, wait: float = 0.0) -> Events:
        """Lines of a run's journal behind number `after`; waits so many seconds for one."""
        query, path = f"after={after}&wait={wait:g}", f"/v1/runs/{run}/events"
        return await call(self.transport, "GET", path, Events, query=query, wait=wait)

    async def follow(
        self, run: str, after: int = 0, wait: float = 25.0
    ) -> AsyncIterator[EventFact]:
        """Lines as they come, until the run is over and all of them were told."""
        while True:
            found = await self.events(run, after, wait)
            for event in found.events:
                after = event.seq
                yield event
            if not found.events and over(found.status):
                return

    async def stop(self, run: str) -> RunFact:
        """End a run; it can be resumed."""
        return await call(self.transport, "POST", f"/v1/runs/{run}/stop", RunFact)

    async def resume(self, run: str) -> RunFact:
        """Let a run that was stopped or failed go on, with all its clients."""
        return await call(self.transport, "POST", f"/v1/runs/{run}/resume", RunFact)

    async def result(self, run: str) -> Result:
        """Where the newest model is, and the numbers of all rounds."""
        return await call(self.transport, "GET", f"/v1/runs/{run}/result", Result)

    async def fetch(self, result: Result, place: Path) -> Path:
        """The model's pack as a file; a download that was cut goes on where it ended."""
        if result.model is None:
            raise TacitError("client.no-model")
        return await download(self.transport, result.model, result.size, place)

    async def invite(self, role: Role, name: str | None = None, hours: float = 48.0) -> Invited:
        """A single-use invitation; its code is told once."""
        body = Invite(role, name, hours)
        return await call(self.transport, "POST", "/v1/invitations", Invited, body)

    async def members(self) -> Members:
        """All members."""
        return await call(self.transport, "GET", "/v1/members", Members)

    async def revoke(self, member: str) -> None:
        """End a membership at once."""
        await call(self.transport, "POST", f"/v1/members/{member}/revoke", Nothing)

    async def peers(self) -> Peers:
        """The other clients, as a client sees them."""
        return await call(self.transport, "GET", "/v1/peers", Peers)

    async def vouch(self, peer: str, signature: str) -> None:
        """Leave one's signature that a peer is who it says; see `roster.vouch_text`."""
        body = Vouching(signature)
        await call(self.transport, "POST", f"/v1/peers/{peer}/vouch", Nothing, body)

    async def close(self) -> None:
        """Drop the connections."""
        await self.transport.close()


def open_remote(home: Home, clock: Clock, fresh: Callable[[int], bytes], url: str = "") -> Remote:
    """The coordinator of a home, with the home's key; raises `client.home-missing`.

    `url`: where it is reached, if not at the address that the home knows.
    """
    transport = https_transport(home, clock, fresh, url=url)
    return Remote(transport, fresh, Identity.load(home.key).sign)
