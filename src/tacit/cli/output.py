"""What the verbs print: tables and sentences for people, one JSON object for programs, errors."""

from __future__ import annotations

import json
import math
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

import tacit
from tacit.base.errors import TacitError

F = TypeVar("F", bound=Callable[..., Any])

USER_CODE = ("task.code-fails", "round.code-failed")
"""Errors behind which the user's own code failed."""

STYLES = {"error": "bold red", "remedy": "bold green", "where": "bold"}

ONE_OBJECT = "Print one JSON object and nothing else."


def json_option(command: F) -> F:
    """`--json`, which errors obey too."""
    return click.option(
        "--json", "as_json", is_flag=True, callback=_remember, is_eager=True, help=ONE_OBJECT
    )(command)


def _remember(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    ctx.meta["tacit.json"] = value
    return value


def console(*, stderr: bool = False) -> Console:
    """A console for the stream as it is now, without guessing at what numbers to colour."""
    return Console(stderr=stderr, highlight=False)


def print_json(plain: Any) -> None:
    """One JSON object on stdout."""
    click.echo(json.dumps(plain, indent=2, allow_nan=False, ensure_ascii=False))


def show_error(error: TacitError, *, as_json: bool) -> None:
    """Code, cause and remedy: on stderr for people, as an object on stdout for programs."""
    if as_json:
        print_json({"error": error.as_dict()})
        return
    told = {"error": error.cause, "remedy": error.remedy, "where": _user_line(error)}
    said = [(word, Text(text)) for word, text in told.items() if text]
    screen = console(stderr=True)
    if screen.is_terminal:
        rows = Table.grid(padding=(0, 1))
        for word, text in said:
            rows.add_row(Text(word, STYLES[word]), text)
        screen.print(rows)
    else:
        for word, text in said:
            screen.print(Text(f"{word:6} ").append_text(text), soft_wrap=True)
    screen.print(Text(f"[{error.code}]", "dim"))


def _user_line(error: BaseException | None) -> str:
    """The innermost line of the user's own code behind an error, if it is that which failed."""
    codes = set()
    while isinstance(error, TacitError):
        codes.add(error.code)
        error = error.__cause__
    if error is None or codes.isdisjoint(USER_CODE):
        return ""
    others = (str(Path(tacit.__file__).parent), sysconfig.get_path("stdlib"), "<")
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(others) and "site-packages" not in frame.filename
    ]
    return f"{frames[-1].filename}, line {frames[-1].lineno}: {frames[-1].line}" if frames else ""


def heading(screen: Console, text: str) -> None:
    """A title with an empty line above it."""
    screen.print()
    screen.print(Text(text, "bold"))


def bullets(screen: Console, texts: Iterable[str], mark: str = "-") -> None:
    """Sentences that keep their indent when they wrap."""
    rows = Table.grid(padding=(0, 1))
    rows.add_column(no_wrap=True)
    rows.add_column(overflow="fold")
    for text in texts:
        rows.add_row(mark, Text(text))
    _print(screen, rows, 2)


def grid(columns: Sequence[str], rows: Iterable[Sequence[str]], words: Sequence[str] = ()) -> Table:
    """A plain table: `words` are the columns that hold text; numbers stand to the right."""
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim", padding=(0, 1)
    )
    for name in columns:
        table.add_column(
            name,
            justify="left" if name in words else "right",
            overflow="fold",
            no_wrap=name not in words,
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def show_grid(screen: Console, table: Table) -> None:
    """A table, indented like sentences."""
    _print(screen, table, 2)


def _print(screen: Console, shown: RenderableType, indent: int) -> None:
    """Print with an indent, and in files without the blanks that fill lines up."""
    padded = Padding(shown, (0, 0, 0, indent), expand=False)
    if screen.is_terminal:
        screen.print(padded)
        return
    with screen.capture() as captured:
        screen.print(padded)
    for line in captured.get().splitlines():
        click.echo(line.rstrip(), err=screen.stderr)


def number(value: float | None, digits: int = 3) -> str:
    """A number for people; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.{digits}f}"
