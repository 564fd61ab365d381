"""What a round costs depends on its cohort, not on how many clients there are."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tacit
from tacit.base.key import Key
from tacit.sim.simulate import noise_warnings, records_held
from tests.sim.population import Synthetic, federation

FEW, MANY = 10_000, 1_000_000
COHORT = 20


def peak(work: Callable[[], Any]) -> int:
    """Largest number of bytes held at once beyond those at the start."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def plain_average(clients: int) -> tacit.Federation:
    return federation(clients, tacit.fixed(size=COHORT, spare=3))


def with_memory(clients: int) -> tacit.Federation:
    chain = (tacit.top_k(0.3), tacit.weigh(), tacit.plain_sum(), tacit.mean())
    return federation(clients, tacit.fixed(size=COHORT), protect=chain)


def central(clients: int) -> tacit.Federation:
    chain = tacit.central_dp(epsilon=2.0, delta=1e-5, clip=1.0)
    return federation(clients, tacit.poisson(COHORT / clients), protect=chain, quorum=2)


def records(clients: int) -> tacit.Federation:
    chain = tacit.record_dp(epsilon=3, delta=1e-5, clip=1.0, sample=0.5)
    algorithm = tacit.fedsgd(lr=0.1)
    return federation(clients, tacit.fixed(size=COHORT), protect=chain, algorithm=algorithm)


def asynchronous(clients: int) -> tacit.Federation:
    return federation(clients, tacit.buffered(size=COHORT // 2, concurrency=COHORT))


@pytest.mark.parametrize("make", [plain_average, with_memory, central, records, asynchronous])
def test_a_million_clients_take_the_memory_of_ten_thousand(
    make: Callable[[int], tacit.Federation],
) -> None:
    runs = []

    def work(clients: int) -> Callable[[], None]:
        described = make(clients)
        described.plan()
        return lambda: runs.append(tacit.simulate(described, Synthetic(clients)))

    work(100)()  # what is loaded at first use
    few, many = peak(work(FEW)), peak(work(MANY))
    assert many < few + 700_000, f"{few} bytes for {FEW} clients, {many} for {MANY}"
    assert all(len(run.history) == 2 for run in runs)


@given(st.integers(1, 200_000), st.floats(0.0001, 0.3), st.integers(0, 9))
def test_coins_tossed_in_parts_are_the_same_coins(clients: int, rate: float, seed: int) -> None:
    whole = Key.seed(seed).generator().random(clients) < rate
    assert tacit.poisson(rate).draw(clients, Key.seed(seed)) == tuple(np.flatnonzero(whole))


@pytest.mark.parametrize("clients", [30, 20_000, MANY])
def test_fixed_cohorts_are_drawn_evenly_and_in_little_memory(clients: int) -> None:
    cohort = tacit.fixed(size=30)
    drawn = cohort.draw(clients, Key.seed(1))
    assert len(set(drawn)) == 30 and list(drawn) == sorted(drawn)
    assert peak(lambda: cohort.draw(clients, Key.seed(2))) < 500_000
    if clients > 30:
        every = [i for k in range(100) for i in cohort.draw(clients, Key.seed(k))]
        assert abs(np.mean(every) / clients - 0.5) < 4 / np.sqrt(12 * 3000)


def test_the_number_of_records_is_estimated_from_some_clients() -> None:
    clients = Synthetic(MANY)
    assert records_held(clients) / MANY == pytest.approx(9.5, abs=1.0)
    assert records_held(Synthetic(40)) == sum(Synthetic(40).examples(i).count for i in range(40))
    chain = tacit.record_dp(epsilon=0.01, delta=1e-5, clip=1.0, sample=0.5)
    noisy = records(1000).replace(protect=chain).plan()
    assert "records a round" in noise_warnings(noisy, Synthetic(1000))[0]
