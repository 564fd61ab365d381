"""Where a simulation finds its data: the user's own functions, folders of tables, bundled sets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.nearest import did_you_mean
from tacit.learn.code import load, user_code
from tacit.learn.data import read_site
from tacit.learn.examples import Clients, NamedClients, as_clients
from tacit.learn.heart import heart_disease, heart_disease_flamby
from tacit.learn.mapping import SiteMapping
from tacit.learn.partition import stratified
from tacit.learn.schema import Schema
from tacit.learn.schema_toml import mapping_from_toml
from tacit.plan.federation import Federation

BUNDLED: dict[str, Callable[[], Any]] = {
    "heart_disease": heart_disease,
    "heart_disease_flamby": heart_disease_flamby,
}
"""Data sets that come with tacit."""

DATA, TEST = "data", "test_data"
"""The functions that are looked for in the module beside a description."""


class Source(NamedTuple):
    """Training and test data (None: without), and where they come from, in words."""

    train: Any
    test: Any
    told: str


def find(description: Path, federation: Federation, data: str | None, test: str | None) -> Source:
    """The data that a user named by `--data` and `--test`, or what lies beside the description."""
    name = data or _beside(description)
    held = _held(name, "--data", federation)
    told = f"data from {_words(name)}"
    if test is None:
        return _with_usual_test(Source(held, None, told), name)
    fraction = _fraction(test)
    if fraction is not None:
        classes = federation.data.classes if federation.data else 0
        train, tested = hold_out(as_clients(held), fraction, stratify=classes > 0)
        return Source(train, tested, f"{told}; {fraction:.0%} of each client's records test")
    return Source(held, _held(test, "--test", federation), f"{told}; test data from {_words(test)}")


def hold_out(
    clients: Clients, fraction: float, *, stratify: bool
) -> tuple[NamedClients, NamedClients]:
    """A fixed part of each client's records to test on, with its share of every class."""
    parts: list[tuple[Any, Any]] = []
    names = tuple(clients.name(i) for i in range(len(clients)))
    for i, name in enumerate(names):
        held = clients.examples(i)
        labels = held.y if stratify and held.y.ndim == 1 else np.zeros(held.count)
        train, test = stratified(labels, fraction, Key.seed(0) / "test" / name)
        if not (len(train) and len(test)):
            raise TacitError(
                "run.no-test-split",
                client=name,
                fraction=fraction,
                train=len(train),
                test=len(test),
            )
        parts.append((held.take(train), held.take(test)))
    train_parts, test_parts = zip(*parts, strict=True) if parts else ((), ())
    return NamedClients(names, train_parts), NamedClients(names, test_parts)


def _beside(description: Path) -> str:
    """`module:data` for the module with the description's own name, if it defines it."""
    file = description.with_suffix(".py")
    if not (description.stem.isidentifier() and file.is_file()):
        raise TacitError("run.no-data", file=file, function=DATA)
    return f"{description.stem}:{DATA}"


def _with_usual_test(source: Source, name: str) -> Source:
    """Test data that comes with the training data, or from `test_data()` in the same module."""
    if hasattr(source.train, "test"):
        return source._replace(told=f"{source.told}, with its test records")
    module, colon, _ = name.partition(":")
    if not colon or not hasattr(sys.modules.get(module), TEST):
        return source
    other = f"{module}:{TEST}"
    return Source(source.train, _call(other), f"{source.told}; test data from {_words(other)}")


def _held(given: str, option: str, federation: Federation) -> Any:
    if given in BUNDLED:
        return BUNDLED[given]()
    if Path(given).is_dir():
        return read_folder(Path(given), federation)
    if ":" in given:
        return _call(given)
    hint = did_you_mean(given, BUNDLED)
    raise TacitError(
        "run.data-source", option=option, given=given, hint=hint, known=", ".join(BUNDLED)
    )


def _call(name: str) -> Any:
    function = load(name)
    with user_code(name, "called"):
        return function()


def read_folder(folder: Path, federation: Federation) -> dict[str, Any]:
    """One CSV file a client, read through the schema and, if there is one, NAME.mapping.toml."""
    schema = federation.data
    if not isinstance(schema, Schema):
        raise TacitError("run.not-tables", kind=getattr(schema, "kind", "none"))
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise TacitError("run.no-csv", folder=folder)
    return {file.stem: read_site(file, schema, _mapping(file), file.stem) for file in files}


def _mapping(table: Path) -> SiteMapping | None:
    file = table.with_suffix(".mapping.toml")
    if not file.is_file():
        return None
    try:
        return mapping_from_toml(file.read_text("utf-8"), file.name)
    except UnicodeDecodeError as wrong:
        raise TacitError("description.syntax", file=file.name, problem=wrong) from wrong


def _fraction(given: str) -> float | None:
    try:
        fraction = float(given)
    except ValueError:
        return None
    if not 0 < fraction < 1:
        rule = "a fraction between 0 and 1"
        raise TacitError("task.setting", name="--test", value=given, rule=rule)
    return fraction


def _words(name: str) -> str:
    if name in BUNDLED:
        return f"the bundled set {name}"
    if Path(name).is_dir():
        return f"the CSV files in {name}"
    module, _, function = name.partition(":")
    return f"{function}() in {module}.py"
