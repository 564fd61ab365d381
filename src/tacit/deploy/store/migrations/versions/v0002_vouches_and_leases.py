"""Clients vouch for peers; coordinators share a database by leases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "leases",
        sa.Column("run", sa.String(32), nullable=False),
        sa.Column("holder", sa.String(100), nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("run", name=op.f("pk_leases")),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name=op.f("fk_leases_run")),
    )
    op.create_table(
        "vouches",
        sa.Column("subject", sa.String(32), nullable=False),
        sa.Column("by", sa.String(32), nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("subject", "by", name=op.f("pk_vouches")),
        sa.ForeignKeyConstraint(["subject"], ["members.id"], name=op.f("fk_vouches_subject")),
        sa.ForeignKeyConstraint(["by"], ["members.id"], name=op.f("fk_vouches_by")),
    )


def downgrade() -> None:
    """Remove the tables with all that is in them."""
    op.drop_table("vouches")
    op.drop_table("leases")
