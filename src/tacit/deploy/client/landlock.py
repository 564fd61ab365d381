"""Landlock (Linux 5.13 and later): a process gives up files for good, without any privilege.

What is not allowed by name is refused, for this process and all that it starts. The three system
calls have no wrapper in the C library yet, so they are called by number; the numbers are the same
on all architectures that Python runs on. Source: Documentation/userspace-api/landlock.rst of the
Linux kernel, of which versions 1 to 7 of the interface are known here.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_FILE = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_TRUNCATE, _DEVICE = 1 << 14, 1 << 15
_READ = _READ_FILE | _READ_DIR
_WRITE = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_FILE | _TRUNCATE
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _DEVICE
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many of the rights, counted from the first, each version knows; later ones like the last."""

_TCP = 3
_SIGNALS_AND_SOCKETS = 3


@final
@dataclass(frozen=True)
class Access:
    """What a process may still reach, with everything beneath it.

    `read` and `write`: files and folders (write includes read); `device`: device files to use;
    `hidden`: never readable, even where a folder of `read` lies above it.
    """

    read: tuple[Path, ...]
    write: tuple[Path, ...] = ()
    device: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()


def version() -> int:
    """The version of the interface that this kernel offers; 0: none."""
    if sys.platform != "linux":
        return 0
    return max(0, _call(_CREATE_RULESET, None, 0, _ASK_VERSION))


def restrict(access: Access) -> None:
    """Give up all other files, TCP (version 4), and signals to strangers (version 6).

    Holds for this thread and the threads and processes that it starts from now on, so it comes
    before anything that starts threads. OSError: it could not be done, and nothing is promised.
    """
    known = version()
    handled = (1 << _RIGHTS[min(known, 5)]) - 1
    fields = (handled, _TCP if known >= 4 else 0, _SIGNALS_AND_SOCKETS if known >= 6 else 0)
    wide = {1: 1, 2: 1, 3: 1, 4: 2, 5: 2}.get(known, 3)
    form = struct.pack(f"={wide}Q", *fields[:wide])
    rules = _checked(_call(_CREATE_RULESET, form, len(form), 0))
    try:
        for path, rights in _granted(access):
            _allow(rules, path, rights & handled)
        libc = ctypes.CDLL(None, use_errno=True)
        _checked(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(_call(_RESTRICT_SELF, rules, 0))
    finally:
        os.close(rules)


def _granted(access: Access) -> Iterator[tuple[Path, int]]:
    hidden = [path.resolve() for path in access.hidden]
    for path in access.read:
        yield from _around(path.resolve(), hidden)
    yield from ((path, _WRITE) for path in access.write)
    yield from ((path, _READ_FILE | _WRITE_FILE | _DEVICE) for path in access.device)


def _around(path: Path, hidden: Sequence[Path]) -> Iterator[tuple[Path, int]]:
    """A folder, or, where something hidden lies beneath it, all else that it holds now.

    Names in such a folder stay readable: without them, Python finds no module there.
    """
    if path in hidden:
        return
    if not any(secret.is_relative_to(path) for secret in hidden):
        yield path, _READ
        return
    yield path, _READ_DIR
    for inner in path.iterdir():
        yield from _around(inner.resolve(), hidden)


def _allow(rules: int, path: Path, rights: int) -> None:
    try:
        held = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return  # what this process cannot reach anyway needs no right
    try:
        of_kind = rights if path.is_dir() else rights & _OF_A_FILE
        rule = struct.pack("=Qi", of_kind, held)
        if of_kind:
            _checked(_call(_ADD_RULE, rules, _PATH_BENEATH, rule, 0))
    finally:
        os.close(held)


def _call(number: int, *arguments: int | bytes | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    plain = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    return int(libc.syscall(ctypes.c_long(number), *plain))


def _checked(result: int) -> int:
    if result < 0:
        failed = ctypes.get_errno()
        raise OSError(failed, os.strerror(failed))
    return result
