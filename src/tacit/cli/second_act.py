"""The demo's second act: the same federation as processes over TLS, one of them killed."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from tacit.cli.output import bullets, heading
from tacit.cli.remote import with_remote
from tacit.deploy.client import diary
from tacit.deploy.client.database import open_ledger
from tacit.deploy.client.home import Home
from tacit.deploy.rehearse import DATASET, Rehearsal
from tacit.deploy.remote import Remote
from tacit.deploy.wire.packs import read_pack
from tacit.learn.examples import Clients
from tacit.record.run import Run

LINES = 4
"""Lines of the killed client's diary that are shown."""

Told = Callable[[str, int, int], None]
"""Hears what is going on, and how many of how many rounds are done."""


class SecondAct(NamedTuple):
    """What happened: who was killed in which round (from 1), and both models' SHA-256 (hex)."""

    clients: int
    killed: str
    round: int
    rounds: int
    simulated: str
    deployed: str
    diary: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether the deployed model is the simulated one, bit for bit."""
        return self.simulated == self.deployed

    def plain(self) -> dict[str, Any]:
        """For programs."""
        return {**self._asdict(), "diary": list(self.diary), "identical": self.identical}


def second_act(run: Run, clients: Clients, told: Told) -> SecondAct:
    """Deploy the plan of a simulated run on this machine, kill a client halfway, compare."""
    names = tuple(clients.name(i) for i in range(len(clients)))
    sites = {name: clients.examples(i) for i, name in enumerate(names)}
    killed, middle = names[len(names) // 2], run.plan.team.rounds // 2
    told("starting a coordinator and its clients", 0, middle * 2)
    with tempfile.TemporaryDirectory(prefix="tacit-demo-") as place:
        with Rehearsal(Path(place), sites) as here:

            async def watch(remote: Remote) -> str:
                fact = await remote.submit(
                    run.plan.federation,
                    name="second act",
                    dataset=DATASET,
                    clients=names,
                    seed=run.seed,
                )
                async for line in remote.follow(fact.id):
                    if line.kind != "opened":
                        continue
                    round_ = int(line.body["round"])
                    told("four processes and a coordinator", round_, run.plan.team.rounds)
                    if round_ == middle:
                        here.kill(killed)
                        here.start(killed)
                result = await remote.result(fact.id)
                file = await remote.fetch(result, Path(place) / "model.pack")
                return _digest(read_pack(file)["params"])

            deployed = with_remote(here.researcher, watch)
        lines = _diary(here.home(killed), middle)
    simulated = _digest(run.outcome.params)
    rounds = run.plan.team.rounds
    return SecondAct(len(names), killed, middle + 1, rounds, simulated, deployed, lines)


def show(screen: Console, act: SecondAct) -> None:
    """What a reader should know of it."""
    heading(screen, "The same again, as processes of their own")
    same = "the same bits as" if act.identical else "NOT the same bits as"
    bullets(
        screen,
        (
            f"A coordinator and {act.clients} clients ran as processes of their own, over TLS 1.3, "
            "each hospital with its own key, its own policy and its own diary.",
            f"{act.killed} was killed (SIGKILL) in round {act.round} of {act.rounds} and started "
            "again. It never answers a round twice with different bytes, so nothing was lost.",
            f"The deployed model has {same} the simulated one: SHA-256 {act.deployed[:16]}...",
        ),
    )
    heading(screen, f"From the diary of {act.killed} (tacit client log)")
    bullets(screen, act.diary)


def _diary(home: Home, middle: int) -> tuple[str, ...]:
    """The lines around the round in which the client was killed."""
    ledger = open_ledger(home)
    try:
        lines = diary.lines(ledger)
    finally:
        ledger.close()
    return tuple(str(line) for line in lines if line.round == middle)[:LINES]


def _digest(params: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(params).tobytes()).hexdigest()
