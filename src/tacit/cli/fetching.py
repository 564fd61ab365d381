"""From a coordinator's answers to a run folder on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tacit.base.errors import TacitError
from tacit.base.nearest import did_you_mean
from tacit.deploy.remote import Remote, over
from tacit.deploy.wire.messages import EventFact, RunDetail, RunFact
from tacit.deploy.wire.packs import read_pack
from tacit.plan.federation import Federation, from_plain
from tacit.record.deployed import deployed_run
from tacit.record.folder import Saved, write_run
from tacit.record.run import Run


class Fetched(NamedTuple):
    """A run, where it was saved, and the lines of its journal."""

    run: Run
    saved: Saved
    lines: Sequence[EventFact]


async def chosen(remote: Remote, name: str) -> RunFact:
    """The run that a user means by its name (the newest), or by the beginning of its id."""
    runs = await remote.runs()
    for fits in (
        [run for run in runs if run.name == name],
        [run for run in runs if run.id.startswith(name.lower())],
    ):
        if fits:
            return fits[0]
    hint = did_you_mean(name, [run.name for run in runs])
    raise TacitError("client.no-run", name=name, hint=hint)


async def journal(remote: Remote, run: str) -> list[EventFact]:
    """All lines that there are now."""
    lines: list[EventFact] = []
    while True:
        found = await remote.events(run, lines[-1].seq if lines else 0)
        lines += found.events
        if not found.events:
            return lines


async def fetch(remote: Remote, run: str, folder: Path) -> Fetched:
    """Download the newest model and the history, and write a run folder."""
    detail, result = await remote.show(run), await remote.result(run)
    lines = await journal(remote, run)
    with tempfile.TemporaryDirectory() as place:
        params = read_pack(await remote.fetch(result, Path(place) / "model.pack"))["params"]
        params = params.copy()
    names = {one.index: one.name for one in detail.clients}
    found = deployed_run(
        _federation(detail),
        params,
        result.history,
        ({"kind": line.kind, **line.body} for line in lines),
        names,
        detail.run.seed,
    )
    return Fetched(found, write_run(found, folder), lines)


def ended(fact: RunFact) -> None:
    """Raise what ended a run, unless it finished."""
    if over(fact.status) and fact.status != "finished":
        raise TacitError(
            "client.run-ended", name=fact.name, status=fact.status, why=fact.why or "-"
        )


def _federation(detail: RunDetail) -> Federation:
    return from_plain(detail.description)
