"""The data owner's agent: asks for work, decides, takes turns, learns what became of answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeVar, final

from tacit.base.errors import TacitError
from tacit.deploy.client import diary
from tacit.deploy.client.database import Ledger, open_ledger
from tacit.deploy.client.deciding import decide, reconsider
from tacit.deploy.client.deciding import tell as tell_decisions
from tacit.deploy.client.desk import Desk, Pace
from tacit.deploy.client.exchange import call
from tacit.deploy.client.facts import HerePlanner, Planner, Remembering
from tacit.deploy.client.home import Home, alone
from tacit.deploy.client.records import Records, swept
from tacit.deploy.client.runner import Runner
from tacit.deploy.client.taking import about, send, take
from tacit.deploy.client.taking import tell as tell_failure
from tacit.deploy.client.transport import Transport
from tacit.deploy.clock import Clock
from tacit.deploy.identity.keys import Identity
from tacit.deploy.wire.messages import Consider, Fate, Open, Over, Poll, Turn, Work

T = TypeVar("T")

LOG = logging.getLogger(__name__)

MOST_OPEN, MOST_DECIDED = 1000, 10_000


class RunOver(Exception):
    """The run ended while its turn was computed."""


@final
@dataclass
class Agent:
    """Works for one home until it is cancelled, which may happen at any moment.

    `datasets` names the registered data sets; `planner` builds plans (give one that uses a child
    process where researchers' code may be approved); `fresh` gives random bytes; `opens` opens the
    home's database.
    """

    home: Home
    transport: Transport
    clock: Clock
    runner: Runner
    fresh: Callable[[int], bytes]
    datasets: Callable[[Home], Collection[str]]
    planner: Planner = field(default_factory=HerePlanner)
    pace: Pace = field(default_factory=Pace)
    opens: Callable[[Home], Ledger] = open_ledger

    async def run(self) -> None:
        """Work for ever. Raises only what a restart would not mend (`client.running`, ...)."""
        self.home.check()
        self.home.make_folders()
        with alone(self.home), closing(self.opens(self.home)) as ledger:
            desk = Desk(
                self.home,
                Identity.load(self.home.key),
                Records(ledger),
                self.transport,
                self.clock,
                self.runner,
                Remembering(self.planner),
                self.fresh,
                self.datasets,
                self.pace,
            )
            try:
                await Shift(desk).work()
            finally:
                await self.runner.close()


@final
@dataclass
class Shift:
    """The loop of a started agent; `served` says when each run's turn was last taken."""

    desk: Desk
    served: dict[str, int] = field(default_factory=dict)
    turns: int = 0
    early: int = 0
    trouble: str = ""

    async def work(self) -> None:
        """Go round for ever; trouble is logged once and waited out."""
        clean = False
        while True:
            try:
                if not clean:
                    self._clean()
                    clean = True
                went_on = await self.once()
                self.trouble = ""
            except TacitError as wrong:
                went_on = False
                if wrong.cause != self.trouble:
                    self.trouble = wrong.cause
                    LOG.warning("%s %s [%s]", wrong.cause, wrong.remedy, wrong.code)
            if not went_on:
                await self.desk.clock.sleep(self.desk.pace.pause)

    async def once(self) -> bool:
        """Finish what is unfinished, then ask for work and do it; False where nothing went on."""
        busy = await self.catch_up()
        desk, began = self.desk, self.desk.clock.now()
        work = await self._poll(0.0 if busy else desk.pace.wait)
        told = [self._settled(fate) for fate in work.fates]
        told += [self._over(task) for task in work.tasks if isinstance(task, Over)]
        if any(told):
            swept(desk.records, desk.home.answers, desk.home.memory)
        for task in work.tasks:
            if isinstance(task, Consider):
                told.append(await decide(desk, task))
        if any(told) and await tell_decisions(desk):
            return True
        turns = [task for task in work.tasks if isinstance(task, Turn)]
        took = await self._turns(turns)
        if work.tasks:
            return busy or took or any(told)
        early = not busy and desk.clock.now() - began < 1.0
        self.early = self.early + 1 if early else 0
        return self.early < 5  # a coordinator that does not let polls wait is asked less often

    async def catch_up(self) -> bool:
        """Tell decisions and failures, judge again, send answers: what was kept but not heard."""
        desk = self.desk
        busy = await reconsider(desk)
        busy = await tell_decisions(desk) or busy
        for untold in desk.records.untold():
            await tell_failure(desk, untold)
            busy = True
        for answer in desk.records.open_answers("made"):
            said = about(answer.run, desk.records.run(answer.run), answer.round)
            await send(desk, answer, said)
            busy = True
        return busy

    def _clean(self) -> None:
        """Delete what a crash left behind."""
        home = self.desk.home
        swept(self.desk.records, home.answers, home.memory)

    async def _poll(self, wait: float) -> Work:
        records = self.desk.records
        decided = tuple(one.asked.run for one in records.open_runs())[-MOST_DECIDED:]
        answers = records.open_answers()[:MOST_OPEN]
        found = tuple(Open(one.run, one.round, one.digest) for one in answers)
        poll = Poll(wait, found, decided)
        return await call(self.desk.transport, "POST", "/v1/work", Work, poll, wait=wait)

    def _settled(self, fate: Fate) -> bool:
        """Learn what became of an answer, and commit its memory or not."""
        records = self.desk.records
        text = diary.settled(included=fate.included, code=fate.code)
        said = f"{about(fate.run, records.run(fate.run), fate.round)}: {text}"
        now = self.desk.clock.now()
        return records.settle(
            fate.run, fate.round, now, said, included=fate.included, code=fate.code[:60]
        )

    def _over(self, task: Over) -> bool:
        decided = self.desk.records.run(task.run)
        if decided is None or decided.status != "open":
            return False
        status = task.status[:20] if task.status.isalpha() else "over"
        said = f"{about(task.run, decided)} is over: {status}."
        self.desk.records.over(task.run, status, self.desk.clock.now(), said)
        return True

    async def _turns(self, turns: list[Turn]) -> bool:
        """Take the turn of the run that waits longest; another one if that has to wait."""
        for turn in sorted(turns, key=lambda one: (self.served.get(one.run, 0), one.run)):
            self.turns += 1
            self.served[turn.run] = self.turns
            try:
                if await take(self.desk, turn, self._alive):
                    return True
            except RunOver:
                return True
        return False

    async def _alive(self, run: str, job: Awaitable[T]) -> T:
        """Wait for a computation and show the coordinator from time to time that it goes on."""
        work = asyncio.ensure_future(job)
        beat = asyncio.ensure_future(self._beats(run))
        try:
            await asyncio.wait((work, beat), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            beat.result()
            raise RunOver
        finally:
            beat.cancel()
            work.cancel()
            await asyncio.gather(beat, work, return_exceptions=True)

    async def _beats(self, run: str) -> None:
        """Ends when the coordinator says that the run is over."""
        desk, poll = self.desk, Poll(0.0, (), (run,))
        while True:
            await desk.clock.sleep(desk.pace.beat)
            try:
                work = await call(desk.transport, "POST", "/v1/work", Work, poll)
            except TacitError as wrong:
                LOG.info("no sign of life: %s", wrong.cause)
                continue
            if any(isinstance(task, Over) and task.run == run for task in work.tasks):
                return
