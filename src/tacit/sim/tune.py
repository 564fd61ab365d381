"""Choose a method and its learning rates by federated validation, and count what that costs.

A part of every client's records is held out; each candidate is trained on the rest and judged, at
every client with the model which that client would use, on what was held out. Candidates are
compared all at full length, or by successive halving (Jamieson and Talwalkar 2016, "Non-stochastic
Best Arm Identification and Hyperparameter Optimization", Algorithm 1). Where the chain adds noise,
the scores get noise too, and all that was looked at counts: Papernot and Steinke 2022,
"Hyperparameter Tuning with Renyi Differential Privacy", show what leaks otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tacit.base.errors import TacitError, Unsound
from tacit.base.key import Key
from tacit.base.plain import tagged, to_plain
from tacit.learn.examples import Clients, NamedClients, as_clients
from tacit.learn.local import hold_out
from tacit.plan.accounting import Event, compose
from tacit.plan.build import Plan, build
from tacit.plan.claims import Claim, Party
from tacit.plan.federation import Federation
from tacit.plan.kinds import PARTS
from tacit.protect.form import Unit
from tacit.sim.evaluate import Evaluation, evaluate
from tacit.sim.simulate import simulate

DIVERGED = (
    "round.quorum",
    "round.model-not-finite",
    "round.update-not-finite",
    "task.loss-not-finite",
)
"""Errors by which a candidate loses; any other ends the search."""

HALVING = 3
"""Of so many candidates one goes on to a rung with as many times the rounds."""


class Trial(NamedTuple):
    """One candidate after `rounds`: its score (higher is better), or why there is none.

    `worst` is the exact accuracy of the worst client, NaN where scores are noised.
    """

    federation: Federation
    rounds: int
    score: float
    worst: float
    problem: str = ""


class Spent(NamedTuple):
    """What `tuning` costs, and `total` with the chosen federation run afterwards on all records."""

    against: Party
    hides: Unit
    delta: float
    tuning: float
    total: float


class Tuned(NamedTuple):
    """Every trial in the order in which it ran, the chosen federation, and the privacy spent."""

    trials: tuple[Trial, ...]
    best: Federation
    spent: tuple[Spent, ...]

    @property
    def chosen(self) -> Trial:
        """The trial that won."""
        return next(one for one in reversed(self.trials) if _same(one.federation, self.best))


def candidates(
    federation: Federation,
    methods: Sequence[str],
    rates: Sequence[float],
    **settings: Any,
) -> tuple[Federation, ...]:
    """The federation with each method at each learning rate.

    A method keeps the settings that it shares with the described one; `settings` (for example
    `personal`) are for the methods that have them. Raises `description.unknown` or
    `description.missing`.
    """
    described = to_plain(federation.algorithm)
    found = []
    for method in methods:
        known = {
            name: value for name, value in (described | settings).items() if _has(method, name)
        }
        for rate in rates:
            plain = known | {"kind": method, "lr": rate}
            spec = tagged(PARTS["algorithm"], plain, ("algorithm",))
            found.append(federation.replace(algorithm=spec))
    return tuple(found)


def tune(
    compared: Sequence[Federation],
    data: Any,
    held_out: float = 0.25,
    halving: bool = False,
    seed: int = 0,
    score_noise: float = 10.0,
    progress: Callable[[Trial], None] | None = None,
) -> Tuned:
    """The best of `compared` on `held_out` of each client's training records.

    `score_noise`: standard deviation of the noise on the number of right answers (of records, or
    summed accuracies of clients: the unit that the chain hides), where the chain has any noise.
    Test data of a `FederatedData` is not looked at. Raises `run.tune-no-candidate` when none could
    be trained, and `run.tune-no-score` for a noised regression.
    """
    train, check = validation(as_clients(data), held_out, Key.seed(seed) / "tune")
    trials: list[Trial] = []
    left = list(compared)
    for rounds in _rungs(compared, halving):
        rung = []
        for one in left:
            shorter = one.replace(rounds=min(rounds, one.rounds))
            rung.append(_tried(shorter, train, check, seed, score_noise))
            if progress:
                progress(rung[-1])
        trials += rung
        order = sorted(range(len(left)), key=lambda i: -rung[i].score)
        if rung[order[0]].problem:
            raise TacitError("run.tune-no-candidate", problem=rung[order[0]].problem)
        left = [left[i] for i in order[: max(1, len(left) // HALVING)]]
    return Tuned(tuple(trials), left[0], _spent(trials, left[0], score_noise))


def validation(clients: Clients, fraction: float, key: Key) -> tuple[NamedClients, NamedClients]:
    """Each client's records to train on, and those that are held out: a coin a record."""
    names = tuple(clients.name(i) for i in range(len(clients)))
    parts = [hold_out(clients.examples(i), fraction, key / i) for i in range(len(clients))]
    fit, check = zip(*parts, strict=True)
    return NamedClients(names, fit), NamedClients(names, check)


