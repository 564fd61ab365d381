"""The owner's data sets: registered by name at home, read by name, never named from outside."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

import numpy as np

from tacit.base.atomic import write_atomically
from tacit.base.errors import TacitError
from tacit.base.plain import from_plain, to_plain
from tacit.base.toml import dumps, loads
from tacit.deploy.client.home import Home
from tacit.learn.code import load as load_code
from tacit.learn.code import user_code
from tacit.learn.contract import DataContract
from tacit.learn.examples import Examples, examples
from tacit.learn.heart import heart_disease, heart_disease_flamby
from tacit.learn.inputs import columns_of
from tacit.learn.mapping import SiteMapping
from tacit.learn.schema import Schema
from tacit.learn.schema_toml import mapping_from_toml
from tacit.learn.table import Table, as_table, read_table
from tacit.plan.build import Plan

BUNDLED: dict[str, Callable[[], Any]] = {
    "heart_disease": heart_disease,
    "heart_disease_flamby": heart_disease_flamby,
}
"""Sets that come with tacit; "heart_disease:Zurich" is one hospital's training records."""

Form: TypeAlias = Literal["csv", "parquet", "npz", "function", "bundled"]

_SUFFIXES: dict[str, Form] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".data": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".npz": "npz",
}
_NAME = re.compile(r"\w[\w .@-]{0,99}")


@final
@dataclass(frozen=True)
class Source:
    """Where a data set is.

    `source`: the path of a CSV, Parquet or NPZ file (arrays `x` and `y`), the owner's own
    "module:function" that returns what `tacit.data.examples` takes, or a bundled "set:client".
    `mapping`: how a table's columns become the schema's. `label`: the label's column where there
    is no schema. `reads`: files and folders that the owner's function reads.
    """

    source: str
    mapping: str = ""
    label: str = ""
    reads: tuple[str, ...] = ()

    @property
    def form(self) -> Form:
        """What it is; raises `dataset.source`."""
        suffix = Path(self.source).suffix.lower()
        if suffix in _SUFFIXES:
            return _SUFFIXES[suffix]
        head, colon, _ = self.source.partition(":")
        if not colon:
            known = ", ".join(_SUFFIXES)
            raise TacitError("dataset.source", source=self.source, known=known)
        return "bundled" if head in BUNDLED else "function"


def add(home: Home, name: str, source: str, mapping: str | None = None, **more: Any) -> Source:
    """Register a data set under a name, if it can be read; another of that name is replaced.

    `more`: `label` and `reads` of `Source`. Errors: `dataset.name`, `dataset.source`, and those
    of reading it.
    """
    if not _NAME.fullmatch(name):
        raise TacitError("dataset.name", name=name)
    found = Source(source, _absolute(mapping) if mapping else "", **more)
    if found.form in {"csv", "parquet", "npz"}:
        found = Source(_absolute(source), found.mapping, found.label, found.reads)
    _probe(found, name)
    kept = {**registered(home), name: found}
    write_atomically(home.datasets, dumps({one: to_plain(held) for one, held in kept.items()}))
    return found


def registered(home: Home) -> dict[str, Source]:
    """All data sets by name, for the owner; raises the errors of a broken datasets.toml."""
    if not home.datasets.is_file():
        return {}
    return loads(_text(home.datasets), _sources, home.datasets.name)


def find(home: Home, name: str) -> Source:
    """A data set by its name; `dataset.unknown` names no other, since it may leave."""
    found = registered(home)
    if name not in found:
        raise TacitError("dataset.unknown", name=name)
    return found[name]


def load(home: Home, name: str, contract: DataContract | None, client: str = "site") -> Examples:
    """A data set as a contract wants it. The first mismatch is raised; it shows no cell."""
    return read(find(home, name), contract, client)


def check(
    home: Home, name: str, contract: DataContract | None, client: str = "site"
) -> tuple[TacitError, ...]:
    """Everything that keeps a data set from fitting, with cells and lines: for the owner alone."""
    source = find(home, name)
    try:
        if isinstance(contract, Schema) and source.form in {"csv", "parquet"}:
            mapping = _mapping(source)
            return contract.mismatches(_table(source, mapping, client), mapping, client)
        read(source, contract, client)
    except TacitError as wrong:
        return (wrong,)
    return ()


