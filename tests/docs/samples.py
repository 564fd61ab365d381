"""Runs what a Markdown page shows: its files, its Python, and its `tacit` commands.

Blocks of one page run in order in one folder. What each kind of block does:

- `python`: executed; all of a page share one namespace. A first line `# file: app.py` writes the
  block to disk instead, where later blocks and commands find it.
- `toml`: a first line `# file: app.toml` writes it to disk.
- `console`, `bash`, `sh`: every `$ tacit ...` or `$ python ...` line runs and must succeed; a line
  that ends with `# exit 1` must end with that status.
- `<!-- not run: reason -->` on the line above leaves one block out.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import final

SHELLS = ("console", "bash", "sh")
LEFT_TO_THE_READER = ("cd", "git", "make", "pip", "source")

_FENCE = re.compile(r"^(?P<indent> *)```(?!`)(?P<language>[\w+-]*)")
_NOT_RUN = re.compile(r"<!--\s*not run\b:?\s*(?P<reason>.*?)\s*-->\s*$")
_FILE = re.compile(r"^#\s*file:\s*(?P<name>\S+)\s*$")
_STATUS = re.compile(r"\s+# exit (?P<status>\d+)\s*$")


@final
@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the page where the text starts."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The name that a first line `# file: NAME` gives."""
        match = _FILE.match(self.text.partition("\n")[0])
        return match["name"] if match and self.language in ("python", "toml") else None

    @property
    def runs(self) -> bool:
        """Whether anything is written or run for this block."""
        return self.file is not None or self.language in ("python", *SHELLS)


def blocks(page: str, also: tuple[str, ...] = ()) -> Iterator[Block]:
    """The blocks of a page that are run, in order, and those in these languages."""
    lines = iter(enumerate(page.splitlines(), start=1))
    above = ""
    for number, line in lines:
        if fence := _FENCE.match(line):
            block = Block(fence["language"], _body(lines, fence["indent"]), number + 1)
            if (block.runs or block.language in also) and not _left_out(above, number):
                yield block
        above = line if line.strip() else above


def _body(lines: Iterator[tuple[int, str]], indent: str) -> str:
    body: list[str] = []
    for _, line in lines:
        if line.strip() == "```":
            return "\n".join(body) + "\n"
        body.append(line.removeprefix(indent))
    raise ValueError("a block is not closed")


def _left_out(above: str, line: int) -> bool:
    note = _NOT_RUN.search(above)
    if note and not note["reason"]:
        raise ValueError(f"line {line}: 'not run' needs a reason")
    return note is not None


def commands(block: Block) -> Iterator[tuple[list[str], int]]:
    """The arguments and the expected status of every command of a shell block."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.startswith("$ ") or (block.language != "console" and line.strip()):
            status = _STATUS.search(line)
            arguments = shlex.split(line.removeprefix("$ "), comments=True)
            if arguments and arguments[0] not in LEFT_TO_THE_READER:
                yield _command(arguments, block.line), int(status["status"]) if status else 0


def _command(arguments: list[str], line: int) -> list[str]:
    match arguments:
        case ["tacit", *rest]:
            return [sys.executable, "-m", "tacit.cli.main", *rest]
        case ["python", *rest]:
            return [sys.executable, *rest]
    raise ValueError(f"the block at line {line} has a command that is not run: {arguments[0]}")


def run_page(page: str, source: Path, folder: Path) -> None:
    """Run every block of a page in `folder`, which is the working folder and on `sys.path`.

    Raises whatever a block raises; a traceback shows the line of the page.
    """
    module = ModuleType(f"page_{source.stem}")
    sys.modules[module.__name__] = module
    try:
        for block in blocks(page):
            _run(block, module, source, folder)
    finally:
        _forget(module.__name__, folder)


def _run(block: Block, module: ModuleType, source: Path, folder: Path) -> None:
    if block.file:
        path = folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, "utf-8")
    elif block.language == "python":
        # Blank lines in front, so that a traceback points into the page.
        code = compile("\n" * (block.line - 1) + block.text, str(source), "exec", dont_inherit=True)
        exec(code, module.__dict__)
    else:
        for arguments, status in commands(block):
            _shell(arguments, status, folder)


def _shell(arguments: list[str], status: int, folder: Path) -> None:
    done = subprocess.run(
        arguments,
        cwd=folder,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == status, (
        f"{shlex.join(arguments)} ended with {done.returncode}, the page says {status}\n"
        f"{done.stdout}\n{done.stderr}"
    )


def _forget(name: str, folder: Path) -> None:
    """Drop the page and the modules it wrote, so that no other page meets them."""
    written = [
        key
        for key, module in sys.modules.items()
        if str(getattr(module, "__file__", None) or "").startswith(str(folder))
    ]
    for key in (name, *written):
        del sys.modules[key]
