"""A coordinator in this process, and members that speak to it over ASGI with signed requests."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np

from tacit.base.key import Key
from tacit.deploy.coordinator.asgi import application
from tacit.deploy.coordinator.outline import outline_of
from tacit.deploy.coordinator.service import Coordinator
from tacit.deploy.coordinator.settings import Settings
from tacit.deploy.identity.keys import Identity
from tacit.deploy.store import members
from tacit.deploy.store.blobs import Blobs
from tacit.deploy.store.database import Database, open_database
from tacit.deploy.store.members import Member
from tacit.deploy.wire.messages import Role
from tacit.deploy.wire.packs import encode_answer, pack_bytes, read_pack
from tacit.deploy.wire.signing import Head, signed
from tacit.deploy.wire.statements import encoded, joining_text, submission_text
from tacit.learn.examples import Clients
from tacit.plan.build import Plan
from tacit.plan.federation import Federation
from tacit.round.turn import Memories, take_turn
from tacit.sim.exact import held_by

T = TypeVar("T")

START = 1_800_000_000.0


@dataclass
class Held:
    """A clock that stands still until it is moved; sleeping lets others work."""

    time: float = START

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


async def inline(work: Callable[[], T], /) -> T:
    return work()


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"]) if self.status >= 400 else ""


@dataclass
class World:
    """One coordinator; `again` is a new one on the same store."""

    folder: Path
    settings: Settings = field(default_factory=Settings)
    clock: Held = field(default_factory=Held)
    nonces: int = 0
    url: str = ""
    rows: bool = False

    def __post_init__(self) -> None:
        url = self.url or f"sqlite:///{self.folder}/tacit.db"
        self.database: Database = open_database(url)
        self.blobs = self._blobs()
        self.people: dict[str, Identity] = {}
        self.here = self._new()

    def _blobs(self) -> Blobs:
        database = self.database if self.rows else None
        return Blobs(self.folder / "blobs", self.folder / "spool", reserve=0, database=database)

    def _new(self) -> Coordinator:
        settings = replace(self.settings, holder="this one")
        here = Coordinator(self.database, self.blobs, self.clock, settings, _Counted(), inline)
        self.app = application(here)
        return here

    async def again(self) -> None:
        """As after kill -9: nothing is told to the old one."""
        await self.here.driver.cancel()
        self.clock.time += 1  # of this second no request is admitted again
        self.blobs = self._blobs()
        self.here = self._new()
        await self.here.start()

    def person(self, name: str, role: Role) -> Identity:
        """A member, enrolled without a request."""
        identity = Identity.from_seed(hashlib.sha256(name.encode()).digest())
        member = Member(identity.id, name, role, identity.public, self.clock.now())
        with self.database.begin() as connection:
            members.add(connection, member)
        self.here.changed(member)
        self.people[name] = identity
        return identity

    def headers(
        self, who: Identity, method: str, path: str, query: str = "", body: bytes = b""
    ) -> dict[str, str]:
        self.nonces += 1
        head = Head(method, path, query, hashlib.sha256(body).digest())
        return signed(head, who, int(self.clock.now()), f"n{self.nonces}")

    async def ask(
        self,
        who: str | Identity | None,
        method: str,
        target: str,
        body: Any = b"",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        path, _, query = target.partition("?")
        if (method, path) == ("POST", "/v1/runs") and isinstance(body, dict):
            body = self._signed(who, body)
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        if headers is None and who is not None:
            identity = self.people[who] if isinstance(who, str) else who
            headers = self.headers(identity, method, path, query, raw)
        return await send(self.app, method, path, query, raw, headers or {})

    def _signed(self, who: str | Identity | None, body: dict[str, Any]) -> dict[str, Any]:
        """A submission as its researcher signs it, whatever else is wrong with it."""
        identity = self.people[who] if isinstance(who, str) else who
        parts: list[Any] = [body.get(one) for one in ("id", "digest", "dataset", "seed", "name")]
        if identity is None or "signature" in body:
            return body
        return {**body, "signature": encoded(identity.sign(submission_text(*parts)))}

    async def settle(self) -> None:
        """Let arithmetic end, and time be looked at."""
        await self.here.driver.settled()
        await self.here.tick()
        await self.here.driver.settled()


class _Counted:
    """Bytes that differ at each call."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, size: int) -> bytes:
        self.count += 1
        return hashlib.sha256(str(self.count).encode()).digest()[:size]


async def send(
    app: Any, method: str, path: str, query: str, body: bytes, headers: dict[str, str]
) -> Answer:
    """One request, in two pieces if it is long enough."""
    half = len(body) // 2
    events = [
        {"type": "http.request", "body": body[:half], "more_body": True},
        {"type": "http.request", "body": body[half:], "more_body": False},
    ]
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return events.pop(0) if events else {"type": "http.disconnect"}

    async def tell(event: dict[str, Any]) -> None:
        said.append(event)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "https",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "server": ("coordinator", 443),
        "client": ("client", 1),
    }
    await app(scope, receive, tell)
    found = {name.decode(): value.decode() for name, value in said[0]["headers"]}
    return Answer(said[0]["status"], found, b"".join(one.get("body", b"") for one in said[1:]))


