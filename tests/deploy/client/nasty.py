"""Code that an owner should not have approved; each function stands for a data set.

What was attempted is told by raising; the text reaches the owner alone.
"""

# It misbehaves on purpose:
# ruff: noqa: PTH208, PTH211, S606, T201, TRY301

from __future__ import annotations

import ctypes
import mmap
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Pair = tuple[Any, Any]


def good() -> Pair:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, 2))
    return x, (x[:, 0] > 0).astype(np.int64)


def tell(**attempts: Callable[[], Any]) -> Pair:
    """Try each, and raise what became of them."""
    lines = []
    for name, attempt in attempts.items():
        try:
            outcome = f"done {attempt()!r}"
        except (OSError, ValueError) as refused:
            outcome = f"refused {type(refused).__name__} {getattr(refused, 'errno', '')}"
        lines.append(f"{name}: {outcome}")
    raise RuntimeError("; ".join(lines))


def sockets() -> Pair:
    families = ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET")
    return tell(**{name: lambda n=name: socket.socket(getattr(socket, n)) for name in families})


def io_uring() -> Pair:
    def setup() -> int:
        libc = ctypes.CDLL(None, use_errno=True)
        found = libc.syscall(425, 8, ctypes.create_string_buffer(120))
        if found < 0:
            raise OSError(ctypes.get_errno(), "io_uring")
        return int(found)

    return tell(io_uring=setup)


def files() -> Pair:
    home = Path(__file__).parents[1]
    parent = Path(f"/proc/{os.getppid()}")
    return tell(
        key=(home / "key").read_text,
        state=(home / "state.db").read_bytes,
        policy=(home / "policy.toml").read_text,
        write=lambda: (home / "policy.toml").write_text("code = []"),
        link=lambda: os.link(home / "key", Path(os.environ["HOME"]) / "key"),
        symlink=lambda: os.symlink(home / "key", Path(os.environ["HOME"]) / "key"),
        listing=lambda: os.listdir(home),
        environ=(parent / "environ").read_bytes,
        memory=lambda: (parent / "mem").open("rb"),
        rights=lambda: (home / "key").chmod(0o644),
        times=lambda: os.utime(home / "key", (0, 0)),
        owner=lambda: os.chown(home / "key", 1, 1),
        shadow=lambda: Path("/etc/shadow").read_text(),
        own_code=lambda: Path(__file__).write_text(""),
    )


def scratch() -> Pair:
    own = Path(os.environ["HOME"])
    (own / "cache").mkdir(exist_ok=True)
    (own / "cache" / "file").write_text("kept")
    assert (own / "cache" / "file").read_text() == "kept"
    return good()


def surroundings() -> Pair:
    # One more than is inherited: the listing's own.
    fds = sorted(os.listdir("/proc/self/fd"))
    raise RuntimeError(f"{sorted(os.environ)} | {len(fds)} descriptors | {sys.path[0]}")


def processes() -> Pair:
    context = multiprocessing.get_context("fork")
    return tell(
        fork=os.fork,
        run=lambda: subprocess.run(["true"], check=False),
        system=lambda: os.posix_spawn("/bin/true", ["true"], {}),
        multiprocessing=lambda: context.Process(target=good).start(),
        session=os.setsid,
        group=lambda: os.setpgid(0, 0),
        execute=lambda: os.execv("/bin/true", ["true"]),
    )


def signals() -> Pair:
    parent = os.getppid()
    return tell(
        terminate=lambda: os.kill(parent, signal.SIGTERM),
        kill=lambda: os.kill(parent, signal.SIGKILL),
        trace=lambda: _trace(parent),
    )


def strangers_limits() -> Pair:
    """Where this succeeds, the parent is of no more use."""
    files = resource.RLIMIT_NOFILE
    return tell(limit=lambda: resource.prlimit(os.getppid(), files, (8, 8)))


def _trace(parent: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, parent, None, None) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")
    return 0


def raised_limits() -> Pair:
    def open_many() -> int:
        opened = []
        try:
            for _ in range(2000):
                opened.append(os.open("/dev/null", os.O_RDONLY))
        finally:
            for one in opened:
                os.close(one)
        return len(opened)

    def large_file() -> int:
        with (Path(os.environ["HOME"]) / "large").open("wb") as file:
            return file.truncate(1 << 40)

    return tell(
        core=lambda: resource.getrlimit(resource.RLIMIT_CORE), many=open_many, large=large_file
    )


def threads() -> Pair:
    import threading

    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(1))
    thread.start()
    thread.join()
    raise RuntimeError(f"threads: {found}")


def secret_in_message() -> Pair:
    diagnosis = "Alzheimer"

    class Patient17(Exception):
        pass

    try:
        raise ValueError(f"{diagnosis} in row 17")
    except ValueError as first:
        raise Patient17(diagnosis) from first


def exits_politely() -> Pair:
    sys.exit("enough")


def ten_gigabytes() -> Pair:
    held = np.ones(10 << 27)
    return held, held


def shared_memory() -> Pair:
    # Not private memory, so no limit of the system counts it.
    held = mmap.mmap(-1, 3 << 30)
    for at in range(0, len(held), 1 << 20):
        held[at : at + (1 << 20)] = b"x" * (1 << 20)
    while True:
        time.sleep(1)


def spins() -> Pair:
    while True:
        pass


def sleeps() -> Pair:
    while True:
        time.sleep(1)


def dies() -> Pair:
    os._exit(7)


def faults() -> Pair:
    ctypes.string_at(0)
    return good()


def shouts() -> Pair:
    for _ in range(1 << 10):
        print("x" * (1 << 20))
    return good()


def prints() -> Pair:
    print("\0\xff garbage {" * 100)
    os.write(1, bytes(range(256)))
    return good()


def _pipe() -> int:
    """The worker's socket: the only one that it has."""
    import stat

    for number in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                return number
        except OSError:
            continue
    raise AssertionError


def lies() -> Pair:
    os.write(_pipe(), b"\x05\0\0\0hello")
    return sleeps()


def boasts() -> Pair:
    os.write(_pipe(), b"\xff\xff\xff\xff")
    return sleeps()


def hangs_up() -> Pair:
    os.close(_pipe())
    return sleeps()


def multiplies() -> Pair:
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(0.01)
