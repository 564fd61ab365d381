"""Comparison: several ways to learn from the same clients, on the same test records, over seeds."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt

from tacit.learn.examples import NamedClients
from tacit.learn.federated_data import FederatedData
from tacit.plan.claims import Claim
from tacit.plan.federation import Federation
from tacit.record.run import Run
from tacit.sim import simulate as sim
from tacit.sim.engine import Outcome

FEDERATED, POOLED = "federated", "pooled"

ALL = "all clients"
"""Name of the evaluation set that holds every client's test records."""

COLUMNS = (
    "method", "label", "test_set", "test_records", "seeds", "accuracy_mean", "accuracy_sd",
    "record_epsilon", "delta", "bytes_moved",
)  # fmt: skip


@final
@dataclass(frozen=True)
class Method:
    """One way to learn: what runs, and where the records are while it does.

    `where`: "federated" (each client keeps its own), "pooled" (all in one place), or the name of
    the one client that learns alone.
    """

    name: str
    label: str
    federation: Federation
    where: str = FEDERATED

    def clients(self, data: FederatedData[Any]) -> NamedClients:
        """The training records that this method sees."""
        if self.where == FEDERATED:
            return data.train
        if self.where == POOLED:
            return data.train.pooled()
        return data.train.only(data.names.index(self.where))


class EvaluationSet(NamedTuple):
    """Test records of one client or of all.

    `trained`: training records of the same; `guess`: accuracy of always naming the class that is
    commoner among the test records.
    """

    name: str
    trained: int
    records: int
    guess: float

    def error(self, accuracy: float) -> float:
        """Standard error of an accuracy on so few records (binomial)."""
        return math.sqrt(max(accuracy * (1 - accuracy), 0.0) / self.records)


class Score(NamedTuple):
    """Accuracies on one evaluation set, one a seed."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.values))

    @property
    def sd(self) -> float:
        """Sample standard deviation over seeds; NaN for a single seed."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else math.nan

    def __str__(self) -> str:
        spread = "" if math.isnan(self.sd) else f" ±{100 * self.sd:.1f}"
        return f"{100 * self.mean:.1f}{spread}"


@final
@dataclass(frozen=True, eq=False)
class Result:
    """What one method reached: scores in the order of the evaluation sets, and its first run."""

    method: Method
    run: Run
    scores: tuple[Score, ...]

    @property
    def federated(self) -> bool:
        """Whether records stayed with their clients while these learned together."""
        return self.method.where == FEDERATED

    @property
    def moved(self) -> int | None:
        """Bytes of models and answers that moved in one run; None where no federation ran."""
        return self.run.bytes if self.federated else None

    def claim(self, hides: str) -> Claim | None:
        """The weakest claim about one unit over all parties, if all of them hold."""
        weakest = max((c for c in self.run.claims if c.hides == hides), key=lambda c: c.epsilon)
        return weakest if weakest.holds else None

    def plain(self, sets: Sequence[EvaluationSet]) -> dict[str, Any]:
        """As plain data; a promise that does not hold has no epsilon, one seed no spread."""
        return {
            "method": self.method.name,
            "label": self.method.label,
            "records": self.method.where,
            "digest": self.run.plan.digest,
            "accuracy": {
                found.name: {"mean": s.mean, "sd": _finite(s.sd), "values": list(s.values)}
                for found, s in zip(sets, self.scores, strict=True)
            },
            "claims": [_claim(claim) for claim in self.run.claims] if self.federated else [],
            "bytes_moved": self.moved,
        }


