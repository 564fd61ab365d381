"""Small blobs as rows of the database: written with the line that names them, and no file.

A small answer costs one commit, which many share, instead of a file, a folder and a commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, final

from sqlalchemy import Connection, Insert, bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from tacit.deploy.store.database import Database
from tacit.deploy.store.tables import blobs

SMALL: Final = 65_536
"""Most bytes of a blob that is kept as a row."""

GET: Final = select(blobs.c.content).where(blobs.c.digest == bindparam("digest"))
HAS: Final = select(blobs.c.digest).where(blobs.c.digest == bindparam("digest"))
REMOVE: Final = delete(blobs).where(blobs.c.digest == bindparam("gone"))
ADD: Final[dict[str, Insert]] = {
    "sqlite": sqlite.insert(blobs).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(blobs).on_conflict_do_nothing(),
}


@final
@dataclass(frozen=True)
class Rows:
    """The small blobs of a database."""

    database: Database

    def add(self, connection: Connection, contents: Mapping[str, bytes]) -> None:
        """Keep bytes under their SHA-256, within a write transaction. To add twice is once."""
        given = [{"digest": digest, "content": held} for digest, held in contents.items()]
        if given:
            connection.execute(ADD[connection.dialect.name], given)

    def get(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Those that are here, by digest."""
        found: dict[str, bytes] = {}
        with self.database.read() as connection:
            for digest in digests:
                content = connection.scalar(GET, {"digest": digest})
                if content is not None:
                    found[digest] = bytes(content)
        return found

    def known(self, digests: Iterable[str]) -> set[str]:
        """Those that are here."""
        with self.database.read() as connection:
            wanted = ({"digest": digest} for digest in digests)
            return {one["digest"] for one in wanted if connection.scalar(HAS, one)}

    def remove(self, digests: Iterable[str]) -> None:
        """Remove those that are here."""
        gone = [{"gone": digest} for digest in digests]
        if gone:
            with self.database.begin() as connection:
                connection.execute(REMOVE, gone)

    def digests(self) -> tuple[str, ...]:
        """All of them."""
        with self.database.read() as connection:
            return tuple(connection.scalars(select(blobs.c.digest)))
