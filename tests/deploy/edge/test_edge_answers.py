"""Answers that are none: each is refused with its own code, and the others' round goes on."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tacit
from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.deploy.wire.messages import Role
from tacit.deploy.wire.packs import encode_answer, pack_bytes, read_answer
from tests.deploy.coordinator.running import Running, begun
from tests.deploy.coordinator.scene import Answer, Site, put, submission
from tests.deploy.coordinator.test_coordinator_bits import clients, federation
from tests.deploy.edge.attacker import play

RUN = "ab" * 16
PLAIN = federation(clients=3, quorum=2, rounds=2)
SUMMED = federation(quorum=3, rounds=2, protect=tacit.secure_average(clip=1.0, cap=100))
HEAD = struct.Struct("<7sBQ")


def floats(plan: tacit.Federation, value: float = 0.5) -> np.ndarray[Any, Any]:
    return np.full(plan.plan().client_steps[-1].after.size, value)


def spoilt(plan: tacit.Federation, value: float) -> bytes:
    """An answer of the right length with one number that is not finite, past our own encoder."""
    good = bytearray(encode_answer(floats(plan)))
    good[-8:] = struct.pack("<d", value)
    return bytes(good)


def declared(plan: tacit.Federation, size: int) -> bytes:
    """An answer whose header lies about its length."""
    good = bytearray(encode_answer(floats(plan)))
    magic, code, _ = HEAD.unpack_from(good)
    HEAD.pack_into(good, 0, magic, code, size)
    return bytes(good)


BAD: dict[str, tuple[tacit.Federation, Callable[[tacit.Federation], bytes], str]] = {
    "nan": (PLAIN, lambda p: spoilt(p, float("nan")), "round.update-not-finite"),
    "infinite": (PLAIN, lambda p: spoilt(p, float("-inf")), "round.update-not-finite"),
    "whole numbers": (PLAIN, lambda p: encode_answer(floats(p).astype(int)), "wire.answer"),
    "one less": (PLAIN, lambda p: encode_answer(floats(p)[:-1]), "wire.answer"),
    "one more": (PLAIN, lambda p: encode_answer(np.append(floats(p), 1.0)), "wire.answer"),
    "none": (PLAIN, lambda p: encode_answer(floats(p)[:0]), "wire.answer"),
    "cut": (PLAIN, lambda p: encode_answer(floats(p))[:-1], "wire.answer"),
    "longer": (PLAIN, lambda p: encode_answer(floats(p)) + b"\0", "wire.answer"),
    "declared 2^53": (PLAIN, lambda p: declared(p, 1 << 53), "wire.answer"),
    "declared 2^64": (PLAIN, lambda p: declared(p, (1 << 64) - 1), "wire.answer"),
    "a pack": (PLAIN, lambda p: pack_bytes({"params": floats(p)}), "wire.answer"),
    "garbage": (PLAIN, lambda p: b"\xff" * 90, "wire.answer"),
    "one byte": (PLAIN, lambda p: b"T", "wire.answer"),
    "real for residues": (SUMMED, lambda p: encode_answer(floats(p)), "wire.answer"),
    "negative residues": (
        SUMMED,
        lambda p: encode_answer(np.full(floats(p).size, -1)),
        "deploy.answer-residue",
    ),
    "residues too large": (
        SUMMED,
        lambda p: encode_answer(np.full(floats(p).size, 1 << 62)),
        "deploy.answer-residue",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_answer_is_refused_and_named(case: str, tmp_path: Path) -> None:
    plan, make, code = BAD[case]

    async def run() -> None:
        made = await begun(tmp_path, plan)
        raw = make(plan)
        for _ in range(2):  # the second time it has failed its round
            found = await put(made.world, "site 0", RUN, 0, raw)
            assert (found.status, found.code) == (422, code)
        again = await put(made.world, "site 0", RUN, 0, raw)
        assert (again.status, again.code) == (409, "round.not-asked")
        assert not made.world.blobs.has(hashlib.sha256(raw).hexdigest())
        shown = await made.show()
        assert shown["clients"][0]["state"] == code
        assert await others_finish(made) == "finished"

    play(run())


async def others_finish(made: Running) -> str:
    """The round goes on without the first client, and so does the run."""
    name = made.sites.pop(0).name
    for site in range(len(made.sites)):
        await made.sites[site].turn(await made.task(site))
    await made.world.settle()
    leave = {"decision": "leave"}  # of the next round; nobody waits a minute for it
    await made.world.ask(name, "POST", f"/v1/runs/{RUN}/joining", leave)
    return await made.finish()


@pytest.mark.parametrize("value", [5e-324, 2.2250738585072014e-308, -0.0, 1e308])
def test_odd_numbers_that_are_numbers_are_answers(value: float, tmp_path: Path) -> None:
    async def run() -> None:
        made = await begun(tmp_path, PLAIN)
        raw = encode_answer(floats(PLAIN, value))
        assert (await put(made.world, "site 0", RUN, 0, raw)).status == 200

    play(run())


def test_a_sum_beyond_all_numbers_ends_its_run_by_name(tmp_path: Path) -> None:
    """Each answer is finite, and their sum is not: no client is to blame for a code's overflow."""

    async def run() -> None:
        made = await begun(tmp_path, PLAIN)
        for site in ("site 0", "site 1", "site 2"):
            raw = encode_answer(floats(PLAIN, 1e308))
            assert (await put(made.world, site, RUN, 0, raw)).status == 200
        await made.world.settle()
        shown = await made.show()
        assert shown["run"]["status"] == "failed"
        assert "round" in shown["run"]["why"].lower()

    play(run())


