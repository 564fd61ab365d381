"""One worker process as its parent sees it: start, ask, watch, end.

Nothing that it says is believed beyond its form, and nothing that it does can hold the parent up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Mapping
from pathlib import Path
from subprocess import DEVNULL
from typing import Any, final

import msgspec
import psutil

from tacit.base.errors import TacitError
from tacit.deploy.client.frames import LENGTH, LONGEST, Order, Ready, Reply, framed
from tacit.deploy.client.runner import TurnFailed
from tacit.deploy.client.sandbox import Limits

_COMMAND = ("-P", "-s", "-B", "-m", "tacit.deploy.client.worker")
"""No module from the current folder, none of the user's own packages, no compiled files."""

_LOOK = 0.1
"""Seconds between looks at memory, processor time and output."""

_STARTING = 120.0
"""Seconds in which a worker must be ready."""

_KEPT, _LOG = 1 << 20, 8 << 20
"""Bytes of a turn's output that are logged; bytes of the log before it begins anew."""


def lost(code: str, **facts: Any) -> TurnFailed:
    """A turn that ended with its worker."""
    return TurnFailed("resources", code, reason=TacitError(code, **facts).cause)


@final
class Process:
    """A worker with a socket to it. After `TurnFailed` it is to be ended."""

    def __init__(
        self, process: asyncio.subprocess.Process, pipe: socket.socket, limits: Limits, log: Path
    ) -> None:
        self.process, self.pipe, self.limits, self.log = process, pipe, limits, log
        self.printed = 0
        self.spent = 0.0
        self.fenced = self.alone = False
        self.printing = asyncio.create_task(self._listen())

    @staticmethod
    async def start(
        environment: Mapping[str, str], folder: Path, limits: Limits, log: Path
    ) -> Process:
        """A new one, in a session of its own, that inherits its socket and nothing else."""
        here, there = socket.socketpair()
        here.setblocking(False)
        with contextlib.ExitStack() as held, there:
            held.enter_context(here)
            number = there.fileno()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *_COMMAND,
                str(number),
                str(os.getpid()),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                env=dict(environment),
                cwd=folder,
                pass_fds=(number,),
                start_new_session=True,
            )
            held.pop_all()
        return Process(process, here, limits, log)

    async def ask(self, order: Order) -> Reply:
        """Its reply, within the limits; raises `TurnFailed` with a `worker.` code."""
        self.printed, self.spent = 0, self._cpu()
        asked = asyncio.create_task(self._exchange(order))
        watched = asyncio.create_task(self._watch())
        try:
            within = self.limits.seconds or None if self.fenced else _STARTING
            await asyncio.wait(
                {asked, watched}, timeout=within, return_when=asyncio.FIRST_COMPLETED
            )
            if asked.done():
                reply = await asked
                if isinstance(reply, Ready):
                    self.fenced, self.alone = True, reply.alone
                return reply
            if watched.done():
                raise watched.result()
            raise lost("worker.time", seconds=self.limits.seconds, of="waiting")
        finally:
            asked.cancel()
            watched.cancel()
            await asyncio.gather(asked, watched, return_exceptions=True)

    async def end(self) -> None:
        """Kill it with all that it started, and wait until it is gone."""
        family = self._family()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # Behind the fences none can leave the session, and this reaches all at once.
            os.killpg(self.process.pid, signal.SIGKILL)
        for one in family[1:]:
            with contextlib.suppress(psutil.Error):
                one.kill()
        await self.process.wait()
        self.pipe.close()
        # Whoever got away without fences may still hold the other end.
        await asyncio.wait({self.printing}, timeout=1.0)
        self.printing.cancel()
        await asyncio.gather(self.printing, return_exceptions=True)

    async def _exchange(self, order: Order) -> Reply:
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(self.pipe, framed(order))
            (length,) = LENGTH.unpack(await self._exactly(LENGTH.size))
            if length > LONGEST:
                raise lost("worker.protocol", problem=f"a message of {length} bytes")
            reply: Reply = msgspec.msgpack.decode(await self._exactly(length), type=Reply)
        except (EOFError, ConnectionError):
            raise await self._died() from None
        except (msgspec.MsgspecError, UnicodeDecodeError) as wrong:
            raise lost("worker.protocol", problem=str(wrong)) from wrong
        return reply

    async def _exactly(self, count: int) -> bytes:
        loop, parts = asyncio.get_running_loop(), bytearray()
        while len(parts) < count:
            part = await loop.sock_recv(self.pipe, min(count - len(parts), 1 << 16))
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)

    async def _died(self) -> TurnFailed:
        """Why it hung up: it ended, or it closed its socket and lives on."""
        try:
            status = await asyncio.wait_for(self.process.wait(), 1.0)
        except TimeoutError:
            return lost("worker.protocol", problem="it closed its socket")
        if status == -signal.SIGXCPU:
            return lost("worker.time", seconds=self.limits.cpu, of="the processor")
        name = f"by the signal {signal.Signals(-status).name}" if status < 0 else f"({status})"
        return lost("worker.died", how=name)

    async def _watch(self) -> TurnFailed:
        """Return as soon as it uses more than it may."""
        limits = self.limits
        while True:
            await asyncio.sleep(_LOOK)
            if limits.output and self.printed > limits.output:
                return lost("worker.output", limit=limits.output)
            if limits.cpu and self._cpu() - self.spent > limits.cpu:
                return lost("worker.time", seconds=limits.cpu, of="the processor")
            family = self._family()
            # Before the fences are closed, libraries are looked for with the system's own tools.
            if self.fenced and len(family) > limits.processes + 1:
                return lost("worker.processes", limit=limits.processes)
            if limits.memory and sum(map(_resident, family)) > limits.memory:
                return lost("worker.memory", limit=limits.memory >> 20)

    def _family(self) -> list[psutil.Process]:
        try:
            worker = psutil.Process(self.process.pid)
            return [worker, *([] if self.alone else worker.children(recursive=True))]
        except psutil.Error:
            return []

    def _cpu(self) -> float:
        try:
            used = psutil.Process(self.process.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(used.user + used.system)

    async def _listen(self) -> None:
        """What it prints, in the owner's log as far as there is room."""
        assert self.process.stdout is not None
        while part := await self.process.stdout.read(1 << 16):
            room = max(0, _KEPT - self.printed)
            self.printed += len(part)
            if room:
                _logged(self.log, part[:room])


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _logged(log: Path, part: bytes) -> None:
    """Append; a full log makes place for a new one, and a full disk costs the log alone."""
    with contextlib.suppress(OSError):
        if log.exists() and log.stat().st_size > _LOG:
            log.replace(log.with_name(f"{log.name}.1"))
        with open(log, "ab", opener=_private) as file:
            file.write(part)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
