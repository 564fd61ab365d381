"""Sums modulo a power of two are sums, and never wrap; the mean divides by what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.base.errors import TacitError, Unsound
from tacit.base.vector import Rows
from tacit.protect.clip import Clip, ClipExamples
from tacit.protect.form import Form, Team
from tacit.protect.noise import Gaussian
from tacit.protect.quantise import Quantise
from tacit.protect.stage import Stage
from tacit.protect.sum import Mean, PlainSum, SecureSum, bits_needed
from tacit.protect.topk import TopK
from tacit.protect.weigh import Weigh
from tests.protect.scene import TEAM, after, down, message, up

GRID = after(Clip(1.0), Quantise(1000))
NOISED = after(Clip(1.0), Quantise(1000), Gaussian("share", "client", 1.0))


def secured(rows: Rows, bits: int, form: Form = GRID) -> Rows:
    """Rows as residues, their sum modulo 2^64, and what is opened."""
    stage = SecureSum(bits)
    residues, _ = up(stage, rows, form)
    assert (residues >= 0).all()
    assert (residues < 1 << stage.after(form, TEAM).bits).all()
    return down(stage, residues.sum(axis=0), form)


@given(st.sampled_from([14, 16, 24, 40, 62]), st.integers(0, 2**32))
def test_the_opened_sum_is_the_sum(bits: int, seed: int) -> None:
    most = int(GRID.limit())
    rows = np.random.default_rng(seed).integers(-most, most + 1, (4, 7))
    assert np.array_equal(secured(rows, bits), rows.sum(axis=0))


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_sums_of_the_narrowest_modulus_do_not_wrap(sign: int) -> None:
    for levels in (3, 10, 100, 1000, 31_000):
        form = after(Clip(1.0), Quantise(levels))
        rows = np.full((4, 7), sign * int(form.limit()), np.int64)
        needed = bits_needed(form, TEAM)
        assert np.array_equal(secured(rows, needed, form), rows.sum(axis=0))


def test_one_bit_less_is_refused_with_the_number_that_is_needed() -> None:
    needed = bits_needed(GRID, TEAM)
    with pytest.raises(Unsound) as refused:
        SecureSum(needed - 1).after(GRID, TEAM)
    assert refused.value.code == "chain.wraps"
    assert refused.value.facts["needed"] == needed


def test_one_bit_less_would_wrap() -> None:
    """The partner: the width that is asked for is not idle."""
    rows = np.full((4, 7), int(GRID.limit()), np.int64)
    narrow = 1 << (bits_needed(GRID, TEAM) - 1)
    residue = rows.sum(axis=0) & (narrow - 1)
    opened = np.where(residue >= narrow // 2, residue - narrow, residue)
    assert not np.array_equal(opened, rows.sum(axis=0))


def test_there_is_room_for_the_noise_of_every_client() -> None:
    """Twelve standard deviations of all shares together, beside every client's largest answer."""
    assert NOISED.noise is not None
    largest = 4 * GRID.limit() + 12 * 2 * NOISED.noise.sd
    assert bits_needed(NOISED, TEAM) == math.ceil(math.log2(2 * largest + 2))


@pytest.mark.parametrize("clients", [4, 100, 10**6])
def test_a_modulus_is_chosen_for_all_clients_in_whole_bytes(clients: int) -> None:
    team = Team(clients, clients, clients, 1, 1)
    bits = SecureSum().after(GRID, team).bits
    assert bits % 8 == 0
    assert bits >= bits_needed(GRID, team) > bits - 8


def test_more_than_62_bits_are_refused() -> None:
    fine = after(Clip(1.0), Quantise(2**50))
    with pytest.raises(Unsound) as refused:
        SecureSum().after(fine, Team(10**5, 10**5, 10**5, 1, 1))
    assert refused.value.code == "chain.wraps"
    assert refused.value.facts["bits"] == 62


def test_residues_of_the_widest_modulus_may_overflow_64_bits() -> None:
    """Addition modulo 2^64 keeps what counts modulo 2^62."""
    rows = np.array([[-1] * 7] * 4, np.int64)
    assert np.array_equal(secured(rows, 62), [-4] * 7)


@pytest.mark.parametrize("bits", [1, 63, -5])
def test_a_width_is_0_or_2_to_62(bits: int) -> None:
    with pytest.raises(TacitError, match="bits"):
        SecureSum(bits)


@pytest.mark.parametrize(("quorum", "collusion"), [(1, 0), (2, 1), (3, 2), (4, 4)])
def test_sums_that_accomplices_could_take_apart_are_refused(quorum: int, collusion: int) -> None:
    with pytest.raises(Unsound) as refused:
        SecureSum().after(GRID, Team(4, 4, quorum, collusion, 1))
    assert refused.value.code == "chain.isolates"