@dataclass
class Site:
    """A client as simple as can be: it keeps memory only when its answer was included."""

    world: World
    name: str
    clients: Clients
    plan: Plan
    key: Key
    memory: Memories = field(default_factory=dict)
    pending: dict[int, tuple[str, Memories]] = field(default_factory=dict)
    answers: dict[int, bytes] = field(default_factory=dict)

    async def join(self, run: str, dataset: str = "data") -> Answer:
        identity = self.world.people[self.name]
        text = joining_text(run, self.plan.federation.digest, identity.id, dataset)
        signature = base64.b64encode(identity.sign(text)).decode()
        body = {"decision": "accept", "dataset": dataset, "signature": signature}
        return await self.world.ask(self.name, "POST", f"/v1/runs/{run}/joining", body)

    async def poll(self, run: str) -> dict[str, Any]:
        waiting = [
            {"run": run, "round": round_, "digest": digest}
            for round_, (digest, _) in self.pending.items()
        ]
        body = {"wait": 0, "open": waiting, "decided": [run]}
        found = await self.world.ask(self.name, "POST", "/v1/work", body)
        assert found.status == 200, found.body
        work: dict[str, Any] = found.json
        for fate in work["fates"]:
            _, pending = self.pending.pop(fate["round"])
            if fate["included"] and pending:
                self.memory = pending
        return work

    async def turn(self, task: dict[str, Any]) -> Answer:
        """Take a turn, or send the same bytes again."""
        round_, index = task["round"], task["index"]
        if round_ not in self.answers:
            offer = read_pack(base64.b64decode(task["offer_bytes"]))
            key = self.key / "round" / round_ / "client" / index
            held = held_by(self.plan, self.clients, index)
            found = take_turn(self.plan, held, offer, self.memory, key, self.name, round_)
            bits = self.plan.client_steps[-1].after.bits
            self.answers[round_] = encode_answer(found.answer, bits)
            digest = hashlib.sha256(self.answers[round_]).hexdigest()
            self.pending[round_] = (digest, found.pending)
        return await put(self.world, self.name, task["run"], round_, self.answers[round_])


async def put(world: World, who: str, run: str, round_: int, answer: bytes) -> Answer:
    """Send an answer, from where an earlier attempt was cut."""
    digest = hashlib.sha256(answer).hexdigest()
    path = f"/v1/runs/{run}/rounds/{round_}/answer?digest={digest}&size={len(answer)}"
    sent = await world.ask(who, "PUT", f"{path}&offset=0", answer)
    if sent.code == "store.offset":
        there = sent.json["error"]["facts"]["offset"]
        sent = await world.ask(who, "PUT", f"{path}&offset={there}", answer[there:])
    return sent


def submission(
    federation: Federation, run: str, seed: int | None = 0, clients: Iterable[str] = ()
) -> dict[str, Any]:
    return {
        "id": run,
        "name": "a run",
        "federation": federation.plain,
        "digest": federation.digest,
        "dataset": "data",
        "clients": list(clients),
        "seed": seed,
        "outline": outline_of(federation.plan()) if federation.task.code else None,
    }


async def rehearse(
    world: World,
    federation: Federation,
    clients: Clients,
    seed: int,
    disturb: Callable[[], Awaitable[None]] | None = None,
) -> np.ndarray[Any, Any]:
    """A whole run; gives the parameters of the final model. `disturb` comes between any two."""
    run, names = f"{seed:032x}", [f"site {i}" for i in range(len(clients))]
    world.person("ruth", Role.RESEARCHER)
    plan, key = federation.plan(), Key.seed(seed)
    sites = [Site(world, name, clients, plan, key) for name in names]
    for site in sites:
        world.person(site.name, Role.CLIENT)
    between = disturb or _nothing
    found = await world.ask("ruth", "POST", "/v1/runs", submission(federation, run, seed, names))
    assert found.status == 200, found.body
    if federation.task.code:
        await upload_start(world, run, plan, key)
    for site in sites:
        await between()
        joined = await site.join(run)
        assert joined.status == 200, joined.body
    await world.settle()
    for _ in range(10 * federation.rounds):
        if await one_pass(world, sites, run, between):
            break
    result = (await world.ask("ruth", "GET", f"/v1/runs/{run}/result")).json
    assert result["status"] == "finished", result
    model = await world.ask("ruth", "GET", f"/v1/blobs/{result['model']}")
    params: np.ndarray[Any, Any] = np.array(read_pack(model.body)["params"])
    return params


async def one_pass(
    world: World, sites: list[Site], run: str, between: Callable[[], Awaitable[None]]
) -> bool:
    """Every site polls once and takes its turn; whether the run is over."""
    over = False
    for site in sites:
        await between()
        work = await site.poll(run)
        for task in work["tasks"]:
            over = over or task["type"] == "over"
            if task["type"] == "turn":
                await between()
                sent = await site.turn(task)
                assert sent.status == 200, sent.body
    await world.settle()
    return over


async def upload_start(world: World, run: str, plan: Plan, key: Key) -> None:
    raw = pack_bytes({"params": plan.start(key / "start")})
    digest = hashlib.sha256(raw).hexdigest()
    query = f"digest={digest}&size={len(raw)}&offset=0"
    found = await world.ask("ruth", "PUT", f"/v1/runs/{run}/start?{query}", raw)
    assert found.json == {"offset": len(raw), "done": True}


async def _nothing() -> None:
    return
