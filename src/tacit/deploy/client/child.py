"""Turns in a child process: the owner's keys stay here, user code runs there, within limits.

One live worker a description, so that its plan and its data are read once; whatever goes wrong in
it costs one turn and, where it cannot be trusted any more, the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import stat
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, cast, final

import msgspec

import tacit
from tacit.base.errors import TacitError
from tacit.base.plain import digest, to_plain
from tacit.deploy.client import owner
from tacit.deploy.client.datasets import Source, find, paths, registered
from tacit.deploy.client.facts import PlanFacts
from tacit.deploy.client.frames import Failed, Inquiry, Job, Order, Planned, Reply, Start, Taken
from tacit.deploy.client.home import Home, emptied, keep
from tacit.deploy.client.process import Process, lost
from tacit.deploy.client.runner import Done, TurnFailed, Work
from tacit.deploy.client.sandbox import Limits, report
from tacit.deploy.wire.packs import file_digest
from tacit.plan.policy import Policy

_PASSED = ("PATH", "LANG", "TACIT_DATA", "TZ", "LD_LIBRARY_PATH")
_PREFIXES = ("LC_", "OMP_", "MKL_", "OPENBLAS_", "NPY_", "KMP_", "CUDA_", "CUBLAS_")
"""Settings of numerical libraries decide the last bits of their results: they stay as they are."""

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_REWARM = 5.0
"""Seconds from a run's beginning until a worker for the next one is prepared."""

_MOST = 4
"""Workers that stay alive; behind that, the one that was used longest ago ends."""


class _Live(NamedTuple):
    process: Process
    scratch: Path
    reads: tuple[Path, ...]


def limits(policy: owner.Limits) -> Limits:
    """The limits that the owner's policy sets, beside those that are usual."""
    return Limits(
        memory=policy.memory_mb << 20,
        seconds=policy.wall_seconds,
        cpu=policy.cpu_seconds,
        threads=policy.threads,
    )


