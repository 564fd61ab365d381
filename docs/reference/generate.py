"""Writes the generated pages of the reference: `python -m docs.reference.generate`.

`errors.md` says every error with its cause and remedy, `cli.md` every command, `api.md` every route
of a coordinator, `policy.md` every setting of an owner's policy. Tests compare the pages with what
is generated, so they cannot go stale.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from pathlib import Path

import click

from tacit.base.catalogue import CATALOGUE, Entry
from tacit.cli.main import main as command_line
from tacit.deploy.client.owner import TEMPLATE
from tacit.deploy.coordinator.api import ROUTES, STREAM, Route
from tacit.deploy.wire.messages import Message

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

_API = """\
# Routes of a coordinator

JSON over HTTPS; vectors travel as files. Whoever is not public signs each request (RFC 9421, with
`Content-Digest`), and the role of the key decides. A coordinator serves the schemas of all messages
at `/openapi.json`. This page is generated: `make docs`.

| route | who may | takes | gives | |
|---|---|---|---|---|
"""

_POLICY = """\
# An owner's policy

The settings of `policy.toml` in a client's folder, with their defaults. `tacit join` writes the
file with these comments, and the client reads it anew before every decision. What to think about
when changing it is told in [own your data](../how-to/own-your-data.md). This page is generated:
`make docs`.
"""

_PART = re.compile(r"# --- (?P<title>[^-]+) -+")
_TABLE = re.compile(r"(?:# )?\[(?P<name>[\w.]+)\] +# (?P<says>.+)")
_SETTING = re.compile(r"(?:# )?(?P<name>\w+) = (?P<value>.+?) +# (?P<says>.+)")


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


def api_page() -> str:
    """The routes as a Markdown table, in the order of the coordinator's own."""
    return _API + "".join(_route(route) for route in ROUTES)


def _route(route: Route) -> str:
    roles = "everybody" if route.roles is None else ", ".join(sorted(route.roles))
    takes = f"{route.takes.__name__}" if route.takes not in (None, bytes) else ""
    takes = takes or ("a stream" if route.limit == STREAM else "")
    asked = f"?{'&'.join(route.query.__struct_fields__)}" if route.query else ""
    cells = (f"`{route.method} {route.path}{asked}`", roles, takes, _given(route), route.says)
    return f"| {' | '.join(cells)} |\n"


def _given(route: Route) -> str:
    if isinstance(route.gives, str):
        return route.gives
    kinds: tuple[type[Message], ...] = (
        route.gives if isinstance(route.gives, tuple) else (route.gives,)
    )
    return " or ".join(kind.__name__ for kind in kinds)


def policy_page() -> str:
    """The settings of the template of `policy.toml`, one table a part."""
    return "".join([_POLICY, *_settings(TEMPLATE)])


def _settings(template: str) -> Iterator[str]:
    for line in template.splitlines():
        if part := _PART.match(line):
            yield f"\n## {part['title']}\n\n| setting | default | |\n|---|---|---|\n"
        elif table := _TABLE.match(line):
            yield f"| `[{table['name']}]` | | {table['says']} |\n"
        elif setting := _SETTING.match(line):
            bound = line.startswith("#") and setting["name"] == "epsilon"
            default = "no limit" if bound else f"`{setting['value']}`"
            yield f"| `{setting['name']}` | {default} | {setting['says']} |\n"


PAGES = {
    "errors.md": errors_page,
    "cli.md": cli_page,
    "api.md": api_page,
    "policy.md": policy_page,
}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
