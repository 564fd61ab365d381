"""What Alembic runs to migrate: on the connection that it is given, in its transaction."""

from __future__ import annotations

from alembic import context

from tacit.deploy.store.tables import metadata


def migrate() -> None:
    """Run the revisions that Alembic chose."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        render_as_batch=True,  # SQLite alters a table by making it anew
        transactional_ddl=True,  # on SQLite too: the store begins transactions itself
    )
    context.run_migrations()


if __name__ == "env_py":  # the name by which Alembic loads this file
    migrate()
