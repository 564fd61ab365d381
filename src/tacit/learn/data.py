"""What users reach as `tacit.data`: the data contract, example data, and partitions."""

from __future__ import annotations

from pathlib import Path

from tacit.learn.column import Column, Label
from tacit.learn.examples import Examples, clients, examples
from tacit.learn.federated_data import FederatedData
from tacit.learn.heart import heart_disease, heart_disease_flamby, heart_disease_schema
from tacit.learn.mapping import ColumnSource, SiteMapping
from tacit.learn.mismatch import Notice
from tacit.learn.mock import mock, mock_table
from tacit.learn.partition import by_column, dirichlet, iid, quantity, shards, split, stratified
from tacit.learn.public import (
    WholeData,
    cifar10,
    fashion_mnist,
    femnist,
    mnist,
    shakespeare,
)
from tacit.learn.schema import Schema
from tacit.learn.schema_toml import mapping_from_toml, schema_from_toml, schema_to_toml
from tacit.learn.summary import Summary, summary
from tacit.learn.table import FileFormat, Table, read_table

__all__ = [
    "Column",
    "ColumnSource",
    "FederatedData",
    "FileFormat",
    "Label",
    "Notice",
    "Schema",
    "SiteMapping",
    "Summary",
    "Table",
    "WholeData",
    "by_column",
    "cifar10",
    "clients",
    "dirichlet",
    "examples",
    "fashion_mnist",
    "femnist",
    "heart_disease",
    "heart_disease_flamby",
    "heart_disease_schema",
    "iid",
    "mapping_from_toml",
    "mnist",
    "mock",
    "mock_table",
    "quantity",
    "read_site",
    "read_table",
    "schema_from_toml",
    "schema_to_toml",
    "shakespeare",
    "shards",
    "split",
    "stratified",
    "summary",
]


def read_site(
    path: str | Path, schema: Schema, mapping: SiteMapping | None = None, name: str | None = None
) -> Examples:
    """A site's own CSV file as the federation's examples.

    `name` is the site's name in errors (by default the file's name without its ending). Raises
    the first mismatch, without cells, as it may travel; `tacit data check` shows all of them.
    """
    path, mapping = Path(path), mapping or SiteMapping()
    client = name or path.stem
    table = read_table(path, mapping.file, client)
    return schema.encode(mapping.translate(table, schema.table_columns, client), client)
