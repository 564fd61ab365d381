"""The schema of a client's own database, in SQLAlchemy Core."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

VERSION: Final = 1
"""Of this schema; a database with a higher one is refused."""

metadata = MetaData()

meta = Table("meta", metadata, Column("version", Integer, nullable=False))

runs = Table(
    "runs",
    metadata,
    Column("run", String(32), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("researcher", String(32), nullable=False),
    Column("researcher_name", String(100), nullable=False),
    Column("federation", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("dataset", String(100), nullable=False),
    Column("seed", Integer),
    Column("decision", String(10), nullable=False),
    Column("reasons", Text, nullable=False),
    Column("basis", String(64), nullable=False),
    Column("spends", Text, nullable=False),
    Column("told", Boolean, nullable=False),
    Column("place", Integer),
    Column("status", String(20), nullable=False),
    Column("at", Double, nullable=False),
    CheckConstraint("decision IN ('accept', 'refuse', 'leave')", name="decision"),
)

answers = Table(
    "answers",
    metadata,
    Column("run", String(32), primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("offer", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("size", Integer, nullable=False),
    Column("file", String(100), nullable=False),
    Column("pending", String(100)),
    Column("examples", Integer, nullable=False),
    Column("status", String(10), nullable=False),
    Column("code", String(60), nullable=False),
    Column("at", Double, nullable=False),
    CheckConstraint("status IN ('made', 'sent', 'included', 'discarded')", name="status"),
    Index("ix_answers_status", "status"),
)

memory = Table(
    "memory",
    metadata,
    Column("run", String(32), primary_key=True),
    Column("round", Integer, nullable=False),
    Column("file", String(100), nullable=False),
)

failures = Table(
    "failures",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run", String(32), nullable=False),
    Column("round", Integer, nullable=False),
    Column("code", String(60), nullable=False),
    Column("body", Text, nullable=False),
    Column("told", Boolean, nullable=False),
    Column("at", Double, nullable=False),
    Index("ix_failures_told", "told"),
)

peers = Table(
    "peers",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("key", LargeBinary, nullable=False),
    Column("name", String(100), nullable=False),
    Column("at", Double, nullable=False),
)

diary = Table(
    "diary",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("at", Double, nullable=False),
    Column("run", String(32), nullable=False),
    Column("round", Integer),
    Column("text", Text, nullable=False),
)