@pytest.mark.parametrize(
    ("form", "stage", "code"),
    [
        (message(), SecureSum(), "chain.sum-needs-grid"),
        (after(TopK(0.5), Clip(1.0), Quantise()), SecureSum(), "chain.topk-under-mask"),
        (NOISED, PlainSum(), "chain.share-in-the-clear"),
        (after(PlainSum()), PlainSum(), "chain.after-sum"),
        (message(), Mean(), "chain.before-sum"),
        (after(PlainSum(), Mean()), Mean(), "chain.after-mean"),
        (after(Weigh(), PlainSum()), Mean(-1), "chain.cohort-denominator"),
    ],
)
def test_sums_and_means_in_the_wrong_place_are_refused(form: Form, stage: Stage, code: str) -> None:
    with pytest.raises(Unsound) as refused:
        stage.after(form, TEAM)
    assert refused.value.code == code


def test_only_a_secure_sum_hides() -> None:
    plain, secure = PlainSum().after(GRID, TEAM), SecureSum().after(GRID, TEAM)
    assert (plain.hidden, plain.ideal, plain.bits) == (False, False, 0)
    assert (secure.hidden, secure.ideal) == (True, True)
    assert "SIMULATED" in SecureSum().says(GRID, secure)
    assert "every single answer" in PlainSum().says(GRID, plain)


def test_an_opened_sum_remembers_what_rounding_cost() -> None:
    form = PlainSum().after(GRID, TEAM)
    assert form.real
    assert form.rounding == GRID.step * math.sqrt(7)
    assert form.sensitivity("client") == pytest.approx(GRID.sensitivity("client") * GRID.step)


TOTAL = np.array([2.0, 4, 6, 8, 10, 12, 5.0])


@pytest.mark.parametrize(("over", "by"), [(0.0, 5.0), (-1, 4.0), (7.0, 7.0)])
def test_a_mean_divides_the_update_and_leaves_tallies_sums(over: float, by: float) -> None:
    mean = down(Mean(over), TOTAL, after(PlainSum()))
    assert mean[:6] == pytest.approx(TOTAL[:6] / by)
    assert mean[6] == 5.0


def test_buffers_are_divided_too() -> None:
    form = after(PlainSum(), form=message(buffers=2))
    total = np.array([2.0, 4, 6, 8, 10, 12, 5, 15, 5.0])
    assert down(Mean(), total, form)[6:8] == pytest.approx([1.0, 3.0])


@pytest.mark.parametrize("weight", [0.3, -2.0, 0.0])
def test_a_noised_weight_is_taken_as_one_at_least(weight: float) -> None:
    """Noise can make a summed weight small or negative, which would blow the mean up."""
    noised = after(Clip(1.0), PlainSum(), Gaussian("central", "client", 1.0))
    total = np.array([2.0, 4, 6, 8, 10, 12, weight])
    assert down(Mean(), total, noised)[:6] == pytest.approx(total[:6])


def test_an_exact_weight_is_taken_as_it_is() -> None:
    """Capped weights may add up to less than one."""
    total = np.array([2.0, 4, 6, 8, 10, 12, 0.5])
    assert down(Mean(), total, after(PlainSum()))[0] == 4.0
    total[6] = 0.0
    assert down(Mean(), total, after(PlainSum()))[0] == 2.0


@pytest.mark.parametrize("over", [-2.0, -0.5, math.inf, math.nan])
def test_a_denominator_is_public_and_positive(over: float) -> None:
    with pytest.raises(TacitError, match="over"):
        Mean(over)


def test_a_mean_says_what_it_divides_by() -> None:
    form = after(PlainSum())
    assert Mean().says(form, Mean().after(form, TEAM)).endswith("the summed weights.")
    assert Mean(-1).says(form, Mean(-1).after(form, TEAM)).endswith("the public number 4.")


def test_a_mean_without_weights_needs_a_number() -> None:
    form = Form(message().blocks[:1])
    with pytest.raises(Unsound) as refused:
        Mean().after(PlainSum().after(form, TEAM), TEAM)
    assert refused.value.code == "chain.no-weights"
    assert Mean(3.0).after(PlainSum().after(form, TEAM), TEAM).denominator == 3.0


def test_room_for_records_is_room_in_the_modulus() -> None:
    """`most` records a site: without it a secure sum of record sums could not be sized."""
    small, large = (
        SecureSum().after(
            after(ClipExamples(1.0, most=most), Quantise(), form=message(one_step=True)), TEAM
        )
        for most in (10, 10**6)
    )
    assert small.bits < large.bits
