"""A whole federation in one process, in virtual time: nothing is imitated but time and trouble.

The coordinator is the true application on the true store, clients are true agents in true homes;
clocks, the network, disks and the lives of processes follow a schedule.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from collections.abc import Callable, Coroutine, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, final

from tacit.base.errors import TacitError
from tacit.base.plain import digest
from tacit.deploy.client.agent import Agent
from tacit.deploy.client.desk import Pace
from tacit.deploy.client.exchange import call
from tacit.deploy.client.facts import PlanFacts, plan_facts
from tacit.deploy.client.home import Home
from tacit.deploy.client.in_process import InProcess
from tacit.deploy.client.records import Records
from tacit.deploy.client.runner import Done, Work
from tacit.deploy.client.transport import SignedTransport
from tacit.deploy.coordinator.asgi import application
from tacit.deploy.coordinator.service import Coordinator
from tacit.deploy.coordinator.settings import Settings
from tacit.deploy.store.blobs import Blobs
from tacit.deploy.wire.messages import RunFact, Submission
from tacit.deploy.wire.statements import encoded, submission_text
from tacit.plan.policy import Policy
from tacit.testing.cases import Case, case_of, held
from tacit.testing.disk import Disks
from tacit.testing.furniture import HOST, NAMES, RESEARCHER, RUN, furnish, identity_of
from tacit.testing.judge import Line
from tacit.testing.network import Network, Telephone
from tacit.testing.node import Node, adopt_tasks
from tacit.testing.schedule import COORDINATOR, Fault, Schedule
from tacit.testing.sql import database_at, ledger_at
from tacit.testing.strangers import trick
from tacit.testing.virtual_time import VirtualLoop, run
from tacit.testing.witness import Witness

T = TypeVar("T")

LONGEST: Final = 8 * 3600.0
"""Seconds of virtual time in which every story ends, once its faults are over."""

QUIET: Final = 400.0
"""Seconds after the last fault until nothing is under way that began before it."""


@final
@dataclass
class Plans:
    """A `Planner` that remembers: plans are built once for all stories."""

    known: dict[tuple[str, Policy], PlanFacts] = field(default_factory=dict)

    async def facts(
        self, federation: Mapping[str, Any], policy: Policy, dataset: str | None = None
    ) -> PlanFacts:
        """As `plan_facts`."""
        key = digest(federation), policy
        if key not in self.known:
            self.known[key] = plan_facts(federation, policy)
        return self.known[key]


PLANS: Final = Plans()


@final
@dataclass
class Turns:
    """A `Runner` that takes the true turn after some seconds."""

    node: Node
    chance: random.Random
    inner: InProcess
    slow: list[float] = field(default_factory=list)

    async def turn(self, work: Work) -> Done:
        """Take one turn."""
        more = self.slow.pop() if self.slow else 0.0
        await self.node.clock.sleep(self.chance.uniform(0.05, 0.5) + more)
        return await self.inner.turn(work)

    async def close(self) -> None:
        """Nothing runs."""


async def inline(work: Callable[[], T], /) -> T:
    """Here and now, instead of in a thread."""
    return work()


@final
class World:
    """One story: `play` it once. `wrong` collects what must not happen."""

    def __init__(self, schedule: Schedule, root: Path) -> None:
        self.schedule, self.root = schedule, root
        self.case: Case = case_of(schedule.case)
        self.chance = random.Random(schedule.seed)  # noqa: S311  # to be repeated
        self.loop = VirtualLoop()
        self.wrong: list[str] = []
        adopt_tasks(self.loop, self.wrong.append)
        self.disks = Disks(root)
        self.host = self._node(HOST)
        self.clients = [self._node(name) for name in NAMES[: self.case.clients]]
        self.ruth = Node(RESEARCHER, root, self.loop)
        self.witness = Witness(root / HOST / "tacit.db", self.case, self.wrong.append)
        self.network = Network(self.host, self.chance, self.witness.sees, self.wrong.append)
        plan = {self.case.federation.digest: self.case.plan}
        places = range(self.case.clients)
        self.turns = [self._turns(place, plan) for place in places]
        self.here: Coordinator | None = None
        self.told = False
        self.story: tuple[Line, ...] = ()
        self.status = ""

    def _node(self, name: str) -> Node:
        node = Node(name, self.root / name, self.loop)
        self.disks.add(node)
        return node

    def _turns(self, place: int, plans: dict[str, Any]) -> Turns:
        inner = InProcess(lambda *_: held()[place], NAMES[place])
        inner.plans = plans
        return Turns(self.clients[place], self.chance, inner)

    def play(self) -> None:
        """From the submission to the end of the run, and a little further."""
        furnish(self.root)
        database_at(self.root / HOST / "tacit.db")[1].node = self.host
        for node in self.clients:
            ledger_at(node.folder)[1].node = node
        fresh, os.urandom = os.urandom, self.chance.randbytes
        try:
            with self.disks:
                run(self._story(), self.loop)
        finally:
            os.urandom = fresh
            self._clear()
        if self.told:
            self.witness.ends(self.here, self.root, NAMES[: self.case.clients])
        self.story, self.status = self.witness.lines(), self.witness.status()
        self.witness.close()

    def _clear(self) -> None:
        database, slot = database_at(self.root / HOST / "tacit.db")
        slot.node = None
        database.close()
        for node in self.clients:
            ledger, slot = ledger_at(node.folder)
            slot.node = None
            ledger.close()

    # -- the story -----------------------------------------------------------------------------

    async def _story(self) -> None:
        lives = [self._live(self.host, self._serve)]
        lives += [
            self._live(node, partial(self._client, place))
            for place, node in enumerate(self.clients)
        ]
        tasks = [self.loop.create_task(life) for life in lives]
        tasks.append(self.loop.create_task(self._submit()))
        tasks.append(self.loop.create_task(self._trouble()))
        try:
            await self._watch(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for node in (self.host, *self.clients):
                node.die()
                await node.reaped()

    async def _watch(self, tasks: list[asyncio.Task[None]]) -> None:
        """Until all is told, or far too long."""
        latest = self.schedule.end + LONGEST
        while not self.settled:
            for task in tasks:
                if task.done() and task.exception() is not None:
                    task.result()
            if self.loop.time() > latest:
                self.wrong.append(f"it does not end: {self._state()}")
                return
            await asyncio.sleep(1.0 if self.loop.time() < 30 else 5.0)
        await self._restarted()
        self.told = True

    async def _restarted(self) -> None:
        """Once more from the disk: what is in memory then is what the journal says."""
        while any(node.dead for node in (self.host, *self.clients)):
            await asyncio.sleep(1.0)
        self.witness.remembers(self.here)
        self.host.away = 0.1
        self.host.die()
        await asyncio.sleep(3.0)

    def _state(self) -> str:
        return f"{self.witness.status()}, clients {[self._told(node) for node in self.clients]}"

    @property
    def settled(self) -> bool:
        """Whether the faults are over, the run has ended, and every client knows it."""
        now = self.loop.time()
        if now < self.schedule.end + 1.0 or self.witness.status() in ("", "running"):
            return False
        if self.witness.status() == "waiting":
            return now > self.schedule.end + QUIET + 3600 and self.witness.may_wait()
        return all(self._told(node) for node in self.clients)

    def _told(self, node: Node) -> bool:
        """Whether a client has nothing more to learn."""
        with closing(sqlite3.connect(node.folder / "state.db")) as connection:
            open_ = connection.execute("SELECT count(*) FROM runs WHERE status = 'open'")
            count: int = open_.fetchone()[0]
            return count == 0

    # -- processes -----------------------------------------------------------------------------

    async def _live(self, node: Node, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A process, started again whenever it has ended."""
        while True:
            node.born()
            task = node.spawn(main())
            died = self.loop.create_task(node.died.wait())
            await asyncio.wait((task, died), return_when=asyncio.FIRST_COMPLETED)
            died.cancel()
            if not node.dead:
                self._gave_up(node, task)
                node.die()
            await node.reaped()
            if node is self.host:
                self.network.app = None
            if node.power:
                self.disks.cut(node, self.chance)
            self._disconnect(node)
            await asyncio.sleep(node.away)
            node.away = 0.0

    def _gave_up(self, node: Node, task: asyncio.Task[None]) -> None:
        """A process that ended by itself says why, and a supervisor starts it again."""
        error = None if task.cancelled() else task.exception()
        node.away = 5.0
        if not isinstance(error, TacitError):
            self.wrong.append(f"{node.name} ended with {error!r}")

    def _disconnect(self, node: Node) -> None:
        if node is self.host:
            database_at(self.root / HOST / "tacit.db")[0].close()
        else:
            ledger_at(node.folder)[0].close()

    async def _serve(self) -> None:
        """The coordinator, as `tacit serve` starts it."""
        node, folder = self.host, self.root / HOST
        database = database_at(folder / "tacit.db")[0]
        rows = database if self.schedule.seed % 2 else None
        blobs = Blobs(folder / "blobs", folder / "spool", reserve=0, free=self._free, database=rows)
        settings = Settings(tick=1.0, inline=65_536 if self.schedule.seed % 3 else 0, holder="here")
        here = Coordinator(database, blobs, node.clock, settings, self.chance.randbytes, inline)
        await here.start()
        self.here, self.network.app = here, application(here)
        await here.keep_time()

    def _free(self, _: Path) -> int:
        return 0 if self.loop.time() < self.host.full else 1 << 40

    async def _client(self, place: int) -> None:
        """A client, as `tacit client` starts it."""
        node = self.clients[place]
        agent = Agent(
            Home(node.folder),
            self._transport(node),
            node.clock,
            self.turns[place],
            self.chance.randbytes,
            lambda _: ("data",),
            PLANS,
            Pace(),
            lambda home: ledger_at(home.folder)[0],
        )
        await agent.run()

    def _transport(self, node: Node) -> SignedTransport:
        line = Telephone(self.network, node)
        identity = identity_of(node.name)
        return SignedTransport("https://here", line, identity, node.clock, self.chance.randbytes)

    async def _submit(self) -> None:
        """A researcher submits, again and again until it is heard."""
        self.ruth.born()
        federation, case = self.case.federation, self.case
        described = federation.plain, federation.digest, "data", NAMES[: case.clients], case.seed
        text = submission_text(RUN, federation.digest, "data", case.seed, "heart")
        signature = encoded(identity_of(self.ruth.name).sign(text))
        asked = Submission(RUN, "heart", *described, signature=signature)
        transport = self._transport(self.ruth)
        while True:
            try:
                await call(transport, "POST", "/v1/runs", RunFact, asked)
            except TacitError:
                await asyncio.sleep(5.0)
            else:
                return

    # -- trouble -------------------------------------------------------------------------------

    async def _trouble(self) -> None:
        for fault in self.schedule.faults:
            await asyncio.sleep(max(0.0, fault.at - self.loop.time()))
            node = self.host if fault.node == COORDINATOR else self.clients[fault.node]
            await self._befall(node, fault)
        await asyncio.sleep(max(0.0, self.schedule.end - self.loop.time()))
        for node in (self.host, *self.clients):
            node.fuse = None
        self.network.faults.clear()

    async def _befall(self, node: Node, fault: Fault) -> None:
        match fault.what:
            case "kill" | "power" if not node.dead:
                node.arm(fault.amount, fault.seconds, power=fault.what == "power")
            case "part":
                self.network.part(node.name, fault.seconds)
            case "jump":
                node.clock.ahead += fault.seconds
            case "full":
                node.full = max(node.full, self.loop.time() + fault.seconds)
            case "slow":
                self.turns[fault.node].slow += [fault.seconds] * fault.amount
            case "leave":
                await self._leave(node)
            case "stranger":
                self.loop.create_task(trick(self.network, fault.amount, self.wrong.append))
            case "lose" | "repeat" | "delay" | "cut":
                self.network.befall(node.name, fault)

    async def _leave(self, node: Node) -> None:
        """The owner's command, a process of its own on the client's home."""

        async def leave() -> None:
            ledger = ledger_at(node.folder)[0]
            Records(ledger).leave(RUN, "enough.", node.clock.now(), "left.")

        if not node.dead:
            await asyncio.wait((node.spawn(leave()),))