async def told(made: Running, who: str, query: str, raw: bytes, round_: int = 0) -> Answer:
    path = f"/v1/runs/{RUN}/rounds/{round_}/answer?{query}"
    return await made.world.ask(who, "PUT", path, raw)


def test_answers_at_the_wrong_time_or_place_are_refused(tmp_path: Path) -> None:
    async def run() -> None:
        plan = federation(clients=3, quorum=2, rounds=2, deadline=60.0)
        made = await begun(tmp_path, plan)
        raw = encode_answer(floats(plan))
        for round_ in (1, 7, 1 << 53):
            found = await put(made.world, "site 0", RUN, round_, raw)
            assert (found.status, found.code) == (409, "round.not-asked")
        assert (await put(made.world, "site 0", RUN, (1 << 53) + 1, raw)).status == 422
        assert (await put(made.world, "site 0", "ef" * 16, 0, raw)).code == "deploy.no-run"
        for site in made.sites[1:]:
            await site.turn(await made.task(made.sites.index(site)))
        made.world.clock.time += 61
        await made.world.settle()
        late = await put(made.world, "site 0", RUN, 0, raw)
        assert (late.status, late.code) == (409, "round.not-asked")

    play(run())


def test_an_answer_that_differs_from_its_digest_is_none(tmp_path: Path) -> None:
    async def run() -> None:
        made = await begun(tmp_path, PLAIN)
        raw, other = encode_answer(floats(PLAIN)), encode_answer(floats(PLAIN, 0.25))
        digest = hashlib.sha256(other).hexdigest()
        found = await told(made, "site 0", f"digest={digest}&size={len(raw)}&offset=0", raw)
        assert (found.status, found.code) == (422, "store.digest")
        assert (await put(made.world, "site 0", RUN, 0, raw)).status == 200
        twice = await put(made.world, "site 0", RUN, 0, other)
        assert (twice.status, twice.code) == (409, "round.answered-twice")

    play(run())


def test_two_runs_are_not_mixed_up(tmp_path: Path) -> None:
    """The same client in two runs of different models: an answer to one is none to the other."""

    async def run() -> None:
        made = await begun(tmp_path, PLAIN)
        other = federation(clients=3, quorum=2, rounds=2, task=tacit.numpy.mlp((7,)))
        second = "cd" * 16
        await made.world.ask("ruth", "POST", "/v1/runs", submission(other, second, 2))
        for name in ("site 0", "site 1", "site 2"):
            site = Site(made.world, name, clients(3), other.plan(), Key.seed(2))
            assert (await site.join(second)).status == 200
        await made.world.settle()
        raw = encode_answer(floats(PLAIN))
        found = await put(made.world, "site 0", second, 0, raw)
        assert (found.status, found.code) == (422, "wire.answer")
        assert (await put(made.world, "site 0", RUN, 0, raw)).status == 200

    play(run())


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.integers(-2, 60),
            st.integers(-2, 60),
            st.sampled_from([0, 1, 17, 1 << 53]),
        ),
        max_size=8,
    )
)
def test_uploads_in_any_pieces_end_with_the_answer_or_nothing(
    steps: list[tuple[str, int, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Wrong offsets, sizes and turns between two answers: each is named, and the last fits."""
    folder = tmp_path_factory.mktemp("uploads")

    async def run() -> None:
        made = await begun(folder, PLAIN)
        made.world.blobs.small = 0  # all of them go through the spool
        held = {"a": encode_answer(floats(PLAIN)), "b": encode_answer(floats(PLAIN, 0.25))}
        done = False
        for name, start, stop, more in steps:
            raw = held[name]
            digest = hashlib.sha256(raw).hexdigest()
            query = f"digest={digest}&size={len(raw) + more}&offset={start}"
            found = await told(made, "site 0", query, raw[max(start, 0) : max(stop, 0)])
            assert found.status in (200, 409, 413, 422), found.body
            done = done or bool(found.status == 200 and found.json["done"])
        if not done:
            assert (await put(made.world, "site 0", RUN, 0, held["a"])).json["done"]
        answered = made.world.here.books[RUN].machine.answered[0]
        assert answered in {hashlib.sha256(raw).hexdigest() for raw in held.values()}
        assert len(made.world.blobs.spool.names()) <= 1

    play(run())


@given(raw=st.binary(max_size=200), size=st.integers(0, 1 << 60), whole=st.booleans())
def test_no_bytes_break_the_reader_of_answers(raw: bytes, size: int, whole: bool) -> None:
    with pytest.raises(TacitError, match="wire"):
        read_answer(b"TACIT\x02\n" + raw + b"?", size + len(raw), whole=whole)


def test_a_client_of_one_run_is_asked_only_there(tmp_path: Path) -> None:
    async def run() -> None:
        made = await begun(tmp_path, PLAIN)
        made.world.person("late", Role.CLIENT)
        raw = encode_answer(floats(PLAIN))
        assert (await put(made.world, "late", RUN, 0, raw)).code == "deploy.not-joined"
        await made.fail(0, phase="policy", code="policy.refused")
        assert (await put(made.world, "site 0", RUN, 0, raw)).code == "round.not-asked"

    play(run())