@final
@dataclass(frozen=True, eq=False)
class Comparison:
    """Every method's result on every evaluation set; the last set holds all test records.

    `source`: where the data comes from and under which licence.
    """

    sets: tuple[EvaluationSet, ...]
    seeds: tuple[int, ...]
    results: tuple[Result, ...]
    source: str = ""

    def __getitem__(self, name: str) -> Result:
        return {result.method.name: result for result in self.results}[name]

    @property
    def federated(self) -> dict[str, Run]:
        """The first run of every method that is a federation, by its label."""
        return {one.method.label: one.run for one in self.results if one.federated}

    def plain(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {
            "data": self.source,
            "seeds": list(self.seeds),
            "test_sets": [found._asdict() for found in self.sets],
            "methods": [result.plain(self.sets) for result in self.results],
        }

    def csv(self) -> str:
        """One line a method and evaluation set; numbers in full, empty where there is none."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for result in self.results:
            writer.writerows(self._lines(result))
        return text.getvalue()

    def _lines(self, result: Result) -> list[tuple[Any, ...]]:
        claim = result.claim("record") if result.federated else None
        spent = (claim.epsilon, claim.delta) if claim else ("", "")
        start = (result.method.name, result.method.label)
        return [
            (
                *start,
                found.name,
                found.records,
                len(self.seeds),
                score.mean,
                sd,
                *spent,
                result.moved,
            )
            for found, score in zip(self.sets, result.scores, strict=True)
            for sd in ("" if math.isnan(score.sd) else score.sd,)
        ]


class Step(NamedTuple):
    """How far a comparison is: what runs now, and the last run's accuracy on all test records."""

    done: int
    total: int
    doing: str
    accuracy: float


def baselines(federation: Federation, names: Sequence[str]) -> tuple[Method, ...]:
    """The same learning at every client alone, and with all records in one place."""
    single = sim.alone(federation)
    alone = (
        Method(f"alone-{name}", f"{name} alone", single.replace(name=name), name) for name in names
    )
    return (*alone, Method("pooled", "Pooled in one place", single.replace(name=POOLED), POOLED))


def compare(
    data: FederatedData[Any],
    methods: Sequence[Method],
    seeds: Sequence[int],
    progress: Callable[[Step], None] | None = None,
    source: str = "",
) -> Comparison:
    """Run every method once a seed, and evaluate each model on every client's test records."""
    count, total = itertools.count(), len(methods) * (1 + len(seeds))

    def tell(doing: str, accuracy: float) -> None:
        if progress:
            progress(Step(next(count), total, doing, accuracy))

    results = tuple(_measure(method, data, seeds, tell) for method in methods)
    tell("done", results[-1].scores[-1].values[-1])
    return Comparison(_sets(data), tuple(seeds), results, source)


def _measure(
    method: Method,
    data: FederatedData[Any],
    seeds: Sequence[int],
    tell: Callable[[str, float], None],
) -> Result:
    """One plan for all seeds, since its noise is calibrated only once."""
    last = math.nan
    tell(f"{method.label}: planning", last)
    plan, clients = method.federation.plan(), method.clients(data)
    outcomes: list[Outcome] = []
    for i, seed in enumerate(seeds):
        tell(f"{method.label}: seed {i + 1} of {len(seeds)}", last)
        outcomes.append(sim.simulate(plan, clients, seed, data.test))
        last = _accuracies(outcomes[-1])[-1]
    scores = tuple(Score(values) for values in zip(*map(_accuracies, outcomes), strict=True))
    run = Run(plan, outcomes[0], seeds[0], sim.noise_warnings(plan, clients))
    return Result(method, run, scores)


def _accuracies(outcome: Outcome) -> tuple[float, ...]:
    final_ = outcome.final
    assert final_ is not None  # compare() always gives test records
    return (*(tallies.accuracy for tallies in final_.clients.values()), final_.accuracy)


def _sets(data: FederatedData[Any]) -> tuple[EvaluationSet, ...]:
    parts = [(name, held, data.train.held[i]) for i, (name, held) in enumerate(data.test)]
    together = (data.test.pooled().held[0], data.train.pooled().held[0])
    return tuple(
        EvaluationSet(name, train.count, test.count, _commoner(test.y))
        for name, test, train in (*parts, (ALL, *together))
    )


def _commoner(labels: npt.NDArray[Any]) -> float:
    counts = np.unique(labels, return_counts=True)[1]
    return float(counts.max() / counts.sum())


def _claim(claim: Claim) -> dict[str, Any]:
    return {
        "against": str(claim.against),
        "hides": claim.hides,
        "epsilon": _finite(claim.epsilon),
        "delta": claim.delta,
        "assumes": list(claim.assumes),
    }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
