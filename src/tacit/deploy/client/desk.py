"""What every step of the agent works with, and the one judgement that they share."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import final

from tacit.base.errors import TacitError
from tacit.deploy.client.exchange import call
from tacit.deploy.client.facts import Planner
from tacit.deploy.client.home import Home
from tacit.deploy.client.owner import OwnerPolicy, basis, read_policy
from tacit.deploy.client.records import Records
from tacit.deploy.client.roster import Approved, roster_digest, vouched
from tacit.deploy.client.runner import Runner
from tacit.deploy.client.transport import Refused, Transport
from tacit.deploy.client.verdict import Asked, Judged, consider
from tacit.deploy.clock import Clock
from tacit.deploy.identity.keys import Identity
from tacit.deploy.wire.messages import Peer, Peers

LASTING = frozenset({400, 403, 404, 409, 410, 413, 422})
"""Statuses that stay the same however often a request is repeated."""


@final
@dataclass(frozen=True)
class Pace:
    """Seconds: a poll waits for work; a pause after nothing went on; a sign of life in a turn.

    `peers`: vouches are asked for anew; `catch_up`: what other processes changed here (the owner
    left a run, edited the policy) is looked at.
    """

    wait: float = 25.0
    pause: float = 15.0
    beat: float = 20.0
    peers: float = 60.0
    catch_up: float = 5.0


@final
@dataclass
class Desk:
    """The agent's tools. Only `peers` changes: what the coordinator last told of vouches."""

    home: Home
    identity: Identity
    records: Records
    transport: Transport
    clock: Clock
    runner: Runner
    planner: Planner
    fresh: Callable[[int], bytes]
    datasets: Callable[[Home], Collection[str]]
    pace: Pace
    peers: tuple[Peer, ...] = ()
    asked_peers: float = field(default=-1e18)

    async def roster(self, policy: OwnerPolicy) -> tuple[Approved, ...]:
        """Approved peers with this client; where the policy says so, those vouched for as well."""
        now = self.clock.now()
        me = Approved(self.identity.id, self.identity.public, "this client", now)
        direct = (me, *(p for p in self.records.roster() if p.id != me.id))
        if not policy.vouches:
            return direct
        if abs(now - self.asked_peers) >= self.pace.peers:
            self.peers = (await call(self.transport, "GET", "/v1/peers", Peers)).peers
            self.asked_peers = now
        return (*direct, *vouched(self.peers, direct, policy.vouches, now))

    async def basis(self) -> str:
        """A digest of what decisions rest on now; see `owner.basis`."""
        try:
            policy = read_policy(self.home)
        except TacitError:  # `judge` says what is wrong; the basis is the file as it is
            return basis(self.home, "")
        return basis(self.home, roster_digest(await self.roster(policy)))

    async def judge(self, asked: Asked) -> tuple[Judged, OwnerPolicy | None]:
        """Hold a run against the policy as it is on the disk now."""
        try:
            policy = read_policy(self.home)
            datasets = self.datasets(self.home)
        except TacitError as wrong:
            self.records.say(self.clock.now(), f"the policy cannot be used: {wrong.cause}")
            return Judged(("the owner's policy cannot be used at the moment",)), None
        judged = await consider(
            policy,
            asked,
            self.planner,
            datasets=datasets,
            approved=len(await self.roster(policy)),
            spent=self.records.spent(asked.dataset, asked.run),
        )
        return judged, policy


def lasting(wrong: TacitError) -> bool:
    """Whether the coordinator's refusal of this one request will not change by repeating it."""
    return isinstance(wrong, Refused) and wrong.status in LASTING
