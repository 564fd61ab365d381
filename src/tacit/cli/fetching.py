"""Which run of a coordinator a user means, and saving it on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tacit.base.errors import TacitError
from tacit.base.nearest import did_you_mean
from tacit.deploy.remote import Remote
from tacit.deploy.wire.messages import RunFact
from tacit.record.deployed import fetched
from tacit.record.folder import Saved, write_run
from tacit.record.run import Run


class Fetched(NamedTuple):
    """A run, and where it was saved."""

    run: Run
    saved: Saved


async def chosen(remote: Remote, name: str) -> RunFact:
    """The run that a user means by the beginning of its id, or by its name (the newest)."""
    runs = await remote.runs()
    for fits in (
        [run for run in runs if run.id.startswith(name.lower())],
        [run for run in runs if run.name == name],
    ):
        if fits:
            return fits[0]
    hint = did_you_mean(name, [run.name for run in runs])
    raise TacitError("client.no-run", name=name, hint=hint)


async def fetch(remote: Remote, run: str, folder: Path) -> Fetched:
    """Download the newest model and the history, and write a run folder."""
    found = await fetched(remote, run)
    return Fetched(found, write_run(found, folder))
