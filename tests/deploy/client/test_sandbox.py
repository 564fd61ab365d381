from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tacit.deploy.client import process
from tacit.deploy.client.child import ChildProcess
from tacit.deploy.client.runner import Done, TurnFailed
from tacit.deploy.client.sandbox import Fences, Limits, fences, report
from tests.deploy.client.nasty_client import make_home, outcome, work

ATTEMPTS = (
    *("sockets", "io_uring", "files", "scratch", "surroundings", "processes", "signals"),
    *("raised_limits", "strangers_limits", "threads"),
)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What became of all attempts, in one worker; the last is a good turn."""
    home = make_home(tmp_path_factory.mktemp("client"))

    async def attempts() -> dict[str, str]:
        runner = ChildProcess(home, Limits(memory=2 << 30, seconds=60))
        found = {}
        for name in ATTEMPTS:
            result = await outcome(runner, work(home, name))
            found[name] = "taken" if isinstance(result, Done) else str(result)
        found["good"] = str((await runner.turn(work(home, "good"))).examples)
        await runner.close()
        return found

    os.environ["TACIT_TEST_SECRET"] = "hush"
    leak = os.open(home.key, os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        yield asyncio.run(attempts())
    finally:
        os.close(leak)
        del os.environ["TACIT_TEST_SECRET"]


def test_this_machine_has_all_fences() -> None:
    """Where it has not, the other tests of this module say nothing."""
    assert fences().no_seccomp == ""
    assert fences().landlock >= 1


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET"])
def test_no_socket_can_be_opened(told: dict[str, str], family: str) -> None:
    assert f"{family}: refused PermissionError 1" in told["sockets"]


def test_io_uring_is_no_way_around(told: dict[str, str]) -> None:
    assert "io_uring: refused PermissionError 1" in told["io_uring"]


@pytest.mark.parametrize(
    "file",
    [
        *("key", "state", "policy", "write", "link", "symlink", "listing", "environ", "memory"),
        *("rights", "times", "owner"),
    ],
)
def test_the_clients_home_and_process_are_out_of_reach(told: dict[str, str], file: str) -> None:
    assert re.search(rf"\b{file}: refused (PermissionError 13?|OSError 18)", told["files"])


@pytest.mark.parametrize("file", ["shadow", "own_code"])
def test_nothing_else_is_reached(told: dict[str, str], file: str) -> None:
    assert f"{file}: refused PermissionError 13" in told["files"]


def test_the_worker_has_a_scratch_folder(told: dict[str, str]) -> None:
    assert told["scratch"] == "taken"


def test_environment_and_descriptors_are_not_the_clients(told: dict[str, str]) -> None:
    assert "TACIT_TEST_SECRET" not in told["surroundings"]
    assert "'HOME'" in told["surroundings"]
    # Standard streams, the socket, the listing.
    assert "| 5 descriptors |" in told["surroundings"]


@pytest.mark.parametrize(
    "way", ["fork", "run", "system", "multiprocessing", "session", "group", "execute"]
)
def test_no_process_is_started_or_leaves_the_session(told: dict[str, str], way: str) -> None:
    assert f"{way}: refused PermissionError 1" in told["processes"]


@pytest.mark.parametrize("way", ["terminate", "kill", "trace"])
def test_the_parent_is_out_of_reach(told: dict[str, str], way: str) -> None:
    assert f"{way}: refused PermissionError 1" in told["signals"]
    assert "limit: refused PermissionError 1" in told["strangers_limits"]


def test_limits_hold(told: dict[str, str]) -> None:
    assert "core: done (0, 0)" in told["raised_limits"]
    assert "many: refused OSError 24" in told["raised_limits"]
    assert "large: refused OSError 27" in told["raised_limits"]


def test_threads_and_turns_work(told: dict[str, str]) -> None:
    assert "threads: [1]" in told["threads"]
    assert told["good"] == "40"


def test_a_home_beneath_a_readable_folder_is_hidden(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    (tmp_path / "project").mkdir()
    (home.folder / "code" / "nasty.py").rename(tmp_path / "nasty.py")
    text = (tmp_path / "nasty.py").read_text().replace("parents[1]", 'parent / "home"')
    (tmp_path / "nasty.py").write_text(text)

    async def attempt() -> tuple[Done | TurnFailed, Done | TurnFailed]:
        runner = ChildProcess(home, code=(tmp_path,))
        found = (
            await outcome(runner, work(home, "files")),
            await outcome(runner, work(home, "good")),
        )
        await runner.close()
        return found

    first, second = asyncio.run(attempt())
    for file in ("key", "state", "policy", "write", "own_code"):
        assert f"{file}: refused PermissionError 13" in str(first)
    assert isinstance(second, Done)


def behind(tmp_path: Path, patch: str, names: tuple[str, ...]) -> list[Done | TurnFailed]:
    """Turns in a worker with other fences than this machine's; monkeypatching ends at a process."""
    script = tmp_path / "other.py"
    script.write_text(
        "import sys\n"
        "from tacit.deploy.client import sandbox, worker\n"
        f"{patch}\n"
        "worker.main(sys.argv[1:])\n"
    )
    home = make_home(tmp_path)

    async def turns() -> list[Done | TurnFailed]:
        runner = ChildProcess(home, Limits(memory=2 << 30, seconds=60))
        found = [await outcome(runner, work(home, name)) for name in names]
        await runner.close()
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(process, "_COMMAND", ("-P", "-s", "-B", str(script)))
        return asyncio.run(turns())


