"""A client whose data sets are the functions of `nasty`, and one turn of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import tacit
from tacit.base.key import Key
from tacit.base.toml import dumps
from tacit.deploy.client.child import ChildProcess
from tacit.deploy.client.home import Home
from tacit.deploy.client.runner import Done, TurnFailed, Work
from tacit.deploy.client.sandbox import Limits
from tacit.deploy.wire.packs import write_pack
from tacit.plan.federation import Federation

FEDERATION = Federation(
    tacit.numpy.logistic_regression(),
    clients=3,
    algorithm=tacit.scaffold(lr=0.1, steps=3),
    data=tacit.arrays((2,), classes=2),
    rounds=3,
)
"""Scaffold: its clients remember."""

START = Key.seed(5) / "start"


def make_home(folder: Path) -> Home:
    """A home with a key, a state and the nasty module as the owner's code."""
    home = Home(folder / "home")
    home.make_folders()
    for file in (home.key, home.state, home.policy):
        file.write_text("secret")
    (home.folder / "code").mkdir()
    shutil.copy(Path(__file__).with_name("nasty.py"), home.folder / "code" / "nasty.py")
    source = Path(__file__).with_name("nasty.py").read_text("utf-8")
    names = [line[4:].partition("(")[0] for line in source.splitlines() if "() -> Pair:" in line]
    home.datasets.write_text(dumps({name: {"source": f"nasty:{name}"} for name in names}))
    plan = FEDERATION.plan()
    state = plan.algorithm.start(plan.start(START))
    write_pack(home.offers / "offer", plan.algorithm.offer(state))
    return home


def work(home: Home, dataset: str, round_: int = 0, memory: Path | None = None) -> Work:
    """A turn with a data set of that name, in a folder of its own."""
    folder = home.work / f"{dataset}-{round_}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    offer = home.offers / "offer"
    key = Key.seed(1) / round_
    return Work("0" * 32, round_, 1, FEDERATION.plain, dataset, offer, memory, key, folder)


async def outcome(runner: ChildProcess, asked: Work) -> Done | TurnFailed:
    """What a turn gives, or how it failed."""
    try:
        return await runner.turn(asked)
    except TurnFailed as failed:
        return failed


async def alone(home: Home, dataset: str, **limits: Any) -> tuple[Done | TurnFailed, Done]:
    """A turn within limits, and a good one with the same runner behind it."""
    runner = ChildProcess(home, Limits(**{"memory": 2 << 30, "seconds": 60.0, **limits}))
    try:
        first = await outcome(runner, work(home, dataset))
        return first, await runner.turn(work(home, "good"))
    finally:
        await runner.close()
