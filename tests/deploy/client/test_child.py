from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest

from tacit.base.tree import flatten
from tacit.deploy.client import child, owner
from tacit.deploy.client.child import ChildProcess, limits
from tacit.deploy.client.facts import plan_facts
from tacit.deploy.client.frames import Failed, Reply
from tacit.deploy.client.home import Home
from tacit.deploy.client.in_process import InProcess
from tacit.deploy.client.runner import Done, TurnFailed
from tacit.deploy.wire.answers import read_answer
from tacit.deploy.wire.packs import file_digest, read_pack
from tacit.learn.examples import Examples
from tacit.plan.policy import Policy
from tests.deploy.client import nasty
from tests.deploy.client.nasty_client import FEDERATION, alone, make_home, outcome, work


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def failed(found: Done | TurnFailed) -> TurnFailed:
    assert isinstance(found, TurnFailed)
    return found


def workers(home: Home) -> list[psutil.Process]:
    """All processes that live in the home's scratch folder."""
    scratch = str(home.folder / "scratch")
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd().startswith(scratch) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def until_gone(home: Home) -> bool:
    for _ in range(300):
        if not workers(home):
            return True
        time.sleep(0.1)
    return False


def test_a_turn_gives_what_it_gives_in_process_and_so_does_the_next_with_memory(
    home: Home, tmp_path: Path
) -> None:
    runner = ChildProcess(home)
    here = InProcess(lambda name, plan: Examples(*nasty.good()))

    async def both() -> None:
        memory = None
        for round_ in range(2):
            there = await runner.turn(work(home, "good", round_, memory))
            kept = there.answer.read_bytes(), there.pending and there.pending.read_bytes()
            same = await here.turn(work(home, "good", round_, memory))
            assert same.answer.read_bytes() == kept[0]
            assert same.pending is not None and same.pending.read_bytes() == kept[1]
            assert (there.digest, there.size) == (file_digest(same.answer), len(kept[0]))
            assert there.examples == 40
            assert read_answer(there.answer, FEDERATION.plan().message.size).any()
            memory = same.pending.rename(tmp_path / f"memory-{round_}")
            leaves = flatten(read_pack(memory), "memory")[1]
            assert any(np.any(leaf) for leaf in leaves)
        assert len(runner.live) == 1
        await runner.close()

    asyncio.run(both())
    assert not workers(home)


def test_a_plan_is_built_behind_the_sandbox(home: Home) -> None:
    policy = Policy(minimum_cohort=5, hidden_answers=False)

    async def facts() -> None:
        runner = ChildProcess(home)
        assert await runner.facts(FEDERATION.plain, policy) == plan_facts(FEDERATION.plain, policy)
        with pytest.raises(TurnFailed) as caught:
            await runner.facts({**FEDERATION.plain, "clients": 0}, policy)
        assert (caught.value.phase, caught.value.code) == ("code", "task.setting")
        await runner.close()

    asyncio.run(facts())


def test_what_code_raises_is_one_failed_turn_and_its_message_stays_home(home: Home) -> None:
    first, second = asyncio.run(alone(home, "secret_in_message"))
    told = failed(first)
    assert (told.phase, told.code, told.error) == ("data", "task.code-fails", "Patient17")
    assert "nasty.py:" in told.traceback
    assert "ValueError" in told.traceback
    leaves = told.error + told.traceback + told.environment
    assert not any(word in leaves for word in ("Alzheimer", "row 17", str(home.folder), "raise"))
    assert "Alzheimer" in (home.folder / "worker.log").read_text()
    assert second.examples == 40


@pytest.mark.parametrize(
    ("dataset", "code", "words", "within"),
    [
        ("exits_politely", "dataset.failed", "enough", {}),
        ("dies", "worker.died", "(7)", {}),
        ("faults", "worker.died", "SIGSEGV", {}),
        ("spins", "worker.time", "waiting", {"seconds": 2.0}),
        ("sleeps", "worker.time", "waiting", {"seconds": 2.0}),
        ("spins", "worker.time", "processor", {"cpu": 1.0}),
        ("ten_gigabytes", "worker.memory", "", {}),
        ("shared_memory", "worker.memory", "700 MiB", {"memory": 700 << 20}),
        ("shouts", "worker.output", "printed", {}),
        ("lies", "worker.protocol", "", {}),
        ("boasts", "worker.protocol", "message of 4294967295 bytes", {}),
        ("hangs_up", "worker.protocol", "closed its socket", {}),
        ("multiplies", "worker.processes", "5", {"processes": 5}),
    ],
)
def test_trouble_is_named_and_the_next_turn_is_taken(
    home: Home, dataset: str, code: str, words: str, within: dict[str, float]
) -> None:
    first, second = asyncio.run(alone(home, dataset, **within))
    assert failed(first).code == code
    assert words in str(failed(first))
    assert second.examples == 40
    assert not workers(home)


def test_garbage_on_stdout_is_only_logged_and_the_log_is_bounded(home: Home) -> None:
    first, _ = asyncio.run(alone(home, "prints"))
    assert isinstance(first, Done)
    assert bytes(range(256)) in (home.folder / "worker.log").read_bytes()
    second, _ = asyncio.run(alone(home, "shouts"))
    assert failed(second).code == "worker.output"
    assert (home.folder / "worker.log").stat().st_size < 4 << 20
    assert (home.folder / "worker.log").stat().st_mode & 0o077 == 0


