from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch

import tacit
from tacit.base.key import Key
from tacit.deploy.client import datasets
from tacit.deploy.client.child import ChildProcess
from tacit.deploy.client.home import Home
from tacit.deploy.client.in_process import InProcess
from tacit.deploy.client.runner import TurnFailed, Work
from tacit.deploy.client.sandbox import Limits
from tacit.deploy.wire.packs import write_pack
from tacit.learn.code import code_name
from tacit.learn.data import heart_disease
from tacit.learn.torch import TorchTask
from tacit.plan.federation import Federation

MODEL = """
import os
from pathlib import Path

import torch


def net():
    return torch.nn.Sequential(torch.nn.Linear(15, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))


def thief():
    if "scratch" in os.environ["HOME"]:
        raise ValueError((Path(os.environ["HOME"]).parents[2] / "key").read_text())
    return net()
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    home = Home(tmp_path / "home")
    home.make_folders()
    home.key.write_text("secret")
    (home.folder / "code").mkdir()
    (home.folder / "code" / "worker_torch_model.py").write_text(MODEL)
    monkeypatch.syspath_prepend(home.folder / "code")
    datasets.add(home, "heart", "heart_disease:Cleveland")
    return home


def federation(function: str) -> Federation:
    named = code_name(f"worker_torch_model:{function}")
    return Federation(
        TorchTask(*named),
        clients=3,
        algorithm=tacit.fedavg(lr=0.1, steps=3),
        data=heart_disease().schema,
    )


def work(home: Home, asked: Federation) -> Work:
    plan = federation("net").plan()
    state = plan.algorithm.start(plan.start(Key.seed(0)))
    write_pack(home.offers / "offer", plan.algorithm.offer(state))
    folder = home.work / "turn"
    folder.mkdir(exist_ok=True)
    return Work("r", 0, 0, asked.plain, "heart", home.offers / "offer", None, Key.seed(1), folder)


def test_torch_computes_behind_the_sandbox_what_it_computes_here(home: Home) -> None:
    asked = work(home, federation("net"))
    held = datasets.load(home, "heart", heart_disease().schema)

    async def both() -> None:
        runner = ChildProcess(home, Limits(threads=torch.get_num_threads()))
        there = await runner.turn(asked)
        bytes_there = there.answer.read_bytes()
        await runner.close()
        here = await InProcess(lambda name, plan: held).turn(asked)
        assert here.answer.read_bytes() == bytes_there

    asyncio.run(both())


def test_a_model_that_reads_the_key_cannot_and_is_named(home: Home) -> None:
    async def attempt() -> TurnFailed:
        runner = ChildProcess(home)
        with pytest.raises(TurnFailed) as caught:
            await runner.turn(work(home, federation("thief")))
        await runner.close()
        return caught.value

    failed = asyncio.run(attempt())
    assert (failed.phase, failed.code) == ("code", "task.code-fails")
    assert failed.error == "PermissionError"
    assert "worker_torch_model.py:" in failed.traceback
    assert "secret" not in str(failed)
