"""A coordinator as its users start it, with members that were enrolled beforehand."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self, TypeVar, final

import numpy as np
import psutil

from benchmarks.common import HERE
from tacit.deploy.client.home import Home
from tacit.deploy.client.transport import Request
from tacit.deploy.clock import RealClock
from tacit.deploy.identity.keys import Identity
from tacit.deploy.rehearse import Rehearsal
from tacit.deploy.remote import Remote, open_remote
from tacit.deploy.store import members
from tacit.deploy.store.database import open_database
from tacit.deploy.store.members import Member
from tacit.deploy.wire.answers import write_answer
from tacit.deploy.wire.messages import EventFact, Role, RunDetail
from tacit.plan.federation import Federation

T = TypeVar("T")

DATASET = "load"


def identity_of(number: int) -> Identity:
    """The key of a client of the load generator."""
    return Identity.from_seed(hashlib.sha256(f"client {number}".encode()).digest())


@final
@dataclass
class Used:
    """What a process used between two moments: wall and processor seconds, MiB at its peak."""

    process: psutil.Process
    wall: float = 0.0
    cpu: float = 0.0

    @staticmethod
    def of(process: int) -> Used:
        """From now on."""
        return Used(psutil.Process(process)).begin()

    def begin(self) -> Self:
        """Count from now on."""
        self.wall, self.cpu = time.perf_counter(), self._spent()
        return self

    def _spent(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    @property
    def share(self) -> float:
        """Of one core."""
        return self.seconds / (time.perf_counter() - self.wall)

    @property
    def seconds(self) -> float:
        """Of the processor."""
        return self._spent() - self.cpu

    @property
    def peak(self) -> float:
        """Resident memory at its highest since the process began, in MiB (Linux)."""
        text = Path(f"/proc/{self.process.pid}/status").read_text("utf-8")
        line = next(line for line in text.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    @property
    def resident(self) -> float:
        """Now, in MiB."""
        return float(self.process.memory_info().rss) / 2**20


@contextmanager
def coordinator(clients: int) -> Iterator[Rehearsal]:
    """`tacit serve` in a fresh folder, a researcher, and so many clients without homes."""
    with tempfile.TemporaryDirectory(prefix="tacit-bench-") as place:
        folder = Path(place)
        (folder / "coordinator").mkdir(mode=0o700)
        database = open_database(f"sqlite:///{folder}/coordinator/coordinator.db")
        with database.begin() as connection:
            for number in range(clients):
                key, now = identity_of(number), time.time()
                member = Member(key.id, f"client {number}", Role.CLIENT, key.public, now)
                members.add(connection, member)
        database.close()
        with Rehearsal(folder, {}, options=("--logs", "none")) as here:
            yield here


@contextmanager
def load(here: Rehearsal, kind: str, count: int, size: int = 1) -> Iterator[subprocess.Popen[str]]:
    """The load generator, all of whose clients are connected; answers of `size` float32."""
    write_answer(here.folder / "answer", np.full(size, 0.001, np.float32), durable=False)
    command = [sys.executable, "-m", "benchmarks.jobs.load", kind, str(here.folder), str(count)]
    with subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            if "connected" not in running.stdout.readline():
                raise SystemExit(f"the load generator ended: {running.wait()}")
            yield running
        finally:
            running.kill()


def process_of(here: Rehearsal) -> int:
    """The coordinator's process."""
    assert here.coordinator is not None
    return here.coordinator.pid


def with_remote(home: Home, work: Callable[[Remote], Awaitable[T]]) -> T:
    """Do something as a member."""

    async def run() -> T:
        remote = open_remote(home, RealClock(), os.urandom)
        try:
            return await work(remote)
        finally:
            await remote.close()

    return asyncio.run(run())


def submitted(here: Rehearsal, federation: Federation, dataset: str = DATASET) -> str:
    """Queue a run; gives its id."""

    async def submit(remote: Remote) -> str:
        fact = await remote.submit(
            federation, name="bench", dataset=dataset, scratch=here.researcher.folder
        )
        return fact.id

    return with_remote(here.researcher, submit)


def ended(here: Rehearsal, run: str) -> RunDetail:
    """Wait until a run is over."""

    async def wait(remote: Remote) -> RunDetail:
        while (found := await remote.show(run)).run.status in ("waiting", "running"):
            await asyncio.sleep(0.5)
        return found

    found = with_remote(here.researcher, wait)
    if found.run.status != "finished":
        raise SystemExit(f"the run {found.run.status}: {found.run.why}")
    return found


def lines(here: Rehearsal, run: str) -> tuple[EventFact, ...]:
    """A run's journal."""

    async def read(remote: Remote) -> tuple[EventFact, ...]:
        return (await remote.events(run)).events

    return with_remote(here.researcher, read)


def transferred(here: Rehearsal) -> float:
    """Bytes of bodies that the coordinator received and sent since it began."""

    async def read(remote: Remote) -> bytes:
        return (await remote.transport.send(Request("GET", "/metrics"))).body

    told = with_remote(here.researcher, read).decode().splitlines()
    names = ("tacit_received_bytes_total ", "tacit_sent_bytes_total ")
    return sum(float(line.split()[1]) for line in told if line.startswith(names))


def round_seconds(found: RunDetail) -> list[float]:
    """From one closing to the next."""
    closings = [row["seconds"] for row in found.history]
    return [after - before for before, after in pairwise(closings)]
