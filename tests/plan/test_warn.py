"""Warnings: where the noise drowns what clients say, in numbers, and only there."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tacit
from tacit.base.key import Key
from tacit.plan.build import Plan, build
from tacit.plan.warn import noise_per_coordinate, records_needed, too_noisy, warnings
from tests.plan.federations import federation
from tests.plan.running import opened, totals

WIDE = tacit.arrays((30,), 2)

PRIVATE = ("central_dp", "local_dp", "distributed_dp")


def plan(name: str, **changes: Any) -> Plan:
    return build(federation(name, **({"data": WIDE} | changes)))


def test_four_sites_cannot_hide_a_whole_site() -> None:
    """Client-level epsilon 3 over 50 rounds: noise of 10 on each coordinate, a clip of 1."""
    built = plan("distributed_dp")
    (text,) = built.warnings
    sd = noise_per_coordinate(built.form, built.team)
    assert sd > 5
    assert f"standard deviation of {sd:.3g} on each of 31 coordinates" in text
    assert "clipped contributions of 1 in" in text
    assert "clients a round would be needed" in text
    assert "after 50 rounds; there are 4." in text
    assert "Raise epsilon, take part with more, or protect records" in text


@pytest.mark.parametrize("name", PRIVATE)
def test_thousands_of_clients_can(name: str) -> None:
    assert plan(name, clients=5000).warnings == ()


@pytest.mark.parametrize("name", ["plain", "secure_average", "top_k"])
def test_nothing_is_warned_of_without_noise(name: str) -> None:
    built = plan(name)
    assert built.warnings == ()
    assert noise_per_coordinate(built.form, built.team) == 0.0


def test_records_are_warned_of_once_they_are_counted() -> None:
    """How many records the sites hold is known only when there is data."""
    built = plan("record_dp")
    assert warnings(built.form, built.team) == ()
    needed = records_needed(built.form, built.team)
    assert too_noisy(built.form, built.team, 1.01 * needed, "records") == ()
    (text,) = too_noisy(built.form, built.team, 0.5 * needed, "records")
    assert f"About {math.ceil(needed)} records" in text


@pytest.mark.parametrize("name", [*PRIVATE, "record_dp"])
def test_the_noise_in_the_warning_is_the_noise_in_the_sum(name: str) -> None:
    built = plan(name)
    rows, examples = np.zeros((4, built.message.size)), np.ones(4, np.int64)
    sums = [totals(built, opened(built, rows, examples, rows, Key.seed(i))) for i in range(1000)]
    found = np.sqrt(np.mean(np.square([one["update"] for one in sums])))
    assert found == pytest.approx(noise_per_coordinate(built.form, built.team), rel=0.05)


@pytest.mark.parametrize("name", [*PRIVATE, "record_dp"])
def test_as_many_as_needed_make_signal_and_noise_equal(name: str) -> None:
    """m agreeing contributions of norm C over T rounds, beside noise of sd sqrt(d T)."""
    built = plan(name)
    update = built.form.blocks[0]
    one = update.bound.record if built.form.record_sum else update.bound.client
    signal = records_needed(built.form, built.team) * one * 50
    noise = noise_per_coordinate(built.form, built.team) * math.sqrt(update.size * 50)
    assert signal == pytest.approx(noise)


def test_more_rounds_need_fewer_clients_for_the_same_noise() -> None:
    noise = tacit.gaussian("central", "client", multiplier=3.0)
    chain = (tacit.clip(1.0), tacit.plain_sum(), noise, tacit.mean(-1))
    few, many = (plan("plain", protect=chain, rounds=rounds) for rounds in (10, 1000))
    assert records_needed(few.form, few.team) == pytest.approx(
        10 * records_needed(many.form, many.team)
    )
