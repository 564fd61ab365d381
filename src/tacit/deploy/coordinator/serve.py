"""The coordinator as a process: one port, TLS 1.3, until it is told to stop; then it drains."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar, final

import structlog
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from tacit.base.errors import TacitError
from tacit.deploy.clock import Clock, RealClock
from tacit.deploy.coordinator.asgi import application
from tacit.deploy.coordinator.service import Coordinator
from tacit.deploy.coordinator.settings import Settings
from tacit.deploy.identity.authority import Certificates, ensure
from tacit.deploy.identity.keys import Identity
from tacit.deploy.store import members
from tacit.deploy.store.blobs import Blobs
from tacit.deploy.store.database import Database, open_database
from tacit.deploy.store.members import Member
from tacit.deploy.wire.messages import Role

T = TypeVar("T")

LOG = structlog.get_logger("tacit.coordinator")

PORT = 8750
DRAIN = 15.0
"""Seconds that requests under way have to end."""

THREADS = 8


@final
@dataclass(frozen=True)
class Serving:
    """Where a coordinator keeps its things and where it listens.

    `hosts`: names under which clients reach it, for its certificate; `database` and `blobs`: URLs,
    by default files in the folder; `port` 0 takes a free one; `logs`: "json", "text" or "none".
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = PORT
    hosts: tuple[str, ...] = ()
    database: str = ""
    blobs: str = ""
    logs: str = "text"
    settings: Settings = field(default_factory=Settings)


@final
@dataclass(frozen=True)
class Started:
    """What an operator needs to know; `first`: the folder was new."""

    url: str
    fingerprint: str
    authority_pem: str
    operator_key: Path
    first: bool


def serve(serving: Serving, started: Callable[[Started], None]) -> None:
    """Run until SIGTERM or SIGINT."""
    configure_logs(serving.logs)
    asyncio.run(_until_signal(serving, started))


async def _until_signal(serving: Serving, started: Callable[[Started], None]) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(serving) as told:
        started(told)
        await stop.wait()
        LOG.info("draining")


@asynccontextmanager
async def running(serving: Serving, clock: Clock | None = None) -> AsyncIterator[Started]:
    """A coordinator that serves inside this block; leaving it drains."""
    time, folder = clock or RealClock(), serving.folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    port = free_port(serving.host, serving.port)
    names = serving.hosts or (serving.host,)
    certificates = ensure(folder / "authority", names, time.now())
    first = not (folder / "operator" / "key").exists()
    database = open_database(serving.database or f"sqlite:///{folder / 'coordinator.db'}")
    pool = ThreadPoolExecutor(THREADS, "tacit")
    try:
        holder = _operator(database, folder / "operator" / "key", time.now())
        settings = replace(serving.settings, fingerprint=certificates.fingerprint, holder=holder)
        blobs = Blobs(serving.blobs or folder / "blobs", folder / "spool", database=database)
        here = Coordinator(database, blobs, time, settings, offload=_Pool(pool))
        await here.start()
        url = f"https://{names[0]}:{port}"
        pem = certificates.authority_pem
        told = Started(url, certificates.fingerprint, pem, folder / "operator" / "key", first)
        async with _listening(here, serving.host, port, certificates):
            yield told
    finally:
        pool.shutdown(wait=True)
        database.close()


@asynccontextmanager
async def _listening(
    here: Coordinator, host: str, port: int, certificates: Certificates
) -> AsyncIterator[None]:
    """The server and the clock's ticks; afterwards no request is cut that could end."""
    server = _server(here, host, port, certificates)
    serving = asyncio.create_task(server.serve())
    ticking = asyncio.create_task(here.keep_time())
    try:
        await _accepting(host, port, serving)
        LOG.info("serving", host=host, port=port)
        yield
    finally:
        await here.drain(DRAIN)
        ticking.cancel()
        server.stop()  # type: ignore[no-untyped-call]  # granian types it not
        await asyncio.gather(serving, ticking, return_exceptions=True)
        await here.close()


def _server(here: Coordinator, host: str, port: int, certificates: Certificates) -> Server:
    return Server(
        application(here),
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        backlog=2048,
        backpressure=65_535,
        log_enabled=False,
        ssl_cert=certificates.certificate,
        ssl_key=certificates.key,
    )


async def _accepting(host: str, port: int, serving: asyncio.Task[None]) -> None:
    """Until the port answers; `deploy.port` if it is somebody else's."""
    for _ in range(500):
        if serving.done():
            why = str(serving.exception() or "the server ended").partition("\n")[0]
            raise TacitError("deploy.port", host=host, port=port, why=why)
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        writer.close()
        await writer.wait_closed()
        return
    raise TacitError("deploy.port", host=host, port=port, why="it does not answer")


def _operator(database: Database, path: Path, now: float) -> str:
    """The first operator's key lies beside the database: who can read one can use the other.

    Gives its id.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    identity = Identity.load(path) if path.exists() else Identity.create(path)
    with database.begin() as connection:
        if members.get(connection, identity.id) is None:
            name = "operator"
            if members.named(connection, name) is not None:
                name = f"operator {identity.id[:8]}"
            member = Member(identity.id, name, Role.OPERATOR, identity.public, now)
            members.add(connection, member)
    return identity.id


@final
@dataclass(frozen=True)
class _Pool:
    """Blocking work in threads of our own."""

    threads: ThreadPoolExecutor

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """What `work` returns or raises."""
        return asyncio.get_running_loop().run_in_executor(self.threads, work)


def free_port(host: str, port: int = 0) -> int:
    """The port, or any one that nobody uses; `deploy.port` where it is somebody else's.

    The server itself would share the port with another one and say nothing.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, port))
        except OSError as failed:
            why = failed.strerror or str(failed)
            raise TacitError("deploy.port", host=host, port=port, why=why) from failed
        return int(found.getsockname()[1])


def configure_logs(kind: str) -> None:
    """Lines of facts on standard error: as JSON, as text, or none. Bodies are never among them."""
    show = (
        structlog.processors.JSONRenderer()
        if kind == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            show,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=(
            structlog.ReturnLoggerFactory()
            if kind == "none"
            else structlog.PrintLoggerFactory(sys.stderr)
        ),
        cache_logger_on_first_use=False,
    )
