"""Deployment: a coordinator as its users start it, and clients that speak the true wire."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import tacit
from benchmarks.common import report
from benchmarks.jobs.deployed import (
    Used,
    coordinator,
    ended,
    load,
    process_of,
    round_seconds,
    submitted,
)
from tacit.plan.federation import Federation


def learning(features: int, clients: int, rounds: int) -> Federation:
    """Twice as many parameters as features, and two; all clients in every round."""
    return Federation(
        task=tacit.numpy.logistic_regression(),
        data=tacit.arrays(shape=(features,), classes=2),
        algorithm=tacit.fedavg(lr=0.1),
        clients=clients,
        rounds=rounds,
    )


def small_round() -> None:
    """Ten clients, 1,000 parameters: milliseconds a round."""
    clients, rounds = 10, 60
    with coordinator(clients) as here, load(here, "rounds", clients):
        used = Used.of(process_of(here))
        found = ended(here, submitted(here, learning(999, clients, rounds)))
        took = round_seconds(found)
        report(
            "small_round",
            1000 * statistics.median(took),
            "ms",
            50.0,
            slowest=1000 * max(took),
            coordinator_processor=1000 * used.seconds / rounds,
        )


def idle_clients() -> None:
    """A thousand clients that wait for work: the coordinator's memory, and its share of a core."""
    clients, minute = 1000, 45.0
    with coordinator(clients) as here, load(here, "idle", clients):
        used = Used.of(process_of(here))
        time.sleep(minute)
        share, resident, peak = used.share, used.resident, used.peak
    report("idle_clients", resident, "MiB", 300.0, peak=peak)
    report("idle_clients_core", 100 * share, "% of a core", 10.0)


def upload_rate() -> None:
    """500 clients, 1 MB each: megabytes a second from the round's opening to its closing."""
    clients, rounds = 500, 3
    with coordinator(clients) as here, load(here, "rounds", clients):
        used = Used.of(process_of(here))
        found = ended(here, submitted(here, learning(125_000, clients, rounds)))
        megabytes = found.history[0]["bytes_up"] / 1e6
        rates = [megabytes / took for took in round_seconds(found)]
        peak, cpu = used.peak, used.seconds
    report("upload_rate", statistics.median(rates), "MB/s", 100.0, slowest=min(rates))
    print(f"  the coordinator used {cpu / rounds:.1f} s of a processor a round, {peak:.0f} MiB")


def large_model() -> None:
    """250 million parameters, three clients: the coordinator's peak memory."""
    clients, rounds = 3, 1
    with coordinator(clients) as here, load(here, "rounds", clients):
        used = Used.of(process_of(here))
        began = time.perf_counter()
        ended(here, submitted(here, learning(124_999_999, clients, rounds)))
        took, cpu, peak = time.perf_counter() - began, used.seconds, used.peak
    report("large_model", peak, "MiB", 600.0)
    print(f"  {took:.1f} s in all, {cpu:.1f} s of a processor at the coordinator")


NAMES: dict[str, Callable[[], None]] = {
    "small_round": small_round,
    "idle_clients": idle_clients,
    "upload_rate": upload_rate,
    "large_model": large_model,
}
