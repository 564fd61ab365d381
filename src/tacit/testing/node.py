"""A process that may die at any operation: afterwards nothing that it does has an effect."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar, final

from tacit.testing.virtual_time import LoopClock

T = TypeVar("T")

HERE: Final[contextvars.ContextVar[Node | None]] = contextvars.ContextVar("node", default=None)
"""The process that the running task belongs to."""


class Death(BaseException):
    """The process ends here. It passes through every `except Exception`, as SIGKILL would."""


@final
class Node:
    """One process and its machine: its tasks, its clock, its disk's state.

    Whatever outlives a process (commits, changes of files, messages) asks `operate` first; between
    two of them only memory changes, so dying at one of them is dying anywhere. The disk is full
    until the moment `full`.
    """

    def __init__(self, name: str, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.name, self.folder, self.loop = name, folder, loop
        self.clock = LoopClock(loop)
        self.dead, self.power = True, False
        self.full = 0.0
        self.fuse: int | None = None
        self.away = 0.0
        self.operations = self.deaths = 0
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.died = asyncio.Event()

    def born(self) -> None:
        """A new process begins."""
        self.dead, self.power = False, False
        self.died.clear()

    def arm(self, count: int, away: float, *, power: bool) -> None:
        """Die at the `count`-th operation from now on."""
        self.fuse, self.away, self.power = count, away, power

    def operate(self) -> None:
        """Before every operation that others, or a later process, can see."""
        self.alive()
        self.operations += 1
        if self.fuse is None:
            return
        self.fuse -= 1
        if self.fuse < 0:
            self.die()
            raise Death(self.name)

    def alive(self) -> None:
        """Raise `Death` where the process is dead already."""
        if self.dead:
            raise Death(self.name)

    def room(self, path: object) -> None:
        """Raise what a full disk raises."""
        if self.loop.time() < self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def die(self) -> None:
        """End the process now."""
        self.dead, self.fuse = True, None
        self.deaths += 1
        self.died.set()

    def spawn(self, main: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something in this process."""
        context = contextvars.copy_context()
        context.run(HERE.set, self)
        return self.loop.create_task(main, context=context)

    def forget(self, task: asyncio.Task[Any]) -> None:
        """A task has ended."""
        self.tasks.pop(task, None)

    async def reaped(self) -> None:
        """Wait until none of the dead process's tasks runs any more."""
        for _ in range(1000):
            left = [task for task in self.tasks if not task.done()]
            if not left:
                return
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=1.0)
        raise AssertionError(f"tasks of {self.name} cannot be cancelled")


def adopt_tasks(loop: asyncio.AbstractEventLoop, wrong: Callable[[str], None]) -> None:
    """Have every task belong to the process that made it; unexpected ends are reported."""

    def make(of: asyncio.AbstractEventLoop, main: Any, **given: Any) -> asyncio.Task[Any]:
        context = given.get("context")
        node = HERE.get() if context is None else context.get(HERE)
        task: asyncio.Task[Any] = asyncio.Task(main, loop=of, **given)
        if node is not None:
            node.tasks[task] = None
            task.add_done_callback(node.forget)
        task.add_done_callback(_looked_at)
        return task

    def odd(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, Death):
            wrong(f"the event loop met {context.get('message')}: {error!r}")

    loop.set_task_factory(make)
    loop.set_exception_handler(odd)


def _looked_at(task: asyncio.Task[Any]) -> None:
    """A death is no news; whoever awaits a task sees its error."""
    if not task.cancelled() and isinstance(task.exception(), Death):
        return
