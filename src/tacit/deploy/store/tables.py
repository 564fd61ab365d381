"""The schema of a coordinator's database, in SQLAlchemy Core. What must hold is constrained here.

A change of a table needs a revision in `migrations/versions` and its name in `REVISIONS`.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

REVISIONS: Final = ("0001", "0002", "0003")
"""Every schema there was, oldest first."""

HEAD: Final = REVISIONS[-1]

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

ROLES: Final = "role IN ('operator', 'client', 'researcher', 'auditor')"


def _member(name: str, *, nullable: bool = False) -> Column[str]:
    # Deferred: an invitation is redeemed before the member that it makes is added.
    key = ForeignKey("members.id", deferrable=True, initially="DEFERRED")
    return Column(name, String(32), key, nullable=nullable)


members = Table(
    "members",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("role", String(20), nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("enrolled", Double, nullable=False),
    Column("revoked", Double),
    CheckConstraint(ROLES, name="role"),
)

invitations = Table(
    "invitations",
    metadata,
    Column("code_hash", String(64), primary_key=True),
    Column("role", String(20), nullable=False),
    Column("name", String(100)),
    Column("expires", Double, nullable=False),
    _member("by", nullable=True),
    _member("used_by", nullable=True),
    Column("used", Double),
    CheckConstraint(ROLES, name="role"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("description", Text, nullable=False),
    _member("by"),
    Column("submitted", Double, nullable=False),
    Column("seed", BigInteger),
    Column("clients", Text, nullable=False),
    Column("dataset", String(100), nullable=False),
    Column("status", String(20), nullable=False),
    Index(None, "status"),
    Index(None, "submitted", "id"),
)

journal = Table(
    "journal",
    metadata,
    Column("run", String(32), ForeignKey("runs.id"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("body", Text, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("run", String(32), ForeignKey("runs.id"), primary_key=True),
    Column("holder", String(100), nullable=False),
    Column("until", Double, nullable=False),
)

vouches = Table(
    "vouches",
    metadata,
    Column("subject", String(32), ForeignKey("members.id"), primary_key=True),
    Column("by", String(32), ForeignKey("members.id"), primary_key=True),
    Column("signature", LargeBinary, nullable=False),
)

blobs = Table(
    "blobs",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

versions = Table(
    # Alembic's own; here so that a new database is stamped without loading Alembic.
    "alembic_version",
    MetaData(naming_convention={"pk": "%(table_name)s_pkc"}),
    Column("version_num", String(32), primary_key=True),
)
