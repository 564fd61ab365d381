"""The data owner's agent: asks for work, decides, takes turns, learns what became of answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from shutil import rmtree
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
from tacit.deploy.client.runner import Runner, TurnFailed, Warm
from tacit.deploy.client.taking import about, send, take
from tacit.deploy.client.taking import tell as tell_failure
from tacit.deploy.client.transport import SignedTransport, Transport
from tacit.deploy.clock import Clock
from tacit.deploy.identity.keys import Identity
from tacit.deploy.store import faults
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
            if isinstance(self.transport, SignedTransport):
                self.transport.on_skew = partial(_tell_skew, desk)
            warming = asyncio.ensure_future(_warmed(self.runner))
            try:
                await Shift(desk).work()
            finally:
                warming.cancel()
                await asyncio.gather(warming, return_exceptions=True)
                await self.runner.close()


@final
@dataclass
class Shift:
    """The loop of a started agent; `served` says when each run's turn was last taken."""

    desk: Desk
    served: dict[str, int] = field(default_factory=dict)
    turns: int = 0
    early: int = 0
    certain: bool = False
    caught_up: float = 0.0
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
                went_on = self.certain = False
                if wrong.cause != self.trouble:
                    self.trouble = wrong.cause
                    LOG.warning("%s %s [%s]", wrong.cause, wrong.remedy, wrong.code)
            if not went_on:
                await self.desk.clock.sleep(self.desk.pace.pause)

    async def once(self) -> bool:
        """Finish what is unfinished, then ask for work and do it; False where nothing went on."""
        desk, began = self.desk, self.desk.clock.now()
        busy = False
        if not self.certain or not 0 <= began - self.caught_up < desk.pace.catch_up:
            busy, self.certain, self.caught_up = await self.catch_up(), True, began
        work = await self._poll(0.0 if busy else self._patience())
        told = [self._settled(fate) for fate in work.fates]
        told += [self._over(task) for task in work.tasks if isinstance(task, Over)]
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
        """Delete what a crash, or a turn that was given up, left behind."""
        home = self.desk.home
        swept(self.desk.records, home.answers, home.memory)
        with faults.disk(home.work):
            for folder in home.work.iterdir():
                rmtree(folder)

    def _patience(self) -> float:
        """Seconds that a poll may last: less while the owner may yet allow what was refused."""
        refused = any(one.decision == "refuse" for one in self.desk.records.open_runs())
        return min(self.desk.pace.wait, self.desk.pace.catch_up) if refused else self.desk.pace.wait

    async def _poll(self, wait: float) -> Work:
        records = self.desk.records
        decided = records.open_names()[-MOST_DECIDED:]
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
        done = records.settle(
            fate.run, fate.round, now, said, included=fate.included, code=fate.code[:60]
        )
        if done is not None and not fate.included:
            self._clean()
        for name in done or ():
            for folder in (self.desk.home.answers, self.desk.home.memory):
                with faults.disk(folder):
                    (folder / name).unlink(missing_ok=True)
        return done is not None

    def _over(self, task: Over) -> bool:
        decided = self.desk.records.run(task.run)
        if decided is None or decided.status != "open":
            return False
        status = task.status[:20] if task.status.isalpha() else "over"
        said = f"{about(task.run, decided)} is over: {status}."
        self.desk.records.over(task.run, status, self.desk.clock.now(), said)
        self._clean()
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


async def _warmed(runner: Runner) -> None:
    """Prepare for the first run, if the runner can; it will be as well without."""
    if isinstance(runner, Warm):
        try:
            await runner.warm()
        except (TacitError, TurnFailed) as wrong:
            LOG.warning("no worker could be prepared: %s", wrong)


def _tell_skew(desk: Desk, skew: float) -> None:
    """Clocks that differ are no reason to stop, but the owner should know."""
    where = "behind" if skew > 0 else "ahead of"
    text = f"this machine's clock is {abs(skew):.0f} seconds {where} the coordinator's"
    desk.records.say(desk.clock.now(), f"{text}; requests are dated by the coordinator's.")
