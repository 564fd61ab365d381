"""The target of the fuzzer on what hypothesis makes up: noise, and good input with changes."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tacit.deploy.identity.invitation import Invitation
from tacit.deploy.identity.keys import Identity
from tacit.deploy.wire.answers import MAGIC as ANSWER
from tacit.deploy.wire.answers import encode_answer
from tacit.deploy.wire.messages import Role
from tacit.deploy.wire.packs import MAGIC as PACK
from tacit.deploy.wire.packs import pack_bytes
from tacit.deploy.wire.signing import Head, signed
from tests.deploy.edge.fuzz_packs import READERS, one

_SIGNED = signed(
    Head("GET", "/a", "", hashlib.sha256(b"").digest()), Identity.from_seed(b"s" * 32), 1, "n"
)
_TREE = {"a": np.arange(5.0), "b": [1, 2.0, None, "x", np.zeros((2, 3), np.float32)], "c": (True,)}
GOOD = (
    b"\0" + pack_bytes(_TREE)[len(PACK) :],
    b"\2" + encode_answer(np.arange(4.0))[len(ANSWER) :],
    b"\2" + encode_answer(np.arange(70_000, 70_010), 20)[len(ANSWER) :],
    b"\3" + "\n".join(_SIGNED.values()).encode(),
    b"\4" + Invitation("https://here:1", "", "A" * 22, Role.CLIENT, "n").text().encode(),
)


@given(st.integers(0, len(READERS) - 1), st.binary(max_size=300))
def test_noise_is_refused_by_name(reader: int, raw: bytes) -> None:
    one(bytes([reader]) + raw)


@given(
    st.sampled_from(GOOD),
    st.lists(st.tuples(st.integers(1, 400), st.integers(0, 255)), max_size=4),
    st.integers(0, 400),
)
def test_good_input_with_changes_is_read_or_refused(
    good: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    raw = bytearray(good)
    for place, value in changes:
        raw[min(place, len(raw) - 1)] = value
    one(bytes(raw[: max(1, len(raw) - cut)]) if cut < 40 else bytes(raw))


def test_good_input_is_read() -> None:
    for good in GOOD:
        if good[0] != 3:  # signed by a key that the target does not have
            READERS[good[0]](good[1:])
