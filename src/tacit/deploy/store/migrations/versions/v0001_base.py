"""Members, invitations, runs and their journals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ROLES = "role IN ('operator', 'client', 'researcher', 'auditor')"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "members",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("public_key", sa.LargeBinary, nullable=False),
        sa.Column("enrolled", sa.Double, nullable=False),
        sa.Column("revoked", sa.Double),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_members")),
        sa.UniqueConstraint("name", name=op.f("uq_members_name")),
        sa.CheckConstraint(ROLES, name=op.f("ck_members_role")),
    )
    op.create_table(
        "invitations",
        sa.Column("code_hash", sa.String(64), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("name", sa.String(100)),
        sa.Column("expires", sa.Double, nullable=False),
        sa.Column("by", sa.String(32)),
        sa.Column("used_by", sa.String(32)),
        sa.Column("used", sa.Double),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_invitations")),
        sa.CheckConstraint(ROLES, name=op.f("ck_invitations_role")),
        _member("invitations", "by"),
        _member("invitations", "used_by"),
    )
    _make_runs()


def _make_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("by", sa.String(32), nullable=False),
        sa.Column("submitted", sa.Double, nullable=False),
        sa.Column("seed", sa.BigInteger),
        sa.Column("clients", sa.Text, nullable=False),
        sa.Column("dataset", sa.String(100), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        _member("runs", "by"),
    )
    op.create_index(op.f("ix_runs_status"), "runs", ["status"])
    op.create_index(op.f("ix_runs_submitted_id"), "runs", ["submitted", "id"])
    op.create_table(
        "journal",
        sa.Column("run", sa.String(32), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run", "seq", name=op.f("pk_journal")),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name=op.f("fk_journal_run")),
    )


def downgrade() -> None:
    """Remove the tables with all that is in them."""
    for name in ("journal", "runs", "invitations", "members"):
        op.drop_table(name)


def _member(table: str, column: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}")
    return sa.ForeignKeyConstraint(
        [column], ["members.id"], name=name, deferrable=True, initially="DEFERRED"
    )
