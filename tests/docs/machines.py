"""Plays a page on which several machines speak: every line `zurich$ tacit ...` is run there.

Each machine has a working folder and a home of its own under one folder; all of them speak over
real TLS on this one. `tacit serve` and `tacit client` go on in the background until the page ends.
What is particular to a place is put in: a free port for 8750, 127.0.0.1 for the coordinator's
name, the home for /var/lib/tacit, the invitation that was made for a machine where the page shows
the beginning of one. `systemctl stop` and `start` end the coordinator and start it again. A toml
block with `# file: NAME` is written at every machine; one with `# in policy.toml` changes those
lines of every owner's policy.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tacit.deploy.coordinator.serve import free_port
from tests.docs.samples import LEFT_TO_THE_READER, Block, blocks

HERE, EVERYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104  # what a page shows, not what is bound
HOST, PORT, FOLDER = "fl.example.org", "8750", "/var/lib/tacit"

_PROMPT = re.compile(r"^(?P<machine>[a-z]+)\$ (?P<command>.+)$", re.MULTILINE)
_POLICY = "# in policy.toml\n"


@dataclass
class Stage:
    """The machines of a page. `like`: who else does the same, and by which names it says so."""

    folder: Path
    like: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    port: str = field(default_factory=lambda: str(free_port(HERE)))
    invitations: dict[str, str] = field(default_factory=dict)
    running: list[subprocess.Popen[str]] = field(default_factory=list)
    service: tuple[str, ...] = ()
    said: list[tuple[str, str, str]] = field(default_factory=list)

    def place(self, machine: str) -> Path:
        """The working folder of a machine."""
        found = self.folder / machine
        found.mkdir(exist_ok=True)
        return found

    def play(self, page: str) -> None:
        """Run the page from top to bottom."""
        found = tuple(blocks(page, also=("toml",)))
        spoken = {hit["machine"] for block in found for hit in _PROMPT.finditer(block.text)}
        machines = sorted(spoken.union(*(self.like.get(one, ()) for one in spoken)))
        for block in found:
            if block.file:
                for machine in machines:
                    (self.place(machine) / block.file).write_text(block.text, "utf-8")
            elif block.language == "toml" and block.text.startswith(_POLICY):
                self._rules(block)
            else:
                self._commands(block)

    def end(self) -> None:
        """Ask all processes to end; they must do so gracefully."""
        while self.running:
            self.stop(self.running.pop())

    def stop(self, process: subprocess.Popen[str], how: int = signal.SIGTERM) -> str:
        """End one process, as Ctrl-C does; SIGKILL is a machine that is lost."""
        process.send_signal(how)
        process.communicate(timeout=30)
        assert process.returncode == (-how if how == signal.SIGKILL else 0), process.args
        return ""

    def _commands(self, block: Block) -> None:
        for hit in _PROMPT.finditer(block.text.replace("\\\n", " ")):
            machine, command = hit["machine"], hit["command"]
            if command.split()[0] in LEFT_TO_THE_READER:
                continue
            crowd = [(machine, command)]
            for other in self.like.get(machine, ()):
                crowd.append((other, swapped(command, machine, other)))
            with ThreadPoolExecutor() as pool:
                self.said += pool.map(self._run, *zip(*crowd, strict=True))

    def _run(self, machine: str, command: str) -> tuple[str, str, str]:
        arguments = [self._here(one, machine) for one in shlex.split(command, comments=True)]
        match arguments:
            case ["tacit", "serve", *_] | ["tacit", "client"]:
                return machine, command, self._start(machine, arguments)
            case ["tacit", *rest]:
                told = self._done(machine, [sys.executable, "-m", "tacit", *rest])
            case ["tar", *_]:
                told = self._done(machine, arguments)
            case ["systemctl", "stop", "tacit-coordinator"]:
                told = self.stop(self.running.pop(0))
            case ["systemctl", "start", "tacit-coordinator"]:
                told = self._start(machine, list(self.service))
            case _:
                raise ValueError(f"a command that is not run: {command}")
        if arguments[1] == "invite":
            self.invitations[arguments[2]] = told.strip()
        return machine, command, told

    def _done(self, machine: str, arguments: list[str]) -> str:
        done = subprocess.run(
            arguments,
            cwd=self.place(machine),
            env=self._environment(machine),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        shown = f"{machine}$ {shlex.join(arguments).partition(' -m ')[2] or arguments[0]}"
        assert done.returncode == 0, f"{shown}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _start(self, machine: str, arguments: list[str]) -> str:
        """Start a process that goes on; a coordinator is waited for."""
        if arguments[1] == "serve":
            arguments += () if "--port" in arguments else ("--port", self.port)
            self.service = tuple(arguments)
        with (self.place(machine) / "log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tacit", *arguments[1:]],
                cwd=self.place(machine),
                env=self._environment(machine),
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
            )
        if arguments[1] == "client":
            self.running.append(process)
            return ""
        self.running.insert(0, process)
        return "".join(iter(lambda: _line(process), ""))

    def _environment(self, machine: str) -> dict[str, str]:
        home = str(self.place(machine) / "home")
        return {**os.environ, "COLUMNS": "100", "TACIT_HOME": home}

    def _here(self, argument: str, machine: str) -> str:
        if argument.startswith("tacit-invite-"):
            return self.invitations[machine]
        home = str(self.place(machine) / "home")
        put = {HOST: HERE, EVERYWHERE: HERE, PORT: self.port, FOLDER: home}
        for shown, here in put.items():
            argument = argument.replace(shown, here)
        return argument

    def _rules(self, block: Block) -> None:
        policies = list(self.folder.glob("*/home/clients/*/policy.toml"))
        assert policies, "nobody has joined yet"
        for path in policies:
            text = path.read_text("utf-8")
            for line in block.text.removeprefix(_POLICY).splitlines():
                key = line.partition(" =")[0]
                text, count = re.subn(rf"^{key} = .*$", lambda _: line, text, flags=re.MULTILINE)  # noqa: B023
                assert count == 1, f"policy.toml has no line {key!r}"
            path.write_text(text, "utf-8")


@contextmanager
def stage(folder: Path, **like: tuple[str, ...]) -> Iterator[Stage]:
    """Machines whose processes end with the block."""
    made = Stage(folder, like)
    try:
        yield made
        made.end()
    finally:
        for process in made.running:
            process.kill()
            process.communicate()


def _line(process: subprocess.Popen[str]) -> str:
    """A line of a coordinator that starts; empty behind the last one."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the coordinator did not start"
    return "" if "Stop" in line else line


def swapped(command: str, one: str, other: str) -> str:
    """What another machine says where one speaks of itself and of the other."""
    names = {one: other, other: one}
    return re.sub(rf"\b({one}|{other})\b", lambda hit: names[hit[0]], command)