@final
class ChildProcess:
    """Takes turns, and builds plans, in workers: a `Runner` and a `Planner`.

    `home`: its data sets are served, and nothing else of it can be read there. `code`: folders
    with the modules that the owner approved; by default the folder `code` of the home.
    """

    def __init__(
        self,
        home: Home,
        limits: Limits | None = None,
        code: tuple[Path, ...] = (),
        client: str = "client",
    ) -> None:
        self.home = Home(home.folder.resolve())
        self.limits, self.client = limits or Limits(), client
        self.code = tuple(one.resolve() for one in code or (home.folder / "code",))
        self.live: dict[str, _Live] = {}
        self.spare: _Live | None = None
        self.warming: asyncio.Task[None] | None = None
        self.cleared = False
        self.locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def report(self) -> tuple[str, ...]:
        """What protects the owner from user code on this machine, and what does not."""
        return report(self.limits)

    async def turn(self, work: Work) -> Done:
        """Take one turn; raises `TurnFailed`. Cancelled, it leaves nothing running."""
        source = _found(self.home, work.dataset)
        name = digest(work.federation)
        async with self.locks[name]:
            return await self._turn(name, work, source)

    async def facts(
        self, federation: Mapping[str, Any], policy: Policy, dataset: str | None = None
    ) -> PlanFacts:
        """Rebuild the plan from its description and hold it against the rules.

        With the name of the data set that turns will use, they find this worker warm. Raises
        `TurnFailed` for a description of which no plan can be made here.
        """
        name = digest(federation)
        reads = None if dataset is None else paths(_found(self.home, dataset))
        rules = cast(dict[str, Any], to_plain(policy))
        async with self.locks[name]:
            live = await self._worker(name, reads)
            found = await self._asked(name, live, Inquiry(dict(federation), rules))
            if isinstance(found, Planned):
                with contextlib.suppress(msgspec.ValidationError):
                    return msgspec.convert(found.facts, PlanFacts)
            await self._end(name)
            raise lost("worker.protocol", problem="an answer to another question")

    async def warm(self) -> None:
        """Keep a worker ready, behind its fences and for one data set, that serves no run yet."""
        sources = list(registered(self.home).values())
        if self.spare is not None or not sources:
            return
        live = await self._new(f"spare-{secrets.token_hex(4)}", paths(sources[-1]))
        if self.spare is not None:  # another one was quicker
            await _ended(live)
        else:
            self.spare = live

    def _rewarm(self) -> None:
        """A spare worker was taken: prepare another one when this run has begun."""

        async def later() -> None:
            await asyncio.sleep(_REWARM)
            with contextlib.suppress(TurnFailed, TacitError, OSError):
                await self.warm()

        if self.warming is None or self.warming.done():
            self.warming = asyncio.create_task(later())

    async def close(self) -> None:
        """End all workers and remove what they left."""
        if self.warming is not None:
            self.warming.cancel()
            await asyncio.gather(self.warming, return_exceptions=True)
        if self.spare is not None:
            live, self.spare = self.spare, None
            await _ended(live)
        for name in tuple(self.live):
            await self._end(name)

    async def _turn(self, name: str, work: Work, source: Source) -> Done:
        live = await self._worker(name, paths(source))
        inbox, out = _cleared(live.scratch / "in"), _cleared(live.scratch / "out")
        offer = _handed(work.offer, inbox / "offer")
        memory = None if work.memory is None else str(_handed(work.memory, inbox / "memory"))
        job = Job(
            work.run,
            work.round,
            work.index,
            dict(work.federation),
            self.client,
            work.dataset,
            asdict(source),
            str(offer),
            memory,
            work.key.secret,
            work.key.seeded,
            str(out),
        )
        taken = await self._asked(name, live, job)
        if not isinstance(taken, Taken):
            await self._end(name)
            raise lost("worker.protocol", problem="an answer to another question")
        return _settled(taken, out, work.folder)

    async def _asked(self, name: str, live: _Live, order: Order) -> Reply:
        """The reply; a worker that gave none, for whatever reason, is ended."""
        reply: Reply | None = None
        try:
            reply = await live.process.ask(order)
        finally:
            if reply is None:
                await self._end(name)
        if isinstance(reply, Failed):
            if reply.code.startswith(("worker.", "task.code")):
                # It holds memory that nobody needs, or has looked for code that may come yet.
                await self._end(name)
            raise TurnFailed(
                reply.phase,
                reply.code,
                error=reply.error,
                traceback=reply.traceback,
                environment=reply.environment,
                reason=reply.reason,
            )
        return reply

    async def _worker(self, name: str, reads: tuple[Path, ...] | None) -> _Live:
        """The live worker of a description, if it may read just these files; or a new one."""
        live = self.live.pop(name, None)
        if live is not None:
            if live.process.process.returncode is None and reads in {None, live.reads}:
                self.live[name] = live
                return live
            await _ended(live)
        idle = [one for one in self.live if not self.locks[one].locked()]
        for one in idle[: max(0, len(self.live) + 1 - _MOST)]:
            await self._end(one)
        spare, self.spare = self.spare, None
        if spare is not None:
            self._rewarm()
            if spare.process.process.returncode is None and reads in {None, spare.reads}:
                self.live[name] = spare
                return spare
            await _ended(spare)
        live = self.live[name] = await self._new(name[:16], reads or ())
        return live

    async def _new(self, name: str, reads: tuple[Path, ...]) -> _Live:
        """A worker that has closed its fences; one that cannot is ended."""
        scratches = self.home.folder / "scratch"
        if not self.cleared:  # of what a client that was killed left there
            self.cleared = bool(emptied(scratches))
        scratch = emptied(scratches / name)
        for folder in ("in", "out", "home", "tmp"):
            (scratch / folder).mkdir(mode=0o700)
        environment = self._environment(scratch)
        log = self.home.folder / "worker.log"
        process = await Process.start(environment, scratch / "home", self.limits, log)
        live, reply = _Live(process, scratch, reads), None
        try:
            reply = await process.ask(self._start(scratch, reads))
        finally:
            if reply is None:
                await _ended(live)
        return live

    def _start(self, scratch: Path, reads: tuple[Path, ...]) -> Start:
        read = (scratch / "in", *self.code, *reads)
        if "TACIT_DATA" in os.environ:
            read = (*read, Path(os.environ["TACIT_DATA"]))
        write = [str(scratch / folder) for folder in ("out", "home", "tmp")]
        hidden = (str(self.home.folder),)
        return Start(self.limits, tuple(map(str, read)), tuple(write), hidden)

    def _environment(self, scratch: Path) -> dict[str, str]:
        """A short one: what others put into the client's environment is not for user code."""
        passed = {
            name: value
            for name, value in os.environ.items()
            if name in _PASSED or name.startswith(_PREFIXES)
        }
        threads = {name: str(self.limits.threads) for name in _THREADS if self.limits.threads}
        modules = [str(Path(tacit.__file__).parents[1]), *map(str, self.code)]
        own = {
            "HOME": str(scratch / "home"),
            "TMPDIR": str(scratch / "tmp"),
            "PYTHONPATH": os.pathsep.join(modules),
            "PYTHONUNBUFFERED": "1",
        }
        return {**passed, **threads, **own}

    async def _end(self, name: str) -> None:
        live = self.live.pop(name, None)
        if live is not None:
            await _ended(live)


async def _ended(live: _Live) -> None:
    await live.process.end()
    shutil.rmtree(live.scratch, ignore_errors=True)


def _found(home: Home, dataset: str) -> Source:
    try:
        return find(home, dataset)
    except TacitError as wrong:
        raise TurnFailed("data", wrong.code, error="TacitError", reason=str(wrong)) from wrong


def _cleared(folder: Path) -> Path:
    """Empty, but the same folder: the worker's rights are to that one."""
    for old in folder.iterdir():
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        else:
            old.unlink()
    return folder


def _handed(file: Path, given: Path) -> Path:
    """A file that the worker may read, without a copy where the disk is the same."""
    try:
        given.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, given)
    return given


def _settled(taken: Taken, out: Path, folder: Path) -> Done:
    """The worker's files at their place; what it said of them is checked."""
    answer = _moved(out, taken.answer, folder)
    pending = None if taken.pending is None else _moved(out, taken.pending, folder)
    found = (file_digest(answer), answer.stat().st_size)
    if found != (taken.digest, taken.size) or taken.examples < 0:
        raise lost("worker.protocol", problem="its answer is not what it said")
    return Done(answer, taken.digest, taken.size, pending, taken.examples)


def _moved(out: Path, name: str, folder: Path) -> Path:
    made = out / Path(name).name
    try:
        plain = stat.S_ISREG(made.lstat().st_mode)
    except OSError:
        plain = False
    if not plain:
        raise lost("worker.protocol", problem="a file that it named is not there")
    return keep(made, folder / made.name)