def test_without_fences_turns_are_taken_and_processes_still_counted(tmp_path: Path) -> None:
    patch = "sandbox.fences = lambda: sandbox.Fences(0, 'none here')"
    names = ("good", "multiplies", "good", "files")
    good, multiplied, again, files = behind(tmp_path, patch, names)
    assert isinstance(good, Done)
    assert isinstance(again, Done)
    assert "key: done 'secret'" in str(files)
    assert isinstance(multiplied, TurnFailed)
    assert multiplied.code == "worker.processes"


def test_without_landlock_seccomp_alone_refuses_its_part(tmp_path: Path) -> None:
    patch = "sandbox.fences = lambda: sandbox.Fences(0, '')"
    names = ("signals", "sockets", "processes", "faults", "good")
    signals, sockets, processes, faults, good = map(str, behind(tmp_path, patch, names))
    for way in ("terminate", "kill", "trace"):
        assert f"{way}: refused PermissionError 1" in signals
    assert "AF_UNIX: refused PermissionError 1" in sockets
    assert "fork: refused PermissionError 1" in processes
    assert "SIGSEGV" in faults
    assert "examples=40" in good


def test_without_seccomp_landlock_alone_refuses_its_part(tmp_path: Path) -> None:
    patch = "sandbox.fences = lambda: sandbox.Fences(sandbox.version(), 'none here')"
    signals, files, good = map(str, behind(tmp_path, patch, ("signals", "files", "good")))
    for way in ("terminate", "kill", "trace"):
        assert f"{way}: refused PermissionError 1" in signals
    for file in ("key", "state", "write", "environ", "memory", "shadow"):
        assert f"{file}: refused PermissionError 13" in files
    assert "examples=40" in good


def test_a_fence_that_cannot_be_closed_lets_no_code_run(tmp_path: Path) -> None:
    patch = "def broken(access):\n    raise OSError(22, 'no')\nsandbox.restrict = broken"
    (found,) = behind(tmp_path, patch, ("good",))
    assert isinstance(found, TurnFailed)
    assert found.code == "worker.died"
    assert "OSError" in (tmp_path / "home" / "worker.log").read_text()


def test_the_report_says_what_is_on_and_what_is_off() -> None:
    whole = report(Limits(memory=3 << 30), Fences(7, ""))
    assert any("3 GiB" in line for line in whole)
    assert any(line.startswith("on: files") for line in whole)
    assert any(line.startswith("on: the network") for line in whole)
    bare = report(Limits(), Fences(0, "Linux alone has it"))
    assert any("off: files" in line and "key" in line for line in bare)
    assert any("off: seccomp (Linux alone has it)" in line for line in bare)
    assert not any(line.startswith("on: the network") for line in bare)
    old = report(Limits(processes=2), Fences(3, ""))
    assert any("off: other processes" in line for line in old)
    assert any("on: other processes" in line for line in report(Limits(), Fences(3, "")))
    assert all(line.startswith(("on: ", "off: ")) for line in (*whole, *bare, *old))
