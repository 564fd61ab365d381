from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.base.errors import TacitError
from tacit.deploy.wire.replays import Replays

START = 1_700_000_000


def refusal(replays: Replays, keyid: str, nonce: str, created: int, now: float) -> str:
    try:
        replays.admit(keyid, nonce, created, now)
    except TacitError as refused:
        return refused.code
    return ""


def test_a_request_is_admitted_once() -> None:
    replays = Replays(START)
    assert refusal(replays, "a", "n", START, START) == ""
    for later in (0, 1, 299.9, 300):
        assert refusal(replays, "a", "n", START, START + later) == "request.replayed"
    assert refusal(replays, "a", "n", START, START + 300.1) == "request.clock"
    assert refusal(replays, "a", "n", START + 301, START + 301) == ""


def test_nonces_belong_to_a_key() -> None:
    replays = Replays(START)
    assert [refusal(replays, key, "n", START, START) for key in "ab"] == ["", ""]


@pytest.mark.parametrize("skew", [-3600, -301, 11, 3600])
def test_a_clock_that_is_off_is_told_by_how_much(skew: int) -> None:
    replays = Replays(START - 10_000)
    with pytest.raises(TacitError, match=re.escape(f"{skew:+d} seconds")) as refused:
        replays.admit("a", "n", START + skew, START)
    assert refused.value.code == "request.clock"
    assert refused.value.facts == {"skew": skew, "now": START}
    replays.admit("a", "n", START, START)


@pytest.mark.parametrize("skew", [-300, -1, 0, 10])
def test_a_clock_that_is_nearly_right_is_right(skew: int) -> None:
    assert refusal(Replays(START - 10_000), "a", "n", START + skew, START) == ""


def test_a_restarted_process_admits_nothing_from_before() -> None:
    replays = Replays(START + 0.5)
    assert refusal(replays, "a", "n", START, START + 0.6) == "request.stale"
    assert refusal(replays, "a", "m", START + 1, START + 1) == ""


def test_beyond_the_cap_old_requests_are_stale_and_new_ones_pass() -> None:
    replays = Replays(START, cap=10)
    sent = [(f"n{second}", START + second) for second in range(15)]
    assert {refusal(replays, "a", *one, one[1]) for one in sent} == {""}
    again = [refusal(replays, "a", *one, START + 14) for one in sent]
    assert again == ["request.stale"] * 5 + ["request.replayed"] * 10


def test_one_keys_many_requests_do_no_harm_to_another() -> None:
    replays = Replays(START, cap=10)
    assert refusal(replays, "b", "n", START, START) == ""
    codes = [refusal(replays, "a", str(i), START, START) for i in range(30)]
    assert codes == [""] * 11 + ["request.stale"] * 19
    assert refusal(replays, "b", "n", START, START) == "request.replayed"
    assert refusal(replays, "b", "m", START, START) == ""
    assert refusal(replays, "a", "later", START + 1, START + 1) == ""


def test_a_clock_set_back_forgets_nothing_and_shuts_nobody_out() -> None:
    replays = Replays(START)
    assert refusal(replays, "a", "n", START + 4000, START + 4000) == ""
    assert refusal(replays, "a", "o", START + 4400, START + 4400) == ""
    with pytest.raises(TacitError) as refused:
        replays.admit("a", "m", START + 800, START + 800)
    now = refused.value.facts["now"]
    assert now == START + 4400
    assert refusal(replays, "a", "n", START + 4000, START + 801) == "request.clock"
    assert refusal(replays, "a", "m", now + 5, START + 805) == ""


MOVES = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.integers(0, 6),
        st.integers(-400, 20),
        st.sampled_from([0.0, 0.0, 0.5, 7.0, 200.0, 500.0, -300.0, -5000.0]),
    ),
    max_size=60,
)


@given(MOVES, st.integers(1, 8))
def test_whatever_the_clock_does_nothing_is_admitted_twice(
    moves: list[tuple[str, int, int, float]], cap: int
) -> None:
    replays, now = Replays(START, cap=cap), float(START)
    admitted: set[tuple[str, str, int]] = set()
    for key, nonce, skew, step in moves:
        now += step
        for created in (int(now) + skew, START + skew):
            request = key, str(nonce), created
            if refusal(replays, *request, now) == "":
                assert request not in admitted
                admitted.add(request)
        assert all(len(seen.nonces) <= cap for seen in replays._seen.values())


@given(st.lists(st.tuples(st.text(max_size=2), st.floats(0, 100)), max_size=50))
def test_keys_that_fall_silent_are_forgotten(asked: list[tuple[str, float]]) -> None:
    replays, now = Replays(START), float(START)
    for place, (key, step) in enumerate(asked):
        now += step
        refusal(replays, key, str(place), int(now), now)
    for later in (now + 301, now + 602, now + 1000):
        assert refusal(replays, "last", str(later), int(later), later) == ""
    assert set(replays._seen) == {"last"}
