"""What personalisation pays: `python -m benchmarks.personalisation [set ...]`.

One table a data set: pooled, local, FedAvg, and every personalised and clustered method, by the
mean and the worst client's test accuracy over five seeds. Each method's settings are chosen on
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
from functools import partial
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
from tacit.sim.tune import DIVERGED, validation

SEEDS = range(5)
RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
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

Make = Callable[..., Any]

METHODS: dict[str, tuple[Make, ...]] = {
    "pooled": (tacit.fedavg,),
    "local": (tacit.fedavg,),
    "fedavg": (tacit.fedavg,),
    "finetune": (tacit.finetune,),
    "fedper": (partial(tacit.fedper, personal=HEAD),),
    "fedrep": (partial(tacit.fedrep, personal=HEAD),),
    "ditto": tuple(partial(tacit.ditto, strength=strength) for strength in (0.1, 1.0)),
    "apfl": tuple(partial(tacit.apfl, alpha=alpha) for alpha in (0.25, 0.75)),
    "ifca": tuple(partial(tacit.ifca, clusters=clusters) for clusters in (2, 4)),
    "fedavg, batch norm": (tacit.fedavg,),
    "fedbn": (tacit.fedbn,),
}
"""Each called with a learning rate and a batch size, one local epoch a round."""

NORMED = ("fedavg, batch norm", "fedbn")


class Score(NamedTuple):
    """Accuracies of one run: the mean over clients, and the worst."""

    mean: float
    worst: float


def federations(method: str, setting: Setting, data: Federated) -> list[tacit.Federation]:
    """The descriptions that are compared for one method."""
    task: Any = tacit.numpy.mlp(hidden=(setting.hidden,))
    if method in NORMED:
        task = tacit.torch.task(
            Normed, features=data.shape[0], hidden=setting.hidden, classes=data.classes
        )
    return [
        tacit.Federation(
            task=task,
            clients=len(data.train),
            data=tacit.arrays(data.shape, data.classes),
            algorithm=make(lr=lr, batch=setting.batch),
            rounds=setting.rounds,
        )
        for make in METHODS[method]
        for lr in RATES
    ]


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


def chosen(method: str, setting: Setting, data: Federated) -> tacit.Federation:
    """The description with the best mean on records held out of the training data."""
    train, check = validation(data.train, 0.25, Key.seed(0) / "tune")
    scores = {}
    for described in federations(method, setting, data):
        try:
            with np.errstate(all="ignore"):
                scores[described] = scored(method, described, train, check, 0).mean
        except tacit.TacitError as error:
            if error.code not in DIVERGED:
                raise
    return max(scores, key=lambda described: scores[described])


def measured(name: str) -> list[dict[str, Any]]:
    """Every method on one data set, over the seeds."""
    setting, rows = SETTINGS[name], []
    cuts = [SETS[name](seed) for seed in SEEDS]
    for method in METHODS:
        began = time.perf_counter()
        described = chosen(method, setting, cuts[0])
        found = [
            scored(method, described, data.train, data.test, seed)
            for seed, data in zip(SEEDS, cuts, strict=True)
        ]
        row: dict[str, Any] = {"data": name, "clients": len(cuts[0].train), "method": method}
        row |= {"settings": settings_of(described), "seeds": len(found)}
        for part in Score._fields:
            values = [getattr(one, part) for one in found]
            row[part] = round(statistics.fmean(values), 4)
            row[f"{part}_sd"] = round(statistics.stdev(values), 4)
        rows.append(row)
        seconds = time.perf_counter() - began
        told = f"{row['mean']:.3f} worst {row['worst']:.3f} ({row['settings']}, {seconds:.0f} s)"
        print(f"{name:18s} {method:19s} {told}", flush=True)
    return rows


def settings_of(described: tacit.Federation) -> str:
    """What was chosen, in words."""
    names = ("lr", "strength", "alpha", "clusters")
    held = {name: getattr(described.algorithm, name, None) for name in names}
    return ", ".join(f"{name} {value:g}" for name, value in held.items() if value is not None)


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
