"""The pool: several processes with one thread each, which see the data and the model in place.

On few cores, processes of one thread beat one process of many threads: small tensors do not divide.
Processes are started afresh (never forked: threads of numerical libraries do not survive that) and
do not run the user's script again. Weights and the arrays of `NamedClients` lie in shared memory;
other clients must be picklable. A process that dies is replaced, see `tacit.sim.dispatch`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import ModuleType
from typing import Any, final

import numpy as np

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.learn.algorithm import Offer
from tacit.learn.examples import Clients, NamedClients
from tacit.plan.build import Plan
from tacit.sim.dispatch import ATTEMPTS, Dispatch, Gone
from tacit.sim.exact import Exact
from tacit.sim.shared import Block, Spec, places, share
from tacit.sim.work import Inner, Request, Told, parcel
from tacit.sim.worker import (
    Ask,
    Broken,
    Done,
    Source,
    Start,
    checked,
    pickled,
    serve,
    shareable,
)

BEAT = 2.0
"""Seconds after which a silent process is looked at, should its end have gone unnoticed."""

PATIENCE = 1.0
"""Seconds in which a process may end by itself before it is ended."""

_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TACIT_TORCH_THREADS": "1",
}


def pool(
    plan: Plan,
    clients: Clients,
    key: Key,
    workers: int = 0,
    inner: Inner = Exact,
    parts: int = 16,
) -> Dispatch:
    """A backend of `workers` processes (0: one a core), each with an `inner` engine.

    Raises `run.worker-main`, `run.worker-send` and `run.no-shared-memory`.
    """
    crew = Processes(checked(workers) or cores())
    try:
        crew.begin(plan, clients, key, inner)
    except BaseException:
        crew.close()
        raise
    return Dispatch(plan, clients, crew, parts, exact=inner is Exact)


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@final
@dataclass
class _Member:
    """A process at work, or idle."""

    process: SpawnProcess
    pipe: Connection
    busy: bool = False
    started: bool = False

    @property
    def idle(self) -> bool:
        """Whether it waits for work."""
        return self.started and not self.busy


@final
class Processes:
    """A crew of processes on this computer; see `tacit.sim.dispatch.Crew`."""

    def __init__(self, count: int) -> None:
        self.count, self.stillborn = count, 0
        self.members: list[_Member] = []
        self.blocks: dict[str, Block] = {}
        self.names: tuple[str, ...] = ()
        self.offer = Spec("", ())
        self.start: Start | None = None
        self.ended = weakref.finalize(self, _end, self.members, self.blocks, os.getpid())
        for _ in range(count):
            self.members.append(_spawned())

    def begin(self, plan: Plan, clients: Clients, key: Key, inner: Inner = Exact) -> None:
        """Give all the plan and the clients; also again, with others, when nobody is at work."""
        sent = pickled("federation", parcel(plan, key, inner))
        self._settle()
        self.start = Start(sent, self._source(clients))
        for member in self.members:
            member.started = False
            _tell(member, self.start)

    def _settle(self) -> None:
        """Hear replies to what was asked before, which nobody wants any more."""
        for number, member in enumerate(self.members):
            try:
                if member.busy:
                    member.pipe.recv()
                    member.busy = False
            except (EOFError, OSError):
                member.pipe.close()
                self.members[number] = _spawned()

    def _source(self, clients: Clients) -> Source:
        arrays = shareable(clients)
        if arrays is None:
            return pickled("clients", clients)
        assert isinstance(clients, NamedClients)
        if "data" in self.blocks:
            self.blocks.pop("data").drop()
        self.blocks["data"], spec = share(arrays)
        return clients.names, spec

    @property
    def size(self) -> int:
        """Number of processes."""
        return self.count

    @property
    def idle(self) -> Sequence[int]:
        """Those that wait for work."""
        return [number for number, member in enumerate(self.members) if member.idle]

    @property
    def says(self) -> str:
        """How many there are."""
        processes = "1 process" if self.size == 1 else f"{self.size} processes"
        return f"Clients run on {processes} with one thread each."

    def publish(self, offer: Offer) -> None:
        """Write the offer where all see it; the block is kept while it is large enough."""
        self.names = tuple(offer)
        arrays = [np.asarray(vector) for vector in offer.values()]
        size = places(arrays)[1]
        block = self.blocks.get("offer")
        if block is None or block.size < size:
            if block is not None:
                self.blocks.pop("offer").drop()
            block = self.blocks["offer"] = Block(size)
        self.offer = block.write(arrays)

    def ask(self, member: int, request: Request) -> None:
        """Send a request."""
        _tell(self.members[member], Ask(request, self.names, self.offer))

    def hear(self) -> list[tuple[int, Any]]:
        """Wait for replies and deaths."""
        pipes = [member.pipe for member in self.members]
        wait([*pipes, *(member.process.sentinel for member in self.members)], BEAT)
        found = []
        for number, member in enumerate(self.members):
            alive = member.process.is_alive()
            if member.pipe.poll():
                found += self._received(number, member)
            elif not alive:
                found.append((number, self._replaced(number, member)))
        return found

    def close(self) -> None:
        """End all processes and give shared memory back; also when this process ends."""
        self.ended()

    def _received(self, number: int, member: _Member) -> list[tuple[int, Any]]:
        try:
            reply: Done | Broken = member.pipe.recv()
        except (EOFError, OSError):
            return [(number, self._replaced(number, member))]
        member.busy = False
        if isinstance(reply, Broken):
            raise reply.error from Told(reply.told)
        if member.started:
            return [(number, reply.value)]
        member.started, self.stillborn = True, 0
        return []

    def _replaced(self, number: int, member: _Member) -> Gone:
        """A new process in the place of one that died; raises if they die before they begin."""
        member.process.join(PATIENCE)
        member.pipe.close()
        why = _ending(member.process.exitcode)
        self.stillborn = 0 if member.started else self.stillborn + 1
        if self.stillborn >= ATTEMPTS:
            raise TacitError("run.worker-start", why=why)
        assert self.start is not None
        self.members[number] = _spawned()
        _tell(self.members[number], self.start)
        return Gone(why)


def _tell(member: _Member, message: Start | Ask) -> None:
    """Send; that a process is gone is heard later."""
    member.busy = True
    try:
        member.pipe.send(message)
    except (BrokenPipeError, ConnectionResetError):
        return


def _spawned() -> _Member:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    with ExitStack() as around:
        around.enter_context(_one_thread())
        around.enter_context(_no_script())
        around.enter_context(_interrupts_wait())
        process = context.Process(target=serve, args=(there,), daemon=True, name="tacit-worker")
        process.start()
    there.close()
    return _Member(process, here)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Numerical libraries read this when they are loaded."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
    try:
        yield
    finally:
        for name, held in before.items():
            os.environ.pop(name) if held is None else os.environ.update({name: held})


@contextmanager
def _no_script() -> Iterator[None]:
    """A new process would run the user's script again, to find its classes; ours needs none."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """A process inherits blocked signals: Ctrl-C is for the parent, which ends the others."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ending(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "stopped answering"
    if code >= 0:
        return f"ended with exit status {code}"
    name = signal.Signals(-code).name
    memory = ", as happens when memory runs out" if name == "SIGKILL" else ""
    return f"was killed by {name}{memory}"


def _end(members: list[_Member], blocks: dict[str, Block], owner: int) -> None:
    """First the processes, then the memory that they see; in a fork of this process nothing."""
    if os.getpid() != owner:
        return
    for member in members:
        member.pipe.close()
        if member.busy:
            member.process.terminate()
    limit = time.monotonic() + PATIENCE
    for member in members:
        member.process.join(max(0.0, limit - time.monotonic()))
        if member.process.is_alive():
            member.process.kill()
            member.process.join()
        member.process.close()
    members.clear()
    for block in blocks.values():
        block.drop()
    blocks.clear()
