"""Deployment: a coordinator as its users start it, and clients that speak the true wire."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import tacit
from benchmarks.common import HERE, report
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

JOBS = HERE / "jobs"


def echo(size: int, clients: int, rounds: int) -> Federation:
    """So many float32 parameters, and a weight; all clients in every round."""
    if str(JOBS) not in sys.path:
        sys.path.insert(0, str(JOBS))
    return Federation(
        task=tacit.torch.task("echo:Echo", size=size),
        data=tacit.arrays(shape=(2,), classes=2),
        algorithm=tacit.fedavg(lr=0.1),
        clients=clients,
        rounds=rounds,
    )


def small_round() -> None:
    """Ten clients, 1,000 parameters: milliseconds a round."""
    clients, rounds, size = 10, 60, 1000
    with coordinator(clients) as here, load(here, "rounds", clients, size + 1):
        used = Used.of(process_of(here))
        found = ended(here, submitted(here, echo(size, clients, rounds)))
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
    clients, rounds, size = 500, 3, 250_000
    with coordinator(clients) as here, load(here, "rounds", clients, size + 1):
        used = Used.of(process_of(here))
        found = ended(here, submitted(here, echo(size, clients, rounds)))
        megabytes = found.history[0]["bytes_up"] / 1e6
        rates = [megabytes / took for took in round_seconds(found)]
        peak, cpu = used.peak, used.seconds
    report("upload_rate", statistics.median(rates), "MB/s", 100.0, slowest=min(rates))
    print(f"  the coordinator used {cpu / rounds:.1f} s of a processor a round, {peak:.0f} MiB")


def large_model() -> None:
    """250 million parameters, three clients: the coordinator's peak memory."""
    clients, rounds, size = 3, 1, 250_000_000
    with coordinator(clients) as here, load(here, "rounds", clients, size + 1):
        used = Used.of(process_of(here))
        began = time.perf_counter()
        ended(here, submitted(here, echo(size, clients, rounds)))
        took, cpu, peak = time.perf_counter() - began, used.seconds, used.peak
    report("large_model", peak, "MiB", 600.0)
    print(f"  {took:.1f} s in all, {cpu:.1f} s of a processor at the coordinator")


NAMES: dict[str, Callable[[], None]] = {
    "small_round": small_round,
    "idle_clients": idle_clients,
    "upload_rate": upload_rate,
    "large_model": large_model,
}
