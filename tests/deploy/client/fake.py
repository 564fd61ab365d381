"""A coordinator and a runner in memory, with a place to crash between any two steps."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
from sqlalchemy import Connection

import tacit
from tacit.deploy.client.agent import Agent
from tacit.deploy.client.database import Ledger, open_ledger
from tacit.deploy.client.desk import Pace
from tacit.deploy.client.home import Coordinator, Home, coordinator_text
from tacit.deploy.client.records import Records
from tacit.deploy.client.roster import Approved
from tacit.deploy.client.runner import Done, Work
from tacit.deploy.client.transport import Part, Refused, Request, Response
from tacit.deploy.identity.keys import Identity
from tacit.deploy.wire import messages as wire
from tacit.deploy.wire.statements import encoded, joining_text, submission_text
from tests.deploy.client.virtual import VirtualClock

RUN, NAME, DATASET = "ab" * 16, "heart", "patients"
ADA = Identity.from_seed(b"A" * 32)
PEERS = tuple(Identity.from_seed(bytes([n]) * 32) for n in (1, 2, 3))

OPEN_POLICY = """
researchers = ["Ada"]
hidden_answers = false
minimum_cohort = 3
"""


class Crashed(BaseException):
    """The process was killed here."""


@dataclass
class Steps:
    """Counts durable steps and crashes at one of them (0: never)."""

    at: int = 0
    count: int = 0
    names: list[str] = field(default_factory=list)

    def step(self, name: str) -> None:
        self.count += 1
        self.names.append(name)
        if self.count == self.at:
            raise Crashed(name)


def federation(**changes: Any) -> tacit.Federation:
    given: dict[str, Any] = {
        "task": tacit.numpy.logistic_regression(),
        "data": tacit.arrays((3,), 2),
        "clients": 4,
        "algorithm": tacit.fedavg(lr=0.1),
        "rounds": 3,
        "quorum": 3,
    }
    return tacit.Federation(**{**given, **changes})


def make_home(folder: Path, policy: str = OPEN_POLICY) -> Home:
    home = Home(folder / "home")
    home.make_folders()
    me = Identity.create(home.key)
    facts = Coordinator("https://coordinator:8443", me.id, "site", "client", "SHA256:x", "")
    home.coordinator.write_text(coordinator_text(facts), "utf-8")
    home.policy.write_text(policy, "utf-8")
    ledger = open_ledger(home)
    for place, peer in enumerate(PEERS):
        Records(ledger).approve(Approved(peer.id, peer.public, f"peer {place}", 0.0), "approved.")
    ledger.close()
    return home


def participant(who: Identity, index: int, digest: str, run: str = RUN) -> wire.Participant:
    signature = encoded(who.sign(joining_text(run, digest, who.id, DATASET)))
    key = encoded(who.public)
    return wire.Participant(index, who.id, f"member {index}", key, DATASET, signature)


@dataclass
class Fake:
    """A coordinator of one run of four clients, of which one is real. A `Transport`."""

    me: Identity
    clock: VirtualClock
    described: tacit.Federation = field(default_factory=federation)
    steps: Steps = field(default_factory=Steps)
    run: str = RUN
    seed: int | None = None
    dropped: Collection[int] = ()
    chunked: int = 0
    place: int | None = None
    round: int = 0
    joinings: list[wire.Joining] = field(default_factory=list)
    failures: list[tuple[int, wire.Failure]] = field(default_factory=list)
    uploads: dict[int, bytearray] = field(default_factory=dict)
    seen: dict[int, set[str]] = field(default_factory=dict)
    got: dict[int, bytes] = field(default_factory=dict)
    polls: list[wire.Poll] = field(default_factory=list)
    before: Callable[[Fake, Request], None] = lambda fake, request: None
    change: Callable[[wire.Turn], wire.Turn] = lambda turn: turn
    peers: wire.Peers = field(default_factory=lambda: wire.Peers(()))
    asks: Callable[[Fake], bool] = lambda fake: True

    async def send(self, request: Request) -> Response:
        self.steps.step(f"before {request.method} {request.path}")
        self.before(self, request)
        body = request.body.read() if isinstance(request.body, Part) else request.body
        reply = await self.handled(request, body)
        self.steps.step(f"after {request.method} {request.path}")
        return Response(200, {}, wire.encode(reply))

    async def close(self) -> None:
        """Nothing is open."""

    async def handled(self, request: Request, body: bytes) -> wire.Message:
        match request.path.split("/")[2:]:
            case ["work"]:
                return await self.work(msgspec.json.decode(body, type=wire.Poll))
            case ["peers"]:
                return self.peers
            case ["runs", run, "joining"] if run == self.run:
                return self.joined(msgspec.json.decode(body, type=wire.Joining))
            case ["runs", run, "rounds", round_, "failure"] if run == self.run:
                failure = msgspec.json.decode(body, type=wire.Failure)
                self.failures.append((int(round_), failure))
                return wire.Nothing()
            case ["runs", run, "rounds", round_, "answer"] if run == self.run:
                named = {key: value[0] for key, value in parse_qs(request.query).items()}
                return self.answered(request.method, int(round_), named, body)
        raise refused(404, "deploy.no-route")

    async def work(self, poll: wire.Poll) -> wire.Work:
        self.polls.append(poll)
        fates = tuple(map(self.fate, poll.open))
        tasks = self.tasks(poll)
        if not tasks and not fates:
            await self.clock.sleep(max(poll.wait, 0.01))
            tasks = self.tasks(poll)
        return wire.Work(self.clock.now(), tasks, fates)

    def tasks(self, poll: wire.Poll) -> tuple[wire.Task, ...]:
        if self.round >= self.described.rounds:
            return (wire.Over(self.run, "finished"),) if self.run in poll.decided else ()
        if self.place is None:
            return () if self.run in poll.decided else (self.consider(),)
        return (self.change(self.turn()),) if self.asks(self) else ()

    def consider(self) -> wire.Consider:
        who = (ADA.id, "Ada", encoded(ADA.public))
        plain, digest = self.described.plain, self.described.digest
        text = submission_text(self.run, digest, DATASET, self.seed, NAME)
        signature = encoded(ADA.sign(text))
        return wire.Consider(self.run, NAME, *who, plain, digest, DATASET, self.seed, signature)

    def turn(self) -> wire.Turn:
        offer = f"model {self.round}".encode()
        members = [self.me, *PEERS]
        digest = self.described.digest
        return wire.Turn(
            self.run,
            self.round,
            0,
            hashlib.sha256(offer).hexdigest(),
            len(offer),
            tuple(range(4)),
            tuple(participant(who, i, digest, self.run) for i, who in enumerate(members)),
            0.0,
            encoded(offer),
        )

    def joined(self, joining: wire.Joining) -> wire.Message:
        self.joinings.append(joining)
        if joining.decision != "accept":
            self.place = None
            return wire.Nothing()
        self.place = 0
        return wire.Joined(0)

    def answered(
        self, method: str, round_: int, named: Mapping[str, str], body: bytes
    ) -> wire.Offset:
        size, digest = int(named["size"]), named["digest"]
        if round_ in self.got:
            assert hashlib.sha256(self.got[round_]).hexdigest() == digest
            return wire.Offset(size, done=True)
        there = self.uploads.setdefault(round_, bytearray())
        if method == "GET":
            return wire.Offset(len(there))
        self.seen.setdefault(round_, set()).add(digest)
        if int(named["offset"]) != len(there):
            raise refused(409, "store.offset")
        there += body
        if len(there) < size:
            return wire.Offset(len(there))
        assert hashlib.sha256(there).hexdigest() == digest
        self.got[round_] = bytes(there)
        if round_ == self.round:
            self.round += 1
        return wire.Offset(size, done=True)

    def fate(self, one: wire.Open) -> wire.Fate:
        included = one.round in self.got and one.round not in self.dropped
        return wire.Fate(one.run, one.round, included, "" if included else "round.late")


def refused(status: int, code: str, **facts: Any) -> Refused:
    return Refused(status, wire.ErrorFact(code, f"It said {code}.", "Do better.", facts))


@dataclass
class Drawing:
    """A runner whose every answer is different, and whose memory lists the rounds in it."""

    fresh: Callable[[int], bytes]
    steps: Steps = field(default_factory=Steps)
    size: int = 64
    turns: list[int] = field(default_factory=list)
    works: list[Work] = field(default_factory=list)
    fails: Callable[[Work], None] = lambda work: None
    seconds: float = 0.0

    async def turn(self, work: Work) -> Done:
        self.works.append(work)
        self.turns.append(work.round)
        assert work.offer.read_bytes() == f"model {work.round}".encode()
        await asyncio.sleep(self.seconds)
        self.fails(work)
        before = json.loads(work.memory.read_text()) if work.memory else []
        answer, pending = work.folder / "answer", work.folder / "pending"
        answer.write_bytes(self.fresh(self.size))
        pending.write_text(json.dumps([*before, work.round]))
        digest = hashlib.sha256(answer.read_bytes()).hexdigest()
        self.steps.step("turn")
        return Done(answer, digest, self.size, pending, 10)

    async def close(self) -> None:
        """Nothing runs."""


@contextmanager
def counted(steps: Steps) -> Iterator[None]:
    """Every write transaction of every client is a step before and after its commit."""
    real = Ledger.write

    @contextmanager
    def write(self: Ledger) -> Iterator[Connection]:
        steps.step("before commit")
        with real(self) as connection:
            yield connection
        steps.step("after commit")

    Ledger.write = write  # type: ignore[method-assign]  # put back below
    try:
        yield
    finally:
        Ledger.write = real  # type: ignore[method-assign]  # it was so before


def agent(home: Home, fake: Fake, runner: Drawing, **more: Any) -> Agent:
    given: dict[str, Any] = {"datasets": lambda home: (DATASET,), "pace": Pace(), **more}
    return Agent(home, fake, fake.clock, runner, runner.fresh, **given)


async def worked(one: Agent, until: Callable[[], bool], most: float = 3600.0) -> None:
    """Run an agent until something holds, or so many seconds passed; then end it."""
    task = asyncio.ensure_future(one.run())
    end = asyncio.get_running_loop().time() + most
    while not until() and not task.done() and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.05)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def memory_of(home: Home, run: str = RUN) -> list[int]:
    ledger = open_ledger(home)
    try:
        file = Records(ledger).memory(run)
        if file is None:
            return []
        found: list[int] = json.loads((home.memory / file).read_text())
        return found
    finally:
        ledger.close()


def over(fake: Fake) -> Callable[[], bool]:
    """Whether the agent knows that the run has ended."""

    def told() -> bool:
        ended = fake.round >= fake.described.rounds and bool(fake.polls)
        return ended and not fake.polls[-1].decided and fake.polls[-1].wait > 0

    return told