def test_a_cancelled_turn_leaves_nothing_running(home: Home) -> None:
    async def cancel() -> None:
        runner = ChildProcess(home)
        turn = asyncio.create_task(runner.turn(work(home, "spins")))
        while not workers(home):
            await asyncio.sleep(0.05)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert not workers(home)
        assert not runner.live

    asyncio.run(cancel())


def test_a_worker_dies_with_its_parent_even_by_sigkill(home: Home) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "from tacit.deploy.client.child import ChildProcess\n"
        "from tacit.deploy.client.home import Home\n"
        "from tests.deploy.client.nasty_client import work\n"
        "home = Home(Path(sys.argv[1]))\n"
        "asyncio.run(ChildProcess(home).turn(work(home, 'spins')))\n"
    )
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}
    parent = subprocess.Popen([sys.executable, "-c", script, str(home.folder)], env=environment)
    while not workers(home):
        assert parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert until_gone(home)


def test_workers_are_few_and_a_dead_one_is_replaced(home: Home) -> None:
    async def several() -> None:
        runner = ChildProcess(home)
        await runner.turn(work(home, "good"))
        (live,) = runner.live.values()
        os.kill(live.process.process.pid, signal.SIGKILL)
        await live.process.process.wait()
        assert isinstance(await outcome(runner, work(home, "good", 1)), Done)
        for clients in range(4, 8):
            await runner.facts(FEDERATION.replace(clients=clients).plain, Policy())
        assert len(runner.live) == len(workers(home)) == 4
        await runner.close()

    asyncio.run(several())
    assert not workers(home)


def test_code_that_comes_later_is_found_and_a_relative_home_will_do(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home.folder.parent)
    here = Home(Path(home.folder.name))
    later = home.folder.parent / "later"
    (home.folder / "code").rename(later)

    async def twice() -> None:
        runner = ChildProcess(here)
        first = failed(await outcome(runner, work(here, "good")))
        assert first.code == "task.code-no-module"
        later.rename(home.folder / "code")
        assert isinstance(await outcome(runner, work(here, "good")), Done)
        await runner.close()

    asyncio.run(twice())


def test_an_unknown_data_set_is_refused_and_no_other_is_named(home: Home) -> None:
    found = failed(asyncio.run(outcome(ChildProcess(home), work(home, "elsewhere"))))
    assert (found.phase, found.code) == ("data", "dataset.unknown")
    assert "good" not in str(found)
    assert not workers(home)


def test_a_turn_and_a_plan_asked_for_together_do_not_mix(home: Home) -> None:
    async def together() -> None:
        runner = ChildProcess(home)
        done, facts, again = await asyncio.gather(
            runner.turn(work(home, "good")),
            runner.facts(FEDERATION.plain, Policy()),
            runner.turn(work(home, "good", 1)),
        )
        assert done.examples == again.examples == 40
        assert facts.digest == FEDERATION.digest
        assert len(workers(home)) == 1
        await runner.close()

    asyncio.run(together())


def test_the_policys_limits_are_the_workers() -> None:
    found = limits(owner.Limits(cpu_seconds=5, wall_seconds=7, memory_mb=512, threads=3))
    assert (found.cpu, found.seconds, found.memory, found.threads) == (5, 7, 512 << 20, 3)
    assert limits(owner.Limits()).processes == 0


@pytest.mark.parametrize(
    "change",
    [
        {"phase": "gossip"},
        {"code": "x" * 61},
        {"error": "Mrs Smith"},
        {"traceback": "x" * 8101},
        {"environment": "blood pressure"},
    ],
)
def test_a_failure_that_user_code_made_up_has_no_room_for_data(change: dict[str, str]) -> None:
    fields = {"phase": "code", "code": "a.b", "error": "E", "traceback": "", "environment": ""}
    plain = {"type": "Failed", **fields, "reason": ""}
    assert isinstance(msgspec.convert(plain, Reply), Failed)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**plain, **change}, Reply)


def test_a_spare_worker_serves_the_first_run_and_another_takes_its_place(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_REWARM", 0.0)

    async def run() -> None:
        runner = ChildProcess(home)
        await runner.warm()
        await runner.warm()
        assert len(workers(home)) == 1
        spare = runner.spare
        assert spare is not None
        await runner.facts(FEDERATION.plain, Policy(), "good")
        await runner.turn(work(home, "good"))
        assert [one.process for one in runner.live.values()] == [spare.process]
        assert runner.warming is not None
        await runner.warming
        assert runner.spare is not None and runner.spare != spare
        assert len(workers(home)) == 2
        await runner.close()

    asyncio.run(run())
    assert not workers(home)


def test_a_spare_worker_that_died_is_not_taken(home: Home) -> None:
    async def run() -> None:
        runner = ChildProcess(home)
        await runner.warm()
        assert runner.spare is not None
        runner.spare.process.process.kill()
        await runner.spare.process.process.wait()
        await runner.turn(work(home, "good"))
        await runner.close()

    asyncio.run(run())
    assert not workers(home)


def test_without_a_data_set_no_worker_is_kept(home: Home) -> None:
    home.datasets.unlink()
    runner = ChildProcess(home)
    asyncio.run(runner.warm())
    assert runner.spare is None
