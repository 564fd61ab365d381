"""`tacit.submit`: a federation run between real machines, from Python."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tacit.base.extras import load_deployment
from tacit.plan.federation import Federation
from tacit.record.run import Run


def submit(
    federation: Federation,
    on: str | None = None,
    dataset: str = "",
    clients: Sequence[str] = (),
    seed: int | None = None,
    name: str = "",
    progress: Callable[[str], None] | None = None,
) -> Run:
    """Run a federation on a coordinator, and wait for its end.

    `on`: the coordinator's URL or the name of a membership (see `tacit join`); by default the only
    one. `dataset`: the name under which owners registered their data, by default the federation's
    own. `clients`: names in the order of their places, by default whoever joins first. `seed` makes
    it a rehearsal, whose noise everybody can repeat. `progress` hears each line of the run's
    journal. Needs the extra "deploy". Raises what `tacit run` says, such as `client.run-ended`.
    """
    load_deployment("tacit.deploy.remote", "`tacit.submit`")
    from tacit.deploy.clock import RealClock
    from tacit.deploy.memberships import remote_home
    from tacit.deploy.remote import open_remote
    from tacit.record.deployed import ended, fetched

    async def go() -> Run:
        remote = open_remote(remote_home(on), RealClock(), os.urandom)
        try:
            with tempfile.TemporaryDirectory(prefix="tacit-submit-") as scratch:
                fact = await remote.submit(
                    federation,
                    name=name or federation.name,
                    dataset=dataset or federation.name,
                    clients=clients,
                    seed=seed,
                    scratch=Path(scratch),
                )
            async for line in remote.follow(fact.id):
                if progress is not None:
                    progress(line.text)
            ended((await remote.show(fact.id)).run)
            return await fetched(remote, fact.id)
        finally:
            await remote.close()

    with ThreadPoolExecutor(1) as thread:  # a notebook has an event loop of its own
        return thread.submit(asyncio.run, go()).result()
