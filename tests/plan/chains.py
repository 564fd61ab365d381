"""Every stage, origins and teams, and the walk over all chains that they make."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import tacit
from tacit.base.errors import Unsound
from tacit.base.vector import Block, Bound, Kind
from tacit.learn.contract import Arrays
from tacit.learn.fedavg import fedavg
from tacit.learn.fedsgd import fedsgd
from tacit.learn.numpy import mlp
from tacit.plan.build import Plan, Step, build, origin
from tacit.protect.balance import Balance
from tacit.protect.clip import Clip, ClipExamples
from tacit.protect.form import Form, Place, Team
from tacit.protect.noise import Gaussian
from tacit.protect.quantise import Quantise
from tacit.protect.stage import Stage
from tacit.protect.sum import Mean, PlainSum, SecureSum
from tacit.protect.topk import TopK
from tacit.protect.weigh import Weigh

CAP = 8.0
MULTIPLIER = 0.4

STAGES: tuple[Stage, ...] = (
    Clip(1.0),
    Clip(1.0, per_layer=True),
    ClipExamples(1.0, most=16),
    ClipExamples(1.0, sample=0.5, most=64),
    Weigh(),
    Weigh(CAP),
    TopK(0.5),
    TopK(0.5, feedback=False),
    Balance(),
    Balance(unit="record"),
    Quantise(),
    Quantise(levels=6),
    *(
        Gaussian(where, unit, MULTIPLIER)
        for where in ("local", "share", "central")
        for unit in ("client", "record")
    ),
    PlainSum(),
    SecureSum(),
    SecureSum(bits=8),
    Mean(),
    Mean(over=-1),
    Mean(over=7.0),
)
"""Every stage with every setting that changes a rule."""

LONG: tuple[tuple[Stage, ...], ...] = (
    (
        TopK(0.5),
        Clip(1.0),
        Weigh(CAP),
        Balance(),
        Quantise(),
        Gaussian("local", "client", MULTIPLIER),
        PlainSum(),
        Mean(),
    ),
    (
        Clip(1.0, per_layer=True),
        Weigh(CAP),
        Balance(),
        Quantise(),
        Gaussian("share", "client", MULTIPLIER),
        SecureSum(),
        Mean(),
    ),
    (
        ClipExamples(1.0, sample=0.5, most=16),
        Balance(unit="record"),
        Quantise(),
        Gaussian("share", "record", MULTIPLIER),
        SecureSum(),
        Mean(),
    ),
    (
        Clip(1.0),
        Weigh(CAP),
        Balance(),
        Quantise(levels=6),
        SecureSum(),
        Gaussian("central", "record", MULTIPLIER),
        Mean(),
    ),
    (
        TopK(0.5, feedback=False),
        Clip(1.0),
        Balance(),
        Quantise(),
        PlainSum(),
        Gaussian("central", "client", MULTIPLIER),
        Mean(over=-1),
    ),
)
"""Longer chains: everything at once."""

CLIENTS = 4

TEAMS = {
    "four sites": Team(CLIENTS, CLIENTS, CLIENTS, 1, rounds=3),
    "a quorum that isolates": Team(CLIENTS, CLIENTS, 2, 1, rounds=3),
    "a Poisson cohort": Team(40, 10, 5, 1, rounds=3, rate=0.25),
}

AVERAGE = 5.0
"""Limit of the algorithm's own number."""

METRICS = ("loss", "accuracy")
FEATURES, WIDTH = 2, 2


@cache
def plan_of(one_step: bool, metrics: tuple[str, ...], weight: bool) -> Plan:
    """A real plan of a small network (9 numbers in 4 layers), whose chain tests exchange."""
    federation = tacit.Federation(
        task=mlp((WIDTH,)),
        clients=CLIENTS,
        algorithm=fedsgd(0.1) if one_step else fedavg(0.1),
        data=Arrays((FEATURES,), 2),
        protect=(PlainSum(), Mean() if weight else Mean(over=1.0)),
        metrics=metrics,
    )
    return build(federation)


def with_buffers(form: Form) -> Form:
    """The same message with three batch-norm buffers."""
    buffers = Block("buffers", 3, Kind.BUFFER)
    blocks = (form.blocks[0], buffers, *form.blocks[1:])
    return replace(form, blocks=blocks, mixes="BatchNorm1d")


def with_average(form: Form) -> Form:
    """The same message with a number of the algorithm's own that is averaged as the update is."""
    average = Block("algorithm:normaliser", 1, Kind.AVERAGE, Bound(AVERAGE, AVERAGE), AVERAGE)
    return replace(form, blocks=(*form.blocks, average))


class Start(NamedTuple):
    """Where a walk starts, and the plan that lends its task."""

    form: Form
    plan: Plan


def _start(one_step: bool, metrics: tuple[str, ...] = (), weight: bool = True) -> Start:
    plan = plan_of(one_step, metrics, weight)
    return Start(origin(plan.task, plan.algorithm, metrics, weight), plan)


@cache
def starts() -> dict[str, Start]:
    """Messages of every make-up."""
    several = _start(one_step=False)
    return {
        "one step": _start(one_step=True),
        "one step, metrics": _start(one_step=True, metrics=METRICS),
        "one step, metrics, no weight": _start(one_step=True, metrics=METRICS, weight=False),
        "several steps": several,
        "several steps, no weight": _start(one_step=False, weight=False),
        "several steps, metrics": _start(one_step=False, metrics=METRICS),
        "several steps, an average": Start(with_average(several.form), several.plan),
        "buffers": Start(with_buffers(several.form), several.plan),
    }


class Refusal(NamedTuple):
    """A chain whose last stage was refused."""

    chain: tuple[Stage, ...]
    error: Unsound


class Walk(NamedTuple):
    """All accepted prefixes, by steps, and all refusals."""

    accepted: tuple[tuple[Step, ...], ...]
    refused: tuple[Refusal, ...]

    @property
    def complete(self) -> Iterator[tuple[Step, ...]]:
        """Accepted chains that end in a mean."""
        return (steps for steps in self.accepted if steps[-1].after.place is Place.MEAN)


LONGEST = 5


@cache
def walk_all(start: str, team: str) -> Walk:
    """All chains of up to five stages; what is refused is not continued."""
    accepted: list[tuple[Step, ...]] = []
    refused: list[Refusal] = []
    front: list[tuple[Step, ...]] = [()]
    while front:
        steps = front.pop()
        form = steps[-1].after if steps else starts()[start].form
        for stage in STAGES:
            try:
                after = stage.after(form, TEAMS[team])
            except Unsound as error:
                chain = (*(step.stage for step in steps), stage)
                refused.append(Refusal(chain, error.with_traceback(None)))
                continue
            longer = (*steps, Step(stage, form, after))
            accepted.append(longer)
            if len(longer) < LONGEST:
                front.append(longer)
    return Walk(tuple(accepted), tuple(refused))


def steps_of(chain: tuple[Stage, ...], form: Form, team: Team) -> tuple[Step, ...]:
    """A chain with its facts, complete or not."""
    steps = []
    for stage in chain:
        after = stage.after(form, team)
        steps.append(Step(stage, form, after))
        form = after
    return tuple(steps)
