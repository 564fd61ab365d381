"""A federation as an operator sees it: real processes in one folder, and words on a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, final

import numpy as np
import numpy.typing as npt
from click.testing import CliRunner, Result

from tacit.base.toml import dumps
from tacit.cli.main import main
from tacit.deploy.client.home import Home
from tacit.deploy.identity.keys import Identity
from tacit.learn.examples import Examples
from tacit.plan.federation import Federation
from tacit.record.stored import StoredRun, load_run

T = TypeVar("T")

NAMES = ("north", "east", "south")
PATIENCE = 90.0
"""Seconds after which a test gives up waiting."""

APP = """\
format = 1
name = "app"
clients = 3
rounds = 3

[task]
kind = "numpy"
model = "logistic_regression"

[data]
kind = "arrays"
shape = [2]
classes = 2

[algorithm]
kind = "fedavg"
lr = 0.1
"""


def records(place: int, shape: int = 2, count: int = 30) -> Examples:
    """A client's records, always the same."""
    random = np.random.default_rng([place, shape])
    x = random.normal(size=(count, shape)).astype(np.float32)
    return Examples(x, (x.sum(axis=1) > 0).astype(np.int64))


def eventually(found: Callable[[], T | None], what: str = "", seconds: float = PATIENCE) -> T:
    """The first true value of `found`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError(f"it never came: {what or found}")


@final
@dataclass
class World:
    """A folder with a coordinator, members, and whatever else a test puts there."""

    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    url: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """What every command here sees."""
        told = {"TACIT_HOME": str(self.folder), "COLUMNS": "200", "NO_COLOR": "1"}
        return {**os.environ, **told}

    # --- commands -----------------------------------------------------------------------------

    def tacit(self, *words: object, status: int = 0) -> Result:
        """A command in this process, which spares its start; any bug of it is raised."""
        told = [str(word) for word in words]
        done = CliRunner().invoke(
            main, told, prog_name="tacit", env=self.environment, catch_exceptions=False
        )
        assert done.exit_code == status, f"{told}: {done.output}"
        return done

    def shell(self, *words: object, status: int = 0) -> subprocess.CompletedProcess[str]:
        """A command in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", "tacit", *map(str, words)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == status, f"{words}: {done.stdout}{done.stderr}"
        return done

    def say(self, *words: object, status: int = 0) -> dict[str, Any]:
        """The JSON object that a command prints, which is all that it prints."""
        found: dict[str, Any] = json.loads(self.tacit(*words, "--json", status=status).stdout)
        return found

    def refused(self, *words: object) -> dict[str, str]:
        """Code, cause and remedy of a command that must fail; for people they are the same."""
        error: dict[str, str] = self.say(*words, status=1)["error"]
        shown = self.tacit(*words, status=1).stderr.splitlines()
        assert shown[0] == f"error  {error['cause']}" and shown[1] == f"remedy {error['remedy']}"
        assert shown[2] == f"[{error['code']}]"
        return error

    # --- processes ----------------------------------------------------------------------------

    def start(self, who: str, *words: object, **settings: str) -> subprocess.Popen[bytes]:
        """A command that stays, with its words in WHO.out and WHO.err."""
        with (
            (self.folder / f"{who}.out").open("ab") as out,
            (self.folder / f"{who}.err").open("ab") as errors,
        ):
            self.processes[who] = subprocess.Popen(
                [sys.executable, "-m", "tacit", *map(str, words)],
                cwd=self.folder,
                env={**self.environment, **settings},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
            )
        return self.processes[who]

    def serve(self, *options: object, who: str = "coordinator", **settings: str) -> str:
        """A coordinator; started again it takes the same port. Gives its address."""
        place = self.folder / f"{who}.out"
        place.unlink(missing_ok=True)
        port = self.url.rpartition(":")[2] if self.url and who == "coordinator" else "0"
        home = ("--home", self.folder / who)
        process = self.start(who, "serve", *home, "--port", port, "--json", *options, **settings)

        def told() -> bool:
            assert process.poll() is None, self.said(who)
            return place.read_text("utf-8").rstrip().endswith("}")

        eventually(told, "the coordinator's address")
        url: str = json.loads(place.read_text("utf-8"))["url"]
        if who == "coordinator":
            self.url = url
        return url

    def client(self, name: str, **settings: str) -> None:
        """A client."""
        self.start(name, "client", "--home", self.home(name).folder, **settings)

    def end(self, who: str, how: signal.Signals = signal.SIGKILL) -> int:
        """End a process by a signal; its status."""
        process = self.processes.pop(who)
        process.send_signal(how)
        return process.wait(PATIENCE)

    def said(self, who: str) -> str:
        """What a process wrote on its standard error."""
        return (self.folder / f"{who}.err").read_text("utf-8")

    def close(self) -> None:
        """End them all, and show what they said: pytest prints it where a test failed."""
        for process in self.processes.values():
            process.kill()
        for who, process in self.processes.items():
            process.wait()
            print(f"--- {who}\n{self.said(who)}")  # noqa: T201

    # --- people -------------------------------------------------------------------------------

    def home(self, name: str, role: str = "client") -> Home:
        """Where a member's things are."""
        return Home(self.folder / ("clients" if role == "client" else "members") / name)

    def enrol(self, name: str, role: str = "client") -> str:
        """Invite and join; the new member's id."""
        invitation = self.say("invite", name, "--role", role)["invitation"]
        identity: str = self.say("join", invitation)["id"]
        return identity

    def owners(
        self,
        names: Sequence[str] = NAMES,
        rules: str = "",
        held: Callable[[int], Examples] = records,
        dataset: str = "app",
    ) -> None:
        """Data owners with records, who allow ada, approved each other and accept `rules`."""
        for place, name in enumerate(names):
            self.enrol(name)
            self.register(name, dataset, held(place))
        for name in names:
            others = [other for other in names if other != name]
            if others:
                self.tacit("peers", "approve", *others, "--home", self.home(name).folder)
            self.policy(name, rules)

    def register(self, name: str, dataset: str, held: Examples) -> None:
        """A client's data."""
        file = self.folder / f"{name}.npz"
        np.savez(file, x=held.x, y=held.y)
        self.tacit("data", "add", dataset, file, "--home", self.home(name).folder)

    def policy(self, name: str, rules: str = "") -> None:
        """Other lines for the owner's policy; the rest of it stays as it was written."""
        place = self.home(name).policy
        ada = Identity.load(self.home("ada", "members").key).id
        told = f'researchers = ["{ada}"]\nhidden_answers = false\n{rules}'
        wanted = dict(line.split(" = ", 1) for line in told.splitlines() if line)
        lines = place.read_text("utf-8").splitlines()
        for at, line in enumerate(lines):
            key = line.partition(" = ")[0].strip()
            if key in wanted:
                lines[at] = f"{key} = {wanted.pop(key)}"
        assert not wanted, wanted
        place.write_text("\n".join(lines) + "\n", "utf-8")

    # --- runs ---------------------------------------------------------------------------------

    def app(self, text: str = APP, file: str = "app.toml", /, **changes: str) -> Path:
        """A description, with pieces replaced."""
        for old, new in changes.items():
            assert f"{old} = " in text
            text = "\n".join(
                f"{old} = {new}" if line.startswith(f"{old} = ") else line
                for line in text.splitlines()
            )
        (self.folder / file).write_text(text, "utf-8")
        return self.folder / file

    def submit(self, *words: object) -> str:
        """Queue a run; its id."""
        words = words or ("app.toml",)
        found: str = self.say("run", *words, "--on", self.url, "--detach")["id"]
        return found

    def show(self, run: str) -> dict[str, Any]:
        """A run as its researcher sees it."""
        return self.say("runs", "show", run, "--on", self.url)

    def over(self, run: str) -> dict[str, Any]:
        """A run, when it has ended."""

        def ended() -> dict[str, Any] | None:
            found = self.show(run)
            return found if found["status"] not in ("waiting", "running") else None

        return eventually(ended, f"the end of {run}")

    def lines(self, run: str) -> list[dict[str, Any]]:
        """A run's journal."""
        found: list[dict[str, Any]] = self.say("runs", "logs", run, "--on", self.url)["lines"]
        return found

    def log(self, run: str) -> str:
        """A run's journal in words."""
        return self.tacit("runs", "logs", run, "--on", self.url).stdout

    def told(self, run: str, words: str) -> str:
        """A run's journal in words, when it has these."""

        def found() -> str:
            text = self.log(run)
            return text if words in text else ""

        return eventually(found, f"{words!r} in the journal")

    def fetched(self, run: str) -> StoredRun:
        """A run's model and history."""
        return load_run(self.folder / self.say("runs", "fetch", run, "--on", self.url)["folder"])

    def diary(self, name: str) -> str:
        """What a client wrote down for its owner."""
        return self.tacit("client", "log", "--home", self.home(name).folder).stdout


def bits(params: Mapping[str, npt.NDArray[Any]]) -> dict[str, bytes]:
    """A model, bit by bit."""
    return {name: array.tobytes() for name, array in params.items()}


def described(federation: Federation) -> str:
    """A federation as its file."""
    return dumps(federation.plain)