def _tried(
    federation: Federation, train: Clients, check: Clients, seed: int, noise: float
) -> Trial:
    try:
        plan = build(federation)
        with np.errstate(all="ignore"):
            models = simulate(plan, train, seed).models
            found = evaluate(plan.task, models.tested_on(check), check)
    except Unsound as refused:
        return Trial(federation, 0, -math.inf, math.nan, refused.cause)
    except TacitError as error:
        if error.code not in DIVERGED:
            raise
        return Trial(federation, federation.rounds, -math.inf, math.nan, error.cause)
    name = Key.seed(seed) / "score" / federation.digest
    worst = found.worst if plan.form.noise is None else math.nan
    return Trial(federation, federation.rounds, _score(plan, found, noise, name), worst)


def _score(plan: Plan, found: Evaluation, noise: float, key: Key) -> float:
    """Accuracy (or minus the loss, for regression); noised where the plan promises anything."""
    contract = plan.federation.data
    classes = contract.classes if contract else 0
    if plan.form.noise is None:
        return found.accuracy if classes else -found.loss
    if not classes:
        raise TacitError("run.tune-no-score")
    by_record = plan.form.noise.unit == "record"
    each = found.clients.values()
    right = found.pooled.correct if by_record else sum(c.accuracy for c in each if c.examples)
    of = found.pooled.examples if by_record else len(found.clients)
    return float(right + noise * key.generator().normal()) / of


def _rungs(compared: Sequence[Federation], halving: bool) -> list[int]:
    """Rounds of each rung: the last is the longest described."""
    longest = max(one.rounds for one in compared)
    rungs = max(1, math.ceil(math.log(len(compared), HALVING) - 1e-9)) if halving else 1
    return [max(1, longest // HALVING**i) for i in reversed(range(rungs))]


def _spent(trials: Iterable[Trial], best: Federation, noise: float) -> tuple[Spent, ...]:
    """Every claim of the chosen plan beside what it becomes when all runs count."""
    plan = build(best)
    ran = [build(one.federation) for one in trials if one.rounds]
    found = []
    for claim in plan.claims:
        if claim.event is not None and claim.holds:
            events = [event for one in ran for event in _events(one, claim, noise)]
            tuning, total = (
                _composed(part, claim.delta) for part in (events, [*events, claim.event])
            )
            found.append(Spent(claim.against, claim.hides, claim.delta, tuning, total))
    return tuple(found)


def _events(plan: Plan, claim: Claim, noise: float) -> list[Event | None]:
    """What a party saw of one unit in a trial: its rounds, and its score."""
    same = (one for one in plan.claims if (one.against, one.hides) == (claim.against, claim.hides))
    rounds = next(same).event
    unit = plan.form.noise.unit if plan.form.noise else None
    bounded = unit in {claim.hides, "client"}
    score = Event("gaussian", noise, 1.0, 1, 1, 1.0, 1) if bounded and noise else None
    return [rounds, score]


def _composed(events: Sequence[Event | None], delta: float) -> float:
    known = tuple(event for event in events if event is not None)
    return compose(known, delta) if len(known) == len(events) else math.inf


def _has(method: str, name: str) -> bool:
    cls = PARTS["algorithm"].get(method)
    return cls is not None and name in cls.__dataclass_fields__


def _same(one: Federation, other: Federation) -> bool:
    return replace(one, rounds=other.rounds) == other
