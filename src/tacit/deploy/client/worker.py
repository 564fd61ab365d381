"""A child process that takes turns for one run: `python -m tacit.deploy.client.worker`.

It knows no key of the owner's but the randomness of the turn it takes. It talks to its parent in
frames over one socket that it inherited, by its number on the command line; arrays lie in files.
Nothing heavy is imported until the sandbox is closed, for that holds only for the threads that
start behind it, and numerical libraries start theirs when they are imported.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path

import msgspec

from tacit.deploy.client.frames import LENGTH, Order, Ready, Reply, Start, framed
from tacit.deploy.client.landlock import Access
from tacit.deploy.client.sandbox import budget, devices, enter, readable

_DEATH_SIGNAL = 1


def serve(pipe: socket.socket) -> None:
    """Close the sandbox as the first frame says, then take turns until the parent hangs up."""
    start = _heard(pipe)
    assert isinstance(start, Start)
    read = (*readable(), *map(Path, start.read))
    access = Access(read, _paths(start.write), devices(), _paths(start.hidden))
    alone = enter(start.limits, access)
    orders = importlib.import_module("tacit.deploy.client.orders").Orders()
    pipe.sendall(framed(Ready(alone)))
    while (order := _heard(pipe)) is not None:
        budget(start.limits)
        reply: Reply = orders.serve(order)
        pipe.sendall(framed(reply))


def _paths(listed: tuple[str, ...]) -> tuple[Path, ...]:
    return tuple(map(Path, listed))


def _heard(pipe: socket.socket) -> Order | None:
    """The next frame; None when the parent hung up. The parent is trusted with its lengths."""
    head = _exactly(pipe, LENGTH.size)
    if head is None:
        return None
    body = _exactly(pipe, LENGTH.unpack(head)[0])
    return None if body is None else msgspec.msgpack.decode(body, type=Order)


def _exactly(pipe: socket.socket, count: int) -> bytes | None:
    parts: list[bytes] = []
    while count:
        part = pipe.recv(min(count, 1 << 20))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _die_with(parent: int) -> None:
    """End this process when its parent ends, however that happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(0)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def main(arguments: list[str]) -> None:
    """The process: the socket's number and the parent's, then frames."""
    number, parent = map(int, arguments)
    _die_with(parent)
    try:
        serve(socket.socket(fileno=number))
    except BaseException:  # noqa: BLE001  # whatever it was, the owner's log has it, and it ends
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(3)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads and handlers of user code have no say in when this ends.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
