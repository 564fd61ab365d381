"""Large populations: memory and time of a round follow its cohort, not the number of clients."""

from __future__ import annotations

from benchmarks.common import HERE, Finished, python, report

MANY, SOME, FEW = 1_000_000, 100_000, 10_000


def _run(clients: int) -> Finished:
    return python(str(HERE / "jobs" / "population_job.py"), str(clients))


def population() -> None:
    """A million clients of W1's size, 1,000 a round: the whole process' peak memory."""
    many, some, few = (_run(clients).peak_mib for clients in (MANY, SOME, FEW))
    report("population", many, "MiB", 300.0, clients_100_000=some, clients_10_000=few)


def population_round() -> None:
    """The same: seconds a round."""
    many, some, few = (float(_run(clients).output) for clients in (MANY, SOME, FEW))
    report("population_round", many, "s", 1.0, clients_100_000=some, clients_10_000=few)


NAMES = {"population": population, "population_round": population_round}
