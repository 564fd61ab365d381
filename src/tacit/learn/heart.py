"""Heart disease at four hospitals (UCI, CC BY 4.0): real sites that really differ.

The bundled files and their licence are described in datasets/heart_disease/ATTRIBUTION.md.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from importlib.resources import as_file, files
from typing import Literal

import numpy as np

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.learn.contract import Arrays
from tacit.learn.examples import Examples, NamedClients
from tacit.learn.federated_data import FederatedData
from tacit.learn.partition import stratified
from tacit.learn.schema import Schema
from tacit.learn.schema_toml import mapping_from_toml, schema_from_toml
from tacit.learn.table import read_table

HOSPITALS = {
    "Cleveland": ("processed.cleveland.data", "mapping_cleveland.toml"),
    "Budapest": ("processed.hungarian.data", "mapping_budapest.toml"),
    "Zurich": ("processed.switzerland.data", "mapping_zurich.toml"),
    "Long Beach": ("processed.va.data", "mapping_long_beach.toml"),
}
"""Each hospital's own file and the mapping of that file to the schema."""

FLAMBY_FILE = "flamby_split.csv.gz"

SHA256 = {
    FLAMBY_FILE: "7a75f28d2411e5fc35ccd3dc7485852dc2bb5c31263b5b20b132a808b397849d",
    "processed.cleveland.data": "a74b7efa387bc9d108d7d0115d831fe9b414b29ae7124f331b622b4efa0427c8",
    "processed.hungarian.data": "d1ad108f785768cd3d7e82dc522e6f5a61eea93cccfb3a46ee8076f73fc3d796",
    "processed.switzerland.data": (
        "834a405ccf5b66ab4056bb77794adc8df0b7125186454c0a1d002d33c6c3b314"
    ),
    "processed.va.data": "e7c93d8d0d2acdadfa4c5e8de768e2191e7f618b952e29623f1f0d5949ff6b8f",
}

_FOLDER = files("tacit.learn") / "datasets" / "heart_disease"
_TEST_FRACTION = 0.34


def heart_disease_schema() -> Schema:
    """Ten columns as 15 features; the label is disease (angiographic grade above 0) or none."""
    return schema_from_toml((_FOLDER / "schema.toml").read_text("utf-8"))


def heart_disease() -> FederatedData[Schema]:
    """All 920 records of four hospitals through one schema and each hospital's own mapping.

    Cleveland 303, Budapest 294, Zurich (with Basel) 123, Long Beach 200. The test records are a
    fixed 34 % of each hospital, stratified by label. Raises `data.corrupt` if a bundled file is
    not the released one.

    Source: Janosi, Steinbrunn, Pfisterer, Detrano 1988, UCI Machine Learning Repository.
    """
    schema = heart_disease_schema()
    held = {name: _hospital(name, schema) for name in HOSPITALS}
    parts = {
        name: stratified(one.y, _TEST_FRACTION, Key.seed(0) / "heart disease" / name)
        for name, one in held.items()
    }
    train, test = (
        NamedClients(tuple(held), tuple(held[name].take(parts[name][fold]) for name in held))
        for fold in (0, 1)
    )
    return FederatedData(schema, train, test)


def heart_disease_flamby(scaling: Literal["centre", "pooled"] = "centre") -> FederatedData[Arrays]:
    """The 740 complete records under the protocol of FLamby's Fed-Heart-Disease.

    13 features, train and test fold as published, standardised by the mean and the (unbiased)
    standard deviation of training records: of each hospital's own (`"centre"`, FLamby's federated
    strategies), or of all of them (`"pooled"`, FLamby's pooled baseline). Either is a statistic of
    the records, so this is for comparison with published figures, not for record-level privacy. A
    feature that is constant over a hospital's records (Zurich's cholesterol) is divided by 1.

    Source: du Terrail et al. 2022, "FLamby: Datasets and Benchmarks for Cross-Silo Federated
    Learning in Realistic Healthcare Settings".
    """
    header, *rows = csv.reader(gzip.decompress(bundled(FLAMBY_FILE)).decode().splitlines())
    assert header[:2] == ["center", "fold"] and header[-1] == "label"
    center = np.array([int(row[0]) for row in rows])
    train = np.array([row[1] == "train" for row in rows])
    values = np.array([row[2:] for row in rows], np.float64)
    examples = Examples(values[:, :-1], values[:, -1].astype(np.int64))
    folds = []
    for i in range(len(HOSPITALS)):
        here = center == i
        known = examples.take(train if scaling == "pooled" else here & train)
        fold = (examples.take(here & train), examples.take(here & ~train))
        folds.append(tuple(_standardised(known, one) for one in fold))
    names = tuple(HOSPITALS)
    schema = Arrays(shape=examples.x.shape[1:], classes=2)
    return FederatedData(
        schema,
        NamedClients(names, tuple(fold[0] for fold in folds)),
        NamedClients(names, tuple(fold[1] for fold in folds)),
    )


def bundled(name: str) -> bytes:
    """The bytes of a bundled file, or `data.corrupt` if they are not the released ones."""
    content = (_FOLDER / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256[name]:
        raise TacitError("data.corrupt", file=name)
    return content


def _hospital(name: str, schema: Schema) -> Examples:
    """One hospital's records, read as that hospital itself would read its own file."""
    file, mapping_file = HOSPITALS[name]
    bundled(file)
    mapping = mapping_from_toml((_FOLDER / mapping_file).read_text("utf-8"), mapping_file)
    with as_file(_FOLDER / file) as path:
        table = read_table(path, mapping.file, name)
    return schema.encode(mapping.translate(table, schema.table_columns, name), name)


def _standardised(known: Examples, held: Examples) -> Examples:
    """`held` by the mean and spread of `known`."""
    mean, spread = known.x.mean(axis=0), known.x.std(axis=0, ddof=1)
    return Examples((held.x - mean) / np.where(spread == 0, 1.0, spread), held.y)
