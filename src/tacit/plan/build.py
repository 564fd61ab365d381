"""`build`: walk the facts through the chain, calibrate the noise, derive what is claimed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np

from tacit.base.errors import TacitError, Unsound
from tacit.base.key import Key
from tacit.base.vector import Block, Bound, Kind, Layout, Vector
from tacit.learn.algorithm import Algorithm, Need
from tacit.learn.local import RecordRule
from tacit.learn.personal import Split, split
from tacit.learn.represent import representing
from tacit.learn.task import Staged, Task
from tacit.plan.accounting import calibrate
from tacit.plan.claims import Claim, calibrated_against, claims, event_for
from tacit.plan.cost import Cost, cost
from tacit.plan.warn import warnings
from tacit.protect.clip import ClipExamples
from tacit.protect.form import Form, Place, Team
from tacit.protect.noise import SMALLEST_SHARE, Gaussian
from tacit.protect.stage import Stage
from tacit.protect.sum import Mean

if TYPE_CHECKING:
    from tacit.plan.federation import Federation

LOSS_LIMIT = 10.0
"""Mean losses of clients are reported up to this value (nats)."""

BINS = 10
"""Bins of the histogram of client accuracies."""


class Step(NamedTuple):
    """One stage with the facts before and after it."""

    stage: Stage
    before: Form
    after: Form


@final
@dataclass(frozen=True)
class Plan:
    """A checked federation: what runs, what is claimed, what it costs.

    `split` says which coordinates of the model travel, and which stay at home;
    `steps` are the chain with its facts; `claims` the table of who learns what; `warnings` what is
    sound but will disappoint.
    """

    federation: Federation
    task: Task
    split: Split
    algorithm: Algorithm
    team: Team
    steps: tuple[Step, ...]
    claims: tuple[Claim, ...]
    warnings: tuple[str, ...]
    cost: Cost

    @cached_property
    def client_steps(self) -> tuple[Step, ...]:
        """Stages with a half at the client, up to and with the sum."""
        return tuple(step for step in self.steps if step.before.place is Place.CLIENT)

    @cached_property
    def total_steps(self) -> tuple[Step, ...]:
        """Stages behind the sum."""
        return tuple(step for step in self.steps if step.before.place is not Place.CLIENT)

    @property
    def form(self) -> Form:
        """The facts at the end."""
        return self.steps[-1].after

    @property
    def message(self) -> Form:
        """The facts at the start: the blocks of one answer."""
        return self.steps[0].before

    @cached_property
    def records(self) -> RecordRule | None:
        """What the local loop does to every record, if the chain protects records."""
        for step in self.steps:
            if isinstance(step.stage, ClipExamples):
                return RecordRule(step.stage.norm, step.stage.sample)
        return None

    @property
    def layout(self) -> Layout:
        """The shared coordinates: what state, offers and updates hold."""
        return self.split.shared

    def start(self, key: Key) -> Vector:
        """The shared part of the model's start."""
        return self.split.parts(self.task.start(key))[0]

    @cached_property
    def home_start(self) -> Vector:
        """What stays at home begins like this everywhere; it follows from the layout alone.

        A client makes it itself, so it need not travel either.
        """
        key = Key.seed(0) / "home" / self.split.whole.digest
        return self.split.parts(self.task.start(key))[1]

    @property
    def digest(self) -> str:
        """The description's digest."""
        return self.federation.digest


def build(federation: Federation) -> Plan:
    """Check a federation and derive everything from it; raises `Unsound` with why and remedy."""
    task = federation.task.build(federation.data)
    if "accuracy" in federation.metrics and federation.data and not federation.data.classes:
        raise TacitError("description.metric", metric="accuracy")
    algorithm = federation.algorithm.build()
    if Need.REPRESENTATION in algorithm.needs:
        representing(task)
    _check_pair(federation, task, algorithm)
    team = team_of(federation)
    parts = split(task, algorithm.personal)
    start = origin(
        task, algorithm, federation.metrics, _wants_weights(federation.protect), parts.shared
    )
    protect = calibrated(federation.protect, start, team)
    steps = walk(protect, start, team)
    met = next((step.before for step in steps if isinstance(step.stage, Gaussian)), None)
    end = steps[-1].after
    if federation.cohort.kind == "buffered":
        _refuse_buffered(end, parts.shared)
    wire = next(step.after for step in steps if step.after.place is not Place.CLIENT)
    sent = replace(wire, step=_grid_step(steps))
    return Plan(
        federation,
        task,
        parts,
        algorithm,
        team,
        steps,
        claims(met, end, team, _delta(protect)),
        warnings(end, team),
        cost(sent, _offered(algorithm, parts.shared), parts.shared.itemsize, team),
    )


def _refuse_buffered(end: Form, layout: Layout) -> None:
    """Answers of different models are weighted one by one, and only updates are."""
    if end.hidden:
        raise Unsound("round.buffered-hidden")
    if layout.size > layout.trained:
        raise Unsound("round.buffered-buffers")
    if layout.answer:
        raise Unsound("round.buffered-answer")


