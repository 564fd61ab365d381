"""A message, a team, and one stage's two halves on given rows."""

from __future__ import annotations

import numpy as np

from tacit.base.key import Key
from tacit.base.vector import Block, Bound, Kind, Rows, Vector
from tacit.protect.form import Form, Team
from tacit.protect.stage import At, Memory, Stage

TEAM = Team(clients=4, cohort=4, quorum=4, collusion=1, rounds=3)

LAYERS = (4, 2)


def message(*, one_step: bool = False, buffers: int = 0, metrics: bool = False) -> Form:
    """Six trained coordinates in two layers, a weight, and what is asked for."""
    blocks = [Block("update", sum(LAYERS), Kind.TRAINED, layers=LAYERS)]
    if buffers:
        blocks.append(Block("buffers", buffers, Kind.BUFFER))
    blocks.append(Block("weight", 1, Kind.TALLY, Bound(0.0, 1.0), 1.0))
    if metrics:
        blocks.append(Block("loss", 1, Kind.TALLY, Bound(10.0, 10.0), 10.0))
    return Form(tuple(blocks), one_step=one_step)


def after(*stages: Stage, form: Form | None = None, team: Team = TEAM) -> Form:
    """The facts behind some stages."""
    form = form or message()
    for stage in stages:
        form = stage.after(form, team)
    return form


def up(
    stage: Stage,
    rows: Rows,
    form: Form | None = None,
    examples: list[int] | None = None,
    memory: Memory = None,
    seed: int = 0,
) -> tuple[Rows, Memory]:
    """The client half of a stage that stands behind `form`."""
    form = form or message()
    keys = tuple(Key.seed(seed) / i for i in range(len(rows)))
    counts = np.array(examples or [1] * len(rows), np.int64)
    return stage.up(rows, memory, At(form, stage.after(form, TEAM), keys, counts))


def down(stage: Stage, total: Vector, form: Form, answers: int = 4, seed: int = 0) -> Vector:
    """The coordinator's half of a stage that stands behind `form`."""
    none = np.empty(0, np.int64)
    return stage.down(total, At(form, stage.after(form, TEAM), (Key.seed(seed),), none, answers))
