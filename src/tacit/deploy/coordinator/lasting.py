"""What outlives its run: the last state and offer of runs that are over."""

from __future__ import annotations

import json
from collections.abc import Container

from sqlalchemy import Connection, func, select

from tacit.deploy.store.tables import journal


def kept(connection: Connection, runs: Container[str]) -> dict[str, tuple[str, str]]:
    """Digests of the last state and offer of each of these runs."""
    last = select(journal.c.run, func.max(journal.c.seq).label("seq"))
    last = last.where(journal.c.kind == "kept").group_by(journal.c.run)
    newest = last.subquery()
    lines = select(journal.c.run, journal.c.body).join(
        newest, (journal.c.run == newest.c.run) & (journal.c.seq == newest.c.seq)
    )
    found = {}
    for run, text in connection.execute(lines):
        if run in runs:
            body = json.loads(text)
            found[run] = (body["state"], body["offer"])
    return found
