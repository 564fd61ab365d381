"""Writes the generated pages of the reference: `python -m docs.reference.generate`.

`errors.md` says every error with its cause and remedy; `cli.md` says every command. Tests compare
both pages with what is generated, so they cannot go stale.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from pathlib import Path

import click

from tacit.base.catalogue import CATALOGUE, Entry
from tacit.cli.main import main as command_line

HERE = Path(__file__).parent

_ERRORS = """\
# Errors

Every error names its code, its cause and its remedy; `error.facts` holds what stands in the
`{places}`. This page is generated: `make docs`.
"""

_CLI = """\
# Commands

This page is generated: `make docs`.
"""


def errors_page() -> str:
    """The catalogue of errors as Markdown, one section an area."""
    areas: dict[str, list[str]] = {}
    for code, entry in CATALOGUE.items():
        areas.setdefault(code.partition(".")[0], []).append(_error(code, entry))
    sections = [f"## {area}\n\n" + "\n".join(entries) for area, entries in areas.items()]
    return "\n".join([_ERRORS, *sections])


def _error(code: str, entry: Entry) -> str:
    return f"### {code}\n\n{_plain(entry.cause)}\n\n**Remedy:** {_plain(entry.remedy)}\n"


def _plain(sentence: str) -> str:
    """A sentence of the catalogue as Markdown: places without their formats, letters escaped."""
    places = string.Formatter().parse(sentence)
    text = "".join(words if name is None else f"{words}{{{name}}}" for words, name, _, _ in places)
    spans = text.split("`")
    spans[::2] = [re.sub(r"([\\<*_])", r"\\\1", span) for span in spans[::2]]
    return "`".join(spans)


def cli_page() -> str:
    """The tree of commands as Markdown, one section a command, as `--help` prints it."""
    root = click.Context(
        command_line,
        info_name="tacit",
        terminal_width=88,
        max_content_width=88,
        **command_line.context_settings,
    )
    return "\n".join([_CLI, *_sections(command_line, root)])


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from _sections(child, click.Context(child, context, info_name=name))


PAGES = {"errors.md": errors_page, "cli.md": cli_page}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
