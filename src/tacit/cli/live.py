"""Following a run: a bar, what each client does, and the lines that a person should read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from tacit.cli.output import console
from tacit.deploy.remote import Remote
from tacit.deploy.wire.messages import EventFact

ROUTINE = frozenset({"opened", "answered", "kept", "closed"})
"""Kinds of lines that the bar tells."""


@final
@dataclass
class View:
    """What is shown of a run, as its lines come in."""

    bar: Progress
    task: Any
    rounds: int
    asked: int = 0
    heard: set[int] = field(default_factory=set)

    def take(self, event: EventFact) -> None:
        """Show a line."""
        match event.kind:
            case "opened":
                self.asked, self.heard = len(event.body["cohort"]), set()
            case "answered":
                self.heard.add(event.body["client"])
            case "closed":
                self.bar.update(self.task, completed=event.body["round"] + 1)
        if event.kind in ROUTINE:
            said = f"{len(self.heard)} of {self.asked} answered"
            self.bar.update(self.task, description=said)
        else:
            self.bar.console.print(Text(event.text))


@contextmanager
def view(rounds: int, *, quiet: bool) -> Iterator[View]:
    """A bar on stderr; without a terminal, lines alone; quiet: neither."""
    screen = console(stderr=True)
    screen.quiet = quiet
    columns = (
        TextColumn("round"),
        MofNCompleteColumn(),
        BarColumn(24),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=screen, disable=quiet or not screen.is_terminal) as bar:
        yield View(bar, bar.add_task("waiting for clients", total=rounds), rounds)


async def follow(remote: Remote, run: str, shown: View) -> list[EventFact]:
    """Show a run's lines until it is over; returns them all."""
    lines: list[EventFact] = []
    async for event in remote.follow(run):
        lines.append(event)
        shown.take(event)
    return lines
