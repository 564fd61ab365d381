"""Schemas and mappings as TOML text; an error names the file, the line and the nearest name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from typing import Any

from tacit.base import toml
from tacit.base.errors import TacitError
from tacit.base.plain import Path, from_plain, place, to_plain, unknown
from tacit.learn.column import Column, Label
from tacit.learn.mapping import ColumnSource, SiteMapping
from tacit.learn.schema import Schema
from tacit.learn.table import FileFormat


def schema_from_toml(text: str, file: str = "schema.toml") -> Schema:
    """A schema out of its own TOML file, or out of the `[data]` table of a federation's.

    Raises `description.syntax`, `data.no-schema`, or the error of what stands in one line, with
    that line.
    """
    return toml.loads(text, partial(_schema, file), file)


def schema_to_toml(schema: Schema) -> str:
    """A schema as TOML; settings that have their default value are left out."""
    plain = {
        "kind": Schema.kind,
        "drop_first": schema.drop_first,
        "columns": [_lean(column) for column in schema.columns],
        "label": _lean(schema.label),
    }
    return toml.dumps(plain)


def mapping_from_toml(text: str, file: str = "mapping.toml") -> SiteMapping:
    """A site's mapping: `[file]` says how the table is written, `[columns.NAME]` where a column is.

    Raises `description.syntax`, or the error of what stands in one line, with that line.
    """
    return toml.loads(text, partial(_mapping, text), file)


def _schema(file: str, plain: dict[str, Any]) -> Schema:
    data = plain.get("data")
    path: Path = ("data",) if isinstance(data, Mapping) and "columns" not in plain else ()
    held: Any = data if path else plain
    kind = held.get("kind", Schema.kind)
    if kind != Schema.kind:
        raise _no_schema(file, f"its data is of the kind {kind!r}")
    if "columns" not in held or "label" not in held:
        raise _no_schema(file, "it lacks columns or a label")
    return from_plain(Schema, held, path)


def _mapping(text: str, plain: dict[str, Any]) -> SiteMapping:
    for name in plain.keys() - {"file", "columns"}:
        raise unknown(name, ("file", "columns"), ())
    form = from_plain(FileFormat, plain.get("file", {}), ("file",))
    return SiteMapping(form, _sources(plain.get("columns", {})), text)


def _no_schema(file: str, problem: str) -> TacitError:
    return TacitError("data.no-schema", file=file, problem=problem, bundled="heart_disease")


def _lean(value: Column | Label) -> dict[str, Any]:
    """Plain data without the settings that have their default value."""
    plain: dict[str, Any] = to_plain(value)
    defaults = {f.name: to_plain(f.default) for f in fields(value)}
    return {name: held for name, held in plain.items() if held != defaults[name]}


def _sources(columns: Any) -> dict[str, ColumnSource]:
    if not isinstance(columns, Mapping):
        path: Path = ("columns",)
        raise TacitError("description.type", place="columns", path=path, problem="not a table")
    return {name: _source(held, ("columns", name)) for name, held in columns.items()}


def _source(held: Any, path: Path) -> ColumnSource:
    """A column's source; its `source` is called `from` in the file, a word that Python keeps."""
    if not isinstance(held, Mapping):
        return from_plain(ColumnSource, held, path)
    if "source" in held:
        raise unknown("source", _source_keys(), path)
    renamed = {("source" if name == "from" else name): value for name, value in held.items()}
    try:
        return from_plain(ColumnSource, renamed, path)
    except TacitError as error:
        raise _renamed(error) from error


def _renamed(error: TacitError) -> TacitError:
    path = tuple("from" if step == "source" else step for step in error.facts.get("path", ()))
    facts: dict[str, Any] = {"path": path}
    if "place" in error.facts:
        facts["place"] = place(path)
    if "known" in error.facts:
        facts["known"] = ", ".join(_source_keys())
    return error.named(**facts)


def _source_keys() -> list[str]:
    return sorted("from" if f.name == "source" else f.name for f in fields(ColumnSource))
