"""A rehearsal: a coordinator and its clients as processes of this machine, over real TLS.

Everything is what a deployment runs: the same commands, keys, policies and files, in one folder.
Only the seed is public, so noise and masks protect nothing, and the owners' policies say yes to
that.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, final

import numpy as np

from tacit.base.atomic import write_atomically
from tacit.base.errors import TacitError
from tacit.deploy.client.database import open_ledger
from tacit.deploy.client.datasets import add
from tacit.deploy.client.home import Home, read_coordinator
from tacit.deploy.client.join import join
from tacit.deploy.client.records import Records
from tacit.deploy.client.roster import Approved
from tacit.deploy.clock import RealClock
from tacit.deploy.identity.invitation import Invitation
from tacit.deploy.identity.keys import Identity
from tacit.deploy.remote import Remote, open_remote
from tacit.deploy.wire.messages import Role
from tacit.learn.examples import Examples

DATASET = "rehearsal"
"""The name under which every client registers its records."""


@final
class Rehearsal:
    """The processes; leaving the block ends them all.

    `sites`: each client's records by name; `code`: where the modules of user code are; `options`:
    more arguments of `tacit serve`.
    """

    def __init__(
        self,
        folder: Path,
        sites: Mapping[str, Examples],
        code: Path | None = None,
        options: Sequence[str] = (),
        approved: Sequence[str] = (),
    ) -> None:
        self.folder, self.sites, self.code = folder, sites, code
        self.options, self.approved = tuple(options), tuple(approved)
        self.clients: dict[str, subprocess.Popen[bytes]] = {}
        self.coordinator: subprocess.Popen[bytes] | None = None
        self.port = 0
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self.start_coordinator()
            asyncio.run(self._join())
            for name in self.sites:
                self.start(name)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    @property
    def researcher(self) -> Home:
        """Who submits runs."""
        return Home(self.folder / "researcher")

    def home(self, client: str) -> Home:
        """A client's folder."""
        return Home(self.folder / "clients" / client)

    def start_coordinator(self) -> None:
        """Start `tacit serve` and wait until it answers; a second start takes the same port."""
        place = ["--home", str(self._coordinator), "--port", str(self.port)]
        process = self._process(["serve", *place, "--json", *self.options], "coordinator")
        assert process.stdout is not None
        told = _first_object(process)
        self.port = int(told["url"].rpartition(":")[2])
        self.coordinator = process

    def start(self, client: str) -> None:
        """Start a client, or start it again."""
        arguments = ["client", "--home", str(self.home(client).folder)]
        self.clients[client] = self._process([*arguments, "--quiet"], client)

    def kill(self, client: str) -> None:
        """SIGKILL a client, at whatever it does."""
        _kill(self.clients.pop(client))

    def kill_coordinator(self) -> None:
        """SIGKILL the coordinator."""
        if self.coordinator is not None:
            _kill(self.coordinator)
            self.coordinator = None

    def log(self, who: str) -> str:
        """What a process wrote on its standard error."""
        return (self.folder / f"{who}.log").read_text("utf-8")

    @property
    def _coordinator(self) -> Path:
        return self.folder / "coordinator"

    def _process(self, arguments: Sequence[str], who: str) -> subprocess.Popen[bytes]:
        log = self._open.enter_context((self.folder / f"{who}.log").open("ab"))
        return subprocess.Popen(  # noqa: S603  # tacit itself
            [sys.executable, "-m", "tacit", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if who == "coordinator" else log,
            stderr=log,
            env={**os.environ, "TACIT_HOME": str(self.folder)},
        )

    async def _join(self) -> None:
        """Invite everybody, join, register the records, and approve each other."""
        operator = Home(self._coordinator / "operator")
        remote = open_remote(operator, RealClock(), os.urandom)
        try:
            await self._enrol(remote, operator, "researcher", Role.RESEARCHER, self.researcher)
            for name in self.sites:
                if not self.home(name).folder.exists():
                    await self._enrol(remote, operator, name, Role.CLIENT, self.home(name))
        finally:
            await remote.close()
        for name, held in self.sites.items():
            self._prepare(name, held)

    async def _enrol(
        self, remote: Remote, operator: Home, name: str, role: Role, home: Home
    ) -> None:
        if home.folder.exists():
            return
        known, made = read_coordinator(operator), await remote.invite(role, name)
        text = Invitation(known.url, known.fingerprint, made.code, role, name).text()
        home.folder.parent.mkdir(parents=True, exist_ok=True)
        await join(text, home, RealClock(), os.urandom)

    def _prepare(self, name: str, held: Examples) -> None:
        home = self.home(name)
        file = home.folder / "records.npz"
        np.savez(file, x=held.x, y=held.y)
        add(home, DATASET, str(file))
        researcher = Identity.load(self.researcher.key).id
        rules = f'researchers = ["{researcher}"]\nrehearsals = true\nminimum_cohort = 1\n'
        rules += f"hidden_answers = false\ncode = {json.dumps(list(self.approved))}\n"
        write_atomically(home.policy, rules)
        if self.code is not None:
            (home.folder / "code").symlink_to(self.code.resolve(), target_is_directory=True)
        self._approve(home)

    def _approve(self, home: Home) -> None:
        ledger = open_ledger(home)
        try:
            for other in self.sites:
                key = Identity.load(self.home(other).key)
                if self.home(other) != home:
                    peer = Approved(key.id, key.public, other, RealClock().now())
                    Records(ledger).approve(peer, f"approved {other} for a rehearsal.")
        finally:
            ledger.close()

    def _end(self) -> None:
        processes = [*self.clients.values(), *filter(None, [self.coordinator])]
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            _awaited(process)
        self.clients.clear()
        self._open.close()


def _first_object(process: subprocess.Popen[bytes]) -> dict[str, str]:
    """The JSON object that `tacit serve --json` begins with."""
    assert process.stdout is not None
    lines: list[bytes] = []
    for line in process.stdout:
        lines.append(line)
        if line.rstrip() == b"}":
            found: dict[str, str] = json.loads(b"".join(lines))
            if "url" in found:
                return found
            break
    status = process.wait()
    process.stdout.close()
    problem = _cause(b"".join(lines)) or f"its status was {status}."
    raise TacitError("client.rehearsal-process", what="coordinator", problem=problem)


def _cause(said: bytes) -> str:
    """Of the error that a command told as JSON; empty where it told none."""
    try:
        return str(json.loads(said)["error"]["cause"])
    except (ValueError, KeyError):
        return ""


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    _awaited(process)


def _awaited(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
