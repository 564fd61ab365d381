"""A network that cuts connections at any byte: uploads resume, the bits stay."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

import tacit
from tacit.base.atomic import write_atomically
from tacit.deploy.clock import RealClock
from tacit.deploy.rehearse import DATASET, Rehearsal
from tacit.deploy.remote import Remote, open_remote
from tacit.deploy.wire.packs import read_pack
from tests.e2e.proxy import cutting
from tests.e2e.world import NAMES, records

pytestmark = pytest.mark.xdist_group("e2e-cuts")

SEED, SHAPE = 4, 2000

FEDERATION = tacit.Federation(
    task=tacit.numpy.mlp(hidden=(100,)),  # 200,000 parameters: 1.6 MB
    data=tacit.arrays(shape=(SHAPE,), classes=2),
    clients=len(NAMES),
    rounds=2,
    algorithm=tacit.fedavg(lr=0.1, batch=15),
)


async def finished(remote: Remote, place: Path) -> bytes:
    """Run it, and fetch the model."""
    fact = await remote.submit(FEDERATION, name="cut", dataset=DATASET, clients=NAMES, seed=SEED)
    lines = [line async for line in remote.follow(fact.id)]
    assert (await remote.show(fact.id)).run.status == "finished"
    assert not [line.text for line in lines if line.kind in ("failed", "tried")]
    result = await remote.result(fact.id)
    return bytes(read_pack(await remote.fetch(result, place))["params"].tobytes())


def test_every_connection_is_cut(tmp_path: Path) -> None:
    sites = {name: records(place, SHAPE) for place, name in enumerate(NAMES)}
    with Rehearsal(tmp_path / "here", sites) as here, cutting(here.port, 1, 1 << 20) as proxy:
        for home in (here.researcher, *map(here.home, NAMES)):
            text = home.coordinator.read_text("utf-8")
            write_atomically(home.coordinator, text.replace(f":{here.port}", f":{proxy.here}"))
        for name in NAMES:
            here.kill(name)
            here.start(name)
        remote = open_remote(here.researcher, RealClock(), os.urandom)

        async def go() -> bytes:
            try:
                return await finished(remote, tmp_path / "model.pack")
            finally:
                await remote.close()

        found = asyncio.run(go())
        assert proxy.cuts >= 5
        logs = "".join(here.log(who) for who in ("coordinator", *NAMES))
    held = {name: (one.x, one.y) for name, one in sites.items()}
    run = tacit.simulate(FEDERATION, held, seed=SEED, engine="exact")
    assert found == run.model.params.tobytes()
    assert "Traceback" not in logs