def origin(
    task: Task,
    algorithm: Algorithm,
    metrics: tuple[str, ...] = (),
    weight: bool = True,
    shared: Layout | None = None,
) -> Form:
    """Where the walk starts: the blocks of an answer as it leaves the algorithm.

    `shared`: the part of the layout that travels, where it is not all of it.
    """
    layout = shared or task.layout
    blocks = [_update(layout, algorithm.width)]
    if layout.size > layout.trained:
        buffers = algorithm.width * (layout.size - layout.trained)
        blocks.append(Block("buffers", buffers, Kind.BUFFER))
    if weight:
        blocks.append(Block("weight", 1, Kind.TALLY, Bound(0.0, 1.0), 1.0))
    if "loss" in metrics:
        bound = Bound(LOSS_LIMIT, LOSS_LIMIT)
        blocks.append(Block("loss", 1, Kind.TALLY, bound, LOSS_LIMIT))
    if "accuracy" in metrics:
        blocks.append(Block("accuracy", BINS, Kind.TALLY, Bound(math.sqrt(2), 1.0), 1.0))
    blocks += [replace(block, name=f"algorithm:{block.name}") for block in algorithm.extra]
    memory = Need.MEMORY in algorithm.needs or bool(algorithm.personal)
    return Form(tuple(blocks), one_step=algorithm.one_step, mixes=task.mixes, memory=memory)


def walk(protect: tuple[Stage, ...], start: Form, team: Team) -> tuple[Step, ...]:
    """The chain stage by stage; must end in a mean."""
    steps = _steps(protect, start, team)
    form = steps[-1].after if steps else start
    if form.place is not Place.MEAN:
        where = "before the answers are summed" if form.place is Place.CLIENT else "in a sum"
        raise Unsound("chain.empty", where=where)
    return steps


def _steps(stages: tuple[Stage, ...], start: Form, team: Team) -> tuple[Step, ...]:
    steps, form = [], start
    for stage in stages:
        after = stage.after(form, team)
        steps.append(Step(stage, form, after))
        form = after
    return tuple(steps)


def calibrated(protect: tuple[Stage, ...], start: Form, team: Team) -> tuple[Stage, ...]:
    """The chain with a noise multiplier wherever it was given as a budget."""
    for i, stage in enumerate(protect):
        if isinstance(stage, Gaussian) and stage.epsilon:
            trial = _trial(stage, _steps(protect[:i], start, team), team)
            steps = walk((*protect[:i], trial, *protect[i + 1 :]), start, team)
            party = calibrated_against(stage.where)
            event = event_for(party, stage.unit, steps[i].before, steps[-1].after, team)
            assert event is not None
            factor = calibrate(event, stage.epsilon, stage.delta)
            sized = replace(trial, multiplier=trial.multiplier * factor)
            return (*protect[:i], sized, *protect[i + 1 :])
    return protect


def _trial(stage: Gaussian, steps: tuple[Step, ...], team: Team) -> Gaussian:
    """The stage with so little noise that nothing is refused for its sake."""
    multiplier = 1.0
    if steps and not steps[-1].after.real:
        thin = 2 * SMALLEST_SHARE * math.sqrt(max(team.honest, 1))
        multiplier = thin / steps[-1].after.sensitivity(stage.unit)
    return replace(stage, multiplier=multiplier, epsilon=0.0)


def _check_pair(federation: Federation, task: Task, algorithm: Algorithm) -> None:
    """What clients answer is what the algorithm applies; whole stages of the task are learned."""
    if bool(task.layout.answer) != (Need.ANSWER in algorithm.needs):
        kinds = {"task": federation.task.kind, "algorithm": federation.algorithm.kind}
        raise TacitError("task.trees-pair", **kinds)
    if isinstance(task, Staged):
        task.check_rounds(federation.rounds)


def team_of(federation: Federation) -> Team:
    """Who takes part, with defaults filled in."""
    cohort = federation.cohort.target(federation.clients)
    rate = federation.cohort.rate
    usual = cohort if rate in (None, 1.0) else max(1, cohort // 2)
    quorum = federation.quorum or usual
    if quorum > cohort:
        raise TacitError("description.quorum-cohort", quorum=quorum, cohort=cohort)
    return Team(federation.clients, cohort, quorum, federation.collusion, federation.rounds, rate)


def _update(layout: Layout, width: int) -> Block:
    """The change of trained coordinates, of every model that the algorithm keeps."""
    held = layout.answer or [t for t in layout.tensors if t.kind is Kind.TRAINED]
    layers = tuple(tensor.size for tensor in held)
    return Block("update", width * layout.update, Kind.TRAINED, layers=width * layers)


def _offered(algorithm: Algorithm, layout: Layout) -> int:
    """Coordinates that a client receives: of every vector of the offer."""
    first = algorithm.offer(algorithm.start(np.zeros(layout.size, layout.dtype)))
    return sum(np.size(vector) for vector in first.values())


def _wants_weights(protect: tuple[Stage, ...]) -> bool:
    """A public denominator makes the weight tally needless, and what is not sent costs nothing."""
    return not any(isinstance(stage, Mean) and stage.over for stage in protect)


def _delta(protect: tuple[Stage, ...]) -> float:
    noise = [stage for stage in protect if isinstance(stage, Gaussian)]
    return noise[0].delta if noise else 1e-5


def _grid_step(steps: tuple[Step, ...]) -> float:
    """The grid on which answers leave, which opening the sum leaves behind."""
    return max(step.before.step for step in steps)
