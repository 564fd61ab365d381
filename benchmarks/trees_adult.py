"""The census table of docs/how-to/trees.md: `TACIT_DATA=... python -m benchmarks.trees_adult`.

Reads TACIT_DATA/adult_income/train.csv.gz and test.csv.gz: the UCI Adult data with a header line.
Occupations are clients. Ranges and levels are public knowledge about a census, not statistics.
"""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import tacit

RANGES = {
    "age": (17, 90),
    "education_num": (1, 16),
    "capital_gain": (0, 20000),
    "capital_loss": (0, 4500),
    "hours_per_week": (1, 99),
}
WORDS = ("workclass", "marital_status", "relationship", "race", "sex")
FEWEST = 100
"""Occupations with fewer records are left out (the armed forces: nine)."""

Table = list[dict[str, str]]
Held = dict[str, tuple[Any, Any]]


def read(name: str) -> Table:
    """The rows of one file."""
    path = Path(os.environ["TACIT_DATA"]) / "adult_income" / f"{name}.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [{key: cell.strip() for key, cell in row.items()} for row in csv.DictReader(file)]


def features(row: dict[str, str], levels: dict[str, list[str]]) -> list[float]:
    """Numbers in [0, 1] by their range, one 0/1 feature a level."""
    numbers = [
        (min(max(float(row[name]), low), high) - low) / (high - low)
        for name, (low, high) in RANGES.items()
    ]
    return numbers + [float(row[name] == level) for name in WORDS for level in levels[name]]


def sites(table: Table, levels: dict[str, list[str]], names: list[str]) -> Held:
    """Features and labels of each occupation."""
    found = {}
    for name in names:
        rows = [row for row in table if row["occupation"] == name]
        x = np.array([features(row, levels) for row in rows])
        found[name] = (x, np.array([row["income"].startswith(">50K") for row in rows], np.int64))
    return found


def federation(clients: int, width: int, trees: int, bins: int, lr: float, least: float) -> Any:
    """Boosted trees of depth 3."""
    return tacit.Federation(
        task=tacit.trees.boosted_trees(trees=trees, depth=3, bins=bins),
        data=tacit.arrays(shape=(width,), classes=2, low=0.0, high=1.0),
        clients=clients,
        algorithm=tacit.trees.boosting(lr=lr, l2=least, least=least),
        rounds=trees * 4,
    )


def accuracies(train: Held, test: Held) -> Iterator[tuple[str, float]]:
    """What the page says, line by line."""
    size = (len(train), next(iter(train.values()))[0].shape[1])
    plain = federation(*size, trees=30, bins=32, lr=0.3, least=1e-4)
    pooled = tacit.pooled(plain, train, test=test).final
    assert pooled is not None
    yield "pooled", pooled.accuracy
    yield "federated", score(plain, train, test)
    alone = [run.final for run in tacit.local_only(plain, train, test=test).values()]
    yield "alone, on everyone", float(np.mean([one.accuracy for one in alone if one]))
    own = [one.clients[name] for name, one in zip(train, alone, strict=True) if one]
    right, held = (sum(getattr(one, part) for one in own) for part in ("correct", "examples"))
    yield "alone, on its own", right / held
    for epsilon, trees in ((3.0, 10), (1.0, 5)):
        chain = tacit.record_dp(epsilon=epsilon, delta=1e-6, clip=1.0, most=8192)
        noised = federation(*size, trees=trees, bins=16, lr=0.5, least=0.005)
        runs = [score(noised.replace(protect=chain), train, test, seed) for seed in range(2)]
        yield f"record_dp, epsilon {epsilon:g}", float(np.mean(runs))


def score(described: tacit.Federation, train: Held, test: Held, seed: int = 0) -> float:
    """Test accuracy on everyone's records."""
    final = tacit.simulate(described, train, seed=seed, test=test).final
    assert final is not None
    return final.accuracy


def main() -> None:
    """Print the table."""
    table = read("train")
    levels = {name: sorted({row[name] for row in table}) for name in WORDS}
    held = sorted({row["occupation"] for row in table})
    names = [n for n in held if sum(row["occupation"] == n for row in table) >= FEWEST]
    train, test = (sites(one, levels, names) for one in (table, read("test")))
    names = [name for name in names if len(test[name][1])]
    parts = ({name: one[name] for name in names} for one in (train, test))
    for line, accuracy in accuracies(*parts):
        print(f"| {line} | {accuracy:.3f} |", flush=True)


if __name__ == "__main__":
    main()
