"""Approving the code of researchers: what a run wants, what lies here, what has changed.

Nothing is imported or run to find out. An approved source is kept, so that the next version can be
shown as what differs from the one that was read before.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

from tacit.base.atomic import write_atomically
from tacit.base.errors import TacitError
from tacit.deploy.client.home import Home
from tacit.deploy.client.owner import read_policy
from tacit.plan.federation import Federation

State: TypeAlias = Literal["approved", "new", "changed", "differs", "missing"]
"""approved: nothing to do. new: never approved before. changed: another version of it was.
differs: the copy here is not the one that the run wants. missing: there is no copy here."""

_ENTRY = re.compile(r"([\w.]+:[\w.]+) sha256:([0-9a-f]{64})")
_LIST = re.compile(r'^code[ \t]*=[ \t]*\[(?:[^\]"#]|"[^"]*"|#[^\n]*\n)*\]', re.MULTILINE)


@final
@dataclass(frozen=True)
class Wanted:
    """A piece of code that a run wants: "module:function" and the SHA-256 (hex) of its source.

    `file`: the copy here. `diff`: unified, from the version that was approved last (nothing if
    none was) to the copy here; characters that a terminal would obey or hide are escaped.
    """

    name: str
    digest: str
    state: State
    file: Path | None
    diff: str

    @property
    def entry(self) -> str:
        """The policy's words for approving it."""
        return f"{self.name} sha256:{self.digest}"


def wanted(home: Home, federation: Federation, folders: Sequence[Path] = ()) -> tuple[Wanted, ...]:
    """The code that a federation's clients would run, compared with what is here and approved.

    `folders`: where the owner keeps the code of researchers, besides where Python looks.
    """
    approved = read_policy(home).code
    entries = filter(None, federation.task.code.split(", "))
    return tuple(_compared(home, entry, approved, folders) for entry in entries)


def approve(home: Home, found: Sequence[Wanted]) -> tuple[str, ...]:
    """Approve what was shown: keep the sources, and write the policy's `code`; the new entries.

    Raises `policy.code-missing` or `policy.code-differs` before anything is written, and
    `policy.edit` if the file must be edited by hand. A source that changed since it was shown is
    not approved.
    """
    new = [one for one in found if one.state != "approved"]
    sources = [_reviewed(one) for one in new]
    for one, source in zip(new, sources, strict=True):
        (home.folder / "approved").mkdir(mode=0o700, exist_ok=True)
        write_atomically(_kept(home, one.digest), source)
    entries = tuple(one.entry for one in new)
    if entries:
        _write(home.policy, (*read_policy(home).code, *entries))
    return entries


def source_file(name: str, folders: Sequence[Path] = ()) -> Path | None:
    """The file behind "module:function", found without running any of it."""
    path: Sequence[str] | None = [*map(str, folders), *sys.path]
    spec = None
    module = name.partition(":")[0]
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        spec = None if path is None else PathFinder.find_spec(".".join(parts[:end]), list(path))
        if spec is None:
            return None
        path = spec.submodule_search_locations
    origin = spec.origin if spec is not None else None
    return Path(origin) if origin and origin.endswith(".py") else None


def source_digest(source: bytes) -> str:
    """The name of a source, as `tacit.learn.code` digests it: with Unix newlines."""
    return hashlib.sha256(_unix(source)).hexdigest()


def _compared(home: Home, entry: str, approved: Sequence[str], folders: Sequence[Path]) -> Wanted:
    matched = _ENTRY.fullmatch(entry)
    if matched is None:
        raise TacitError("policy.code-name", entry=entry)
    name, digest = matched.groups()
    file = source_file(name, folders)
    source = None if file is None else file.read_bytes()
    before = [old for old in map(_ENTRY.fullmatch, approved) if old and old[1] == name]
    diff = "" if source is None else _diff(home, name, before[-1][2] if before else "", source)
    return Wanted(name, digest, _state(entry, digest, source, approved, bool(before)), file, diff)


def _state(
    entry: str, digest: str, source: bytes | None, approved: Sequence[str], before: bool
) -> State:
    if source is None:
        return "missing"
    if source_digest(source) != digest:
        return "differs"
    if entry in approved:
        return "approved"
    return "changed" if before else "new"


def _reviewed(one: Wanted) -> bytes:
    source = None if one.file is None else one.file.read_bytes()
    if source is None:
        raise TacitError("policy.code-missing", name=one.name)
    if source_digest(source) != one.digest:
        found = source_digest(source)
        facts = {"expected": one.digest[:12], "found": found[:12]}
        raise TacitError("policy.code-differs", name=one.name, file=one.file, **facts)
    return _unix(source)


def _diff(home: Home, name: str, before: str, source: bytes) -> str:
    kept = _kept(home, before)
    old = kept.read_bytes() if before and kept.is_file() else b""
    lines = difflib.unified_diff(
        list(_lines(old)),
        list(_lines(source)),
        f"{name} (approved)" if old else "nothing",
        f"{name} (here)",
        lineterm="",
    )
    return "\n".join(lines)


def _lines(source: bytes) -> Iterator[str]:
    """Lines as they can be shown: code must not hide from the one who reads it."""
    for line in _unix(source).decode("utf-8", "backslashreplace").split("\n"):
        yield "".join(c if c.isprintable() or c == "\t" else _escaped(c) for c in line)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _unix(source: bytes) -> bytes:
    return source.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _kept(home: Home, digest: str) -> Path:
    return home.folder / "approved" / f"{digest}.py"


def _write(policy: Path, code: Sequence[str]) -> None:
    """Replace the list in the file and nothing else; comments stay."""
    text = policy.read_text("utf-8")
    listed = "".join(f'    "{entry}",\n' for entry in code)
    edited, count = _LIST.subn(lambda _: f"code = [\n{listed}]", text, count=1)
    if count != 1 or _parsed(edited) != {**tomllib.loads(text), "code": list(code)}:
        raise TacitError("policy.edit", file=policy, entries=", ".join(f'"{e}"' for e in code))
    rights = policy.stat().st_mode
    write_atomically(policy, edited)
    policy.chmod(rights & 0o777)


def _parsed(text: str) -> dict[str, Any]:
    """Nothing if it is no TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}
