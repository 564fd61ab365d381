"""What personalisation pays: `python -m benchmarks.personalisation [set ...]`.

One table a data set: pooled, local, FedAvg, and every personalised and clustered method, by the
mean and the worst client's test accuracy over five seeds. Each method's learning rate is chosen on
records held out of the first seed's training data, so nobody sees test records. Writes
`results/personalisation.csv`, and the choices, machine and date beside it as JSON.
"""

from __future__ import annotations

import csv
import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

import tacit
from benchmarks.common import RESULTS, machine
from benchmarks.personal_data import SETS, Federated, missing
from benchmarks.personal_model import Normed
from tacit.base.key import Key
from tacit.learn.examples import NamedClients
from tacit.sim.evaluate import Evaluation, evaluate
from tacit.sim.simulate import alone, simulate
from tacit.sim.tune import validation

SEEDS = range(5)
RATES = (0.03, 0.1, 0.3, 1.0)
HEAD = ("weight1", "bias1")


class Setting(NamedTuple):
    """Hidden width, rounds, and batch of a data set."""

    hidden: int
    rounds: int
    batch: int


SETTINGS = {
    "heart_disease": Setting(16, 30, 16),
    "sms_spam": Setting(16, 30, 20),
    "shakespeare_roles": Setting(32, 30, 20),
    "mnist_skewed": Setting(32, 40, 16),
}

Make = Callable[[float, int], Any]

METHODS: dict[str, Make] = {
    "pooled": lambda lr, batch: tacit.fedavg(lr=lr, batch=batch),
    "local": lambda lr, batch: tacit.fedavg(lr=lr, batch=batch),
    "fedavg": lambda lr, batch: tacit.fedavg(lr=lr, batch=batch),
    "finetune": lambda lr, batch: tacit.finetune(lr=lr, batch=batch),
    "fedper": lambda lr, batch: tacit.fedper(lr=lr, personal=HEAD, batch=batch),
    "fedrep": lambda lr, batch: tacit.fedrep(lr=lr, personal=HEAD, batch=batch),
    "ditto": lambda lr, batch: tacit.ditto(lr=lr, batch=batch),
    "apfl": lambda lr, batch: tacit.apfl(lr=lr, batch=batch),
    "ifca": lambda lr, batch: tacit.ifca(lr=lr, clusters=2, batch=batch),
    "fedavg, batch norm": lambda lr, batch: tacit.fedavg(lr=lr, batch=batch),
    "fedbn": lambda lr, batch: tacit.fedbn(lr=lr, batch=batch),
}
"""Each at a learning rate and a batch size, one local epoch a round."""

NORMED = ("fedavg, batch norm", "fedbn")


class Score(NamedTuple):
    """Accuracies of one run: the mean over clients, and the worst."""

    mean: float
    worst: float


def federation(method: str, lr: float, setting: Setting, data: Federated) -> tacit.Federation:
    """The description of one run."""
    task: Any = tacit.numpy.mlp(hidden=(setting.hidden,))
    if method in NORMED:
        task = tacit.torch.task(
            Normed, features=data.shape[0], hidden=setting.hidden, classes=data.classes
        )
    return tacit.Federation(
        task=task,
        clients=len(data.train),
        data=tacit.arrays(data.shape, data.classes),
        algorithm=METHODS[method](lr, setting.batch),
        rounds=setting.rounds,
    )


def scored(
    method: str, described: tacit.Federation, train: NamedClients, test: NamedClients, seed: int
) -> Score:
    """Train, then judge every client by the model that it would use."""
    if method == "local":
        each = [
            _final(alone(described), train.only(i), test.only(i), seed) for i in range(len(train))
        ]
        return _over([one.accuracy for one in each])
    if method == "pooled":
        found = _final(alone(described), train.pooled(), test, seed)
    else:
        found = _final(described, train, test, seed)
    return _over([one.accuracy for one in found.clients.values() if one.examples])


def chosen_rate(method: str, setting: Setting, data: Federated) -> float:
    """The learning rate with the best mean on records held out of the training data."""
    train, check = validation(data.train, 0.25, Key.seed(0) / "tune")
    scores = {}
    for lr in RATES:
        try:
            with np.errstate(all="ignore"):
                described = federation(method, lr, setting, data)
                scores[lr] = scored(method, described, train, check, 0).mean
        except tacit.TacitError as error:
            print(f"  {method} at {lr:g}: {error.cause}", flush=True)
    return max(scores, key=lambda lr: scores[lr])


def measured(name: str) -> list[dict[str, Any]]:
    """Every method on one data set, over the seeds."""
    setting, rows = SETTINGS[name], []
    cuts = [SETS[name](seed) for seed in SEEDS]
    for method in METHODS:
        began = time.perf_counter()
        lr = chosen_rate(method, setting, cuts[0])
        found = [
            scored(method, federation(method, lr, setting, data), data.train, data.test, seed)
            for seed, data in zip(SEEDS, cuts, strict=True)
        ]
        row: dict[str, Any] = {"data": name, "clients": len(cuts[0].train), "method": method}
        row |= {"lr": lr, "seeds": len(found)}
        for part in Score._fields:
            values = [getattr(one, part) for one in found]
            row[part] = round(statistics.fmean(values), 4)
            row[f"{part}_sd"] = round(statistics.stdev(values), 4)
        rows.append(row)
        seconds = time.perf_counter() - began
        told = f"{row['mean']:.3f} worst {row['worst']:.3f} ({lr=:g}, {seconds:.0f} s)"
        print(f"{name:18s} {method:19s} {told}", flush=True)
    return rows


def main(wanted: list[str]) -> None:
    """Measure the sets that are here, and write the table."""
    rows: list[dict[str, Any]] = []
    for name in wanted or list(SETS):
        if problem := missing(name):
            print(f"{name} is left out: {problem}.")
        else:
            rows += measured(name)
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "personalisation.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    about = {
        "machine": machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "rates": RATES,
        "settings": {name: one._asdict() for name, one in SETTINGS.items()},
        "rows": rows,
    }
    (RESULTS / "personalisation.json").write_text(json.dumps(about, indent=2) + "\n", "utf-8")


def _final(
    described: tacit.Federation, train: NamedClients, test: NamedClients, seed: int
) -> Evaluation:
    plan = described.plan()
    models = simulate(plan, train, seed).models
    return evaluate(plan.task, models.tested_on(test), test)


def _over(scores: list[float]) -> Score:
    return Score(statistics.fmean(scores), min(scores))


if __name__ == "__main__":
    main(sys.argv[1:])
