"""Where a key stands in a TOML text: the line to name in an error about it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, final

from tacit.base.plain import Path

_TOKEN = re.compile(
    r'''
      (?P<quoted>"""(?:\\.|[^\\])*?"""(?:"{0,2})|\'\'\'.*?\'\'\'(?:'{0,2})
                |"(?:\\.|[^"\\\n])*"|'[^'\n]*')
    | (?P<skip>\#[^\n]*|[ \t\r]+)
    | (?P<newline>\n)
    | (?P<mark>[\[\]{}=,.])
    | (?P<bare>[^\s\[\]{}=,."'\#]+)
    ''',
    re.VERBOSE | re.DOTALL,
)


def line_of(text: str, path: Path) -> int | None:
    """The line (from 1) of the key, table or list item at `path`; None if it is not written.

    `text` is valid TOML. `("columns", 2, "low")` is the key `low` of the third `[[columns]]` (or
    of the third inline table of `columns = [...]`), as `tomllib.loads` would find it.
    """
    return _Scan.of(text).found.get(path)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


_END = _Token("end", "", 0)


@final
@dataclass
class _Scan:
    """One pass over the tokens; `found` collects the line of every path."""

    tokens: list[_Token]
    at: int = 0
    found: dict[Path, int] = field(default_factory=dict)
    items: dict[Path, int] = field(default_factory=dict)

    @staticmethod
    def of(text: str) -> _Scan:
        scan = _Scan(list(_tokens(text)))
        table: Path = ()
        while (token := scan.peek()) is not _END:
            if token.kind == "newline":
                scan.at += 1
            elif token.text == "[" and token.kind == "mark":
                table = scan.header()
            else:
                scan.pair(table)
        return scan

    def peek(self) -> _Token:
        return self.tokens[self.at] if self.at < len(self.tokens) else _END

    def take(self) -> _Token:
        token = self.peek()
        self.at += 1
        return token

    def header(self) -> Path:
        """`[a.b]` or `[[a.b]]`: the path of the table that it opens."""
        line = self.take().line
        repeated = self.peek().text == "["
        self.at += repeated
        path: Path = ()
        for key in self.keys():
            path = self.entered((*path, key))
            self.found.setdefault(path, line)
        if repeated:
            path = path[:-1] if isinstance(path[-1], int) else path
            self.items[path] = self.items.get(path, 0) + 1
            path = self.entered(path)
        self.found[path] = line
        self.to_line_end()
        return path

    def entered(self, path: Path) -> Path:
        """A repeated table stands for its latest item."""
        return (*path, self.items[path] - 1) if path in self.items else path

    def pair(self, table: Path) -> None:
        """`key = value`; the key may be dotted."""
        line = self.peek().line
        path = table
        for key in self.keys():
            path = (*path, key)
            self.found.setdefault(path, line)
        self.value(path)

    def keys(self) -> list[str]:
        """A dotted key, up to and with the `=` or `]` that ends it."""
        keys = []
        while (token := self.take()) is not _END and token.text not in {"=", "]"}:
            if token.kind in {"quoted", "bare"}:
                keys.append(_unquoted(token))
        return keys

    def value(self, path: Path) -> None:
        """Walk over one value; lists and inline tables add the paths inside them."""
        opening = self.peek()
        if opening.kind == "mark" and opening.text in {"[", "{"}:
            self.at += 1
            self.inside(path, "]" if opening.text == "[" else "}")
            return
        while self.peek() is not _END and not _ends_scalar(self.peek()):
            self.at += 1

    def inside(self, path: Path, closing: str) -> None:
        """The items of a list or the pairs of an inline table, up to and with `closing`."""
        count = 0
        while (token := self.peek()) is not _END:
            if token.kind == "newline" or (token.kind == "mark" and token.text in {",", closing}):
                self.at += 1
                if token.text == closing:
                    return
            elif closing == "}":
                self.pair(path)
            else:
                self.found[*path, count] = token.line
                self.value((*path, count))
                count += 1

    def to_line_end(self) -> None:
        while self.peek().kind not in {"newline", "end"}:
            self.at += 1


def _ends_scalar(token: _Token) -> bool:
    return token.kind == "newline" or (token.kind == "mark" and token.text in {",", "]", "}"})


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        if kind != "skip":
            yield _Token(kind, match.group(), line)
        line += match.group().count("\n")


def _unquoted(token: _Token) -> str:
    if token.kind == "bare":
        return token.text
    return str(tomllib.loads(f"key = {token.text}")["key"])