def read(source: Source, contract: DataContract | None, client: str) -> Examples:
    """A source's records under a contract, checked."""
    schema = contract if isinstance(contract, Schema) else None
    match source.form:
        case "csv" | "parquet" if schema is not None:
            mapping = _mapping(source)
            table = _table(source, mapping, client)
            columns = mapping.translate(table, schema.table_columns, client)
            held = schema.encode(columns, client)
        case "csv":
            raise TacitError("dataset.no-schema", client=client)
        case "parquet":
            held = examples(source.source, label=source.label or None, client=client)
        case "npz":
            held = _arrays(source, client)
        case "bundled":
            held = _bundled(source)
        case "function":
            label = source.label or None
            held = examples(_called(source), label=label, schema=schema, client=client)
    if contract is not None:
        contract.check(client, held)
    return held


def paths(source: Source) -> tuple[Path, ...]:
    """The files and folders that reading a source needs, beside code."""
    file = (source.source,) if source.form in {"csv", "parquet", "npz"} else ()
    mapping = (source.mapping,) if source.mapping else ()
    return tuple(map(Path, (*file, *mapping, *source.reads)))


@final
class Shelf:
    """Data sets as they were last read; read again when a file behind one has changed."""

    def __init__(self) -> None:
        self.sources: dict[str, tuple[Source, str]] = {}
        self.kept: dict[str, tuple[Any, Examples]] = {}

    def put(self, name: str, source: Source, client: str) -> None:
        """Say what a name means."""
        self.sources[name] = (source, client)

    def held(self, name: str, plan: Plan) -> Examples:
        """The records of a data set under a plan's contract."""
        source, client = self.sources[name]
        state = (source, plan.digest, _stamps(source))
        known = self.kept.get(name)
        if known is None or known[0] != state:
            known = self.kept[name] = (state, read(source, plan.federation.data, client))
        return known[1]


def _stamps(source: Source) -> tuple[tuple[int, int], ...]:
    found = [path.stat() for path in paths(source) if path.exists()]
    return tuple((one.st_size, one.st_mtime_ns) for one in found)


def _sources(plain: dict[str, Any]) -> dict[str, Source]:
    return {name: from_plain(Source, one, (name,)) for name, one in plain.items()}


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def _probe(source: Source, client: str) -> None:
    """Raise what reading it without a contract can find."""
    match source.form:
        case "csv" | "parquet":
            _table(source, _mapping(source), client)
        case "npz":
            _arrays(source, client)
        case "bundled":
            _bundled(source)
        case "function":
            _called(source)


def _mapping(source: Source) -> SiteMapping:
    if not source.mapping:
        return SiteMapping()
    file = Path(source.mapping)
    return mapping_from_toml(_text(file), file.name)


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as failed:
        problem = getattr(failed, "strerror", None) or "it is not UTF-8 text"
        raise TacitError("description.file", file=file.name, problem=problem) from failed


def _table(source: Source, mapping: SiteMapping, client: str) -> Table:
    if source.form == "csv":
        return read_table(Path(source.source), mapping.file, client)
    columns = columns_of(source.source, client)
    assert columns is not None
    return as_table(columns, client)


def _arrays(source: Source, client: str) -> Examples:
    file = Path(source.source)
    try:
        with np.load(file, allow_pickle=False) as arrays:
            x, y = arrays["x"], arrays["y"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as failed:
        why = getattr(failed, "strerror", None) or "it holds no plain arrays x and y"
        raise TacitError("dataset.npz", client=client, file=file.name, why=why) from failed
    return examples((x, y), client=client)


def _bundled(source: Source) -> Examples:
    name, _, client = source.source.partition(":")
    train = BUNDLED[name]().train
    if client not in train.names:
        known = ", ".join(f"{name}:{one}" for one in train.names)
        raise TacitError("dataset.source", source=source.source, known=known)
    held: Examples = train.examples(train.names.index(client))
    return held


def _called(source: Source) -> Any:
    function = load_code(source.source)
    with user_code(source.source, "called"):
        return function()
