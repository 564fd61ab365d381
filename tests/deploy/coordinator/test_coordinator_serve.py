"""The coordinator as a server: TLS, first start, second start, drain; and waiting that is cheap."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import structlog

from tacit.base.errors import TacitError
from tacit.deploy.clock import RealClock
from tacit.deploy.coordinator.serve import Serving, configure_logs, free_port, running
from tacit.deploy.identity.keys import Identity
from tacit.deploy.wire.messages import Role
from tests.deploy.coordinator.scene import World


@pytest.fixture(autouse=True)
def _usual_logs() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def serving(folder: Path, port: int = 0) -> Serving:
    return Serving(folder / "coordinator", port=port, hosts=("127.0.0.1",))


def test_it_serves_over_tls_13_and_keeps_its_identity(tmp_path: Path) -> None:
    async def run() -> None:
        prints, keys = [], []
        for first in (True, False):
            async with running(serving(tmp_path)) as told:
                assert told.first is first
                prints.append(told.fingerprint)
                keys.append(Identity.load(told.operator_key).id)
                context = ssl.create_default_context(cadata=told.authority_pem)
                async with httpx.AsyncClient(verify=context, base_url=told.url) as client:
                    hello = await client.get("/v1/hello")
                    assert hello.json()["fingerprint"] == told.fingerprint
                    stream = hello.extensions["network_stream"]
                    assert stream.get_extra_info("ssl_object").version() == "TLSv1.3"
                    assert (await client.get("/ready")).status_code == 200
                    assert (await client.get("/nowhere")).json()["error"]["code"] == (
                        "deploy.no-route"
                    )
        assert len(set(prints)) == len(set(keys)) == 1

    asyncio.run(run())


def test_older_tls_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(serving(tmp_path)) as told:
            context = ssl.create_default_context(cadata=told.authority_pem)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            async with httpx.AsyncClient(verify=context, base_url=told.url) as client:
                with pytest.raises(httpx.ConnectError):
                    await client.get("/v1/hello")

    asyncio.run(run())


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    async def run() -> None:
        port = free_port("127.0.0.1")
        taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
        async with taken:
            with pytest.raises(TacitError) as refused:
                async with running(serving(tmp_path, port)):
                    pass
        assert refused.value.code == "deploy.port"

    asyncio.run(run())


def test_logs_are_facts_without_bodies(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    configure_logs("json")
    made = World(tmp_path, url="sqlite://")
    made.person("olga", Role.OPERATOR)

    async def run() -> str:
        code = (await made.ask("olga", "POST", "/v1/invitations", {"role": "client"})).json["code"]
        bad = {"code": "y" * 22, "name": "new", "public_key": "A" * 43 + "="}
        await made.ask("olga", "POST", "/v1/enrol", bad)
        made.here.members = None  # type: ignore[assignment]  # a mistake of ours
        await made.ask("olga", "POST", "/v1/invitations", {"role": "client", "name": "secret"})
        return str(code)

    code = asyncio.run(run())
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["request"]
    assert {"level", "timestamp", "incident", "route", "trace"} <= set(lines[0])
    assert code not in str(lines)
    assert "secret" not in str(lines)


def test_those_who_wait_cost_nothing(tmp_path: Path) -> None:
    """A thousand polls hold a future each: while they wait, nothing runs."""

    async def run() -> None:
        made = World(tmp_path, url="sqlite://")
        made.here.clock = RealClock()
        bells = made.here.bells
        polls = [asyncio.create_task(bells.wait(f"client {i}", 30.0)) for i in range(1000)]
        await asyncio.sleep(0.01)
        assert bells.count == 1000
        before = time.process_time()
        await asyncio.sleep(0.2)
        assert time.process_time() - before < 0.2
        bells.ring("client 7")
        assert await polls[7] is True
        bells.ring_all()
        assert all(await asyncio.gather(*polls))
        assert bells.count == 0
        assert await bells.wait("nobody", 0.0) is False

    asyncio.run(run())
