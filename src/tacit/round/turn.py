"""One client's turn: visit, pack one row, send it through the client half of the chain.

`turn` works on rows, one at a device and many when stacked; simulation and deployment call it
alike. Memory is returned as pending: the caller commits it only when the answer was included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.vector import Rows, Vector
from tacit.learn.algorithm import Contribution, Offer
from tacit.learn.examples import Examples
from tacit.learn.local import Home
from tacit.learn.task import Tallies
from tacit.plan.build import BINS, LOSS_LIMIT, Plan, Step
from tacit.protect.keys import Keys
from tacit.protect.scaled import Fused, Pending, Scaled, Written
from tacit.protect.stage import At

Memories = dict[str, Any]
"""What clients keep between rounds: the algorithm's part ("algorithm"), the coordinates that stay
at home ("personal"), and one array a stage, by its place."""


class Turn(NamedTuple):
    """One client's answer (dim,), the memory to commit if it is included, and its own numbers."""

    answer: Vector
    pending: Memories
    loss: float
    examples: int


def take_turn(
    plan: Plan, held: Examples, offer: Offer, memory: Memories, key: Key, client: str, round_: int
) -> Turn:
    """Everything a single client does in a round, from its records to the bytes that leave."""
    home = Home(plan.task, held, key / "local", plan.records, plan.split)
    offer = received(plan, offer, memory)
    found, kept = plan.algorithm.visit(offer, memory.get("algorithm"), home)
    if not fair(plan, found.weight):
        facts = {"client": client, "round": round_ + 1, "weight": float(found.weight)}
        raise TacitError("round.weight", **facts)
    found, personal = left_at_home(plan, offer, found)
    row = pack(plan, found, home.report(offer["params"]) if plan.federation.metrics else None)
    if row.size != plan.message.size:
        sizes = {"found": row.size, "expected": plan.message.size}
        raise TacitError("round.update-shape", client=client, **sizes)
    if not np.isfinite(row).all():
        raise TacitError("round.update-not-finite", client=client, round=round_ + 1)
    counts = np.array([held.count], np.int64)
    answers, pending = turn(plan, row[None, :], memory, (key,), counts)
    if kept is not None:
        pending = {**pending, "algorithm": kept}
    if personal is not None:
        pending = {**pending, "personal": personal}
    return Turn(answers[0], pending, found.loss, held.count)


def fair(plan: Plan, weight: Any) -> bool:
    """Whether weights of contributions are what the chain counts on: at most 1, a mean's weight.

    In a sum over records the weight is their number, which the chain bounds by itself.
    """
    most = np.inf if plan.records is not None else 1.0
    return bool(np.all((np.asarray(weight) >= 0) & (np.asarray(weight) <= most)))


def received(plan: Plan, offer: Offer, memory: Memories) -> Offer:
    """An offer with the whole model: its shared coordinates, joined with what stayed at home."""
    if not plan.algorithm.personal:
        return offer
    own = memory.get("personal", plan.home_start)
    return {**offer, "params": plan.split.join(offer["params"], own)}


def left_at_home(
    plan: Plan, offer: Offer, found: Contribution
) -> tuple[Contribution, Vector | None]:
    """The shared part of a contribution, and the personal coordinates for the client's memory.

    `offer` is the joined one; vectors may carry a leading clients axis.
    """
    if not plan.algorithm.personal:
        return found, None
    shared, _ = plan.split.parts(found.update)
    return found._replace(update=shared), plan.split.advanced(offer["params"], found.update)


def turn(
    plan: Plan,
    rows: Rows,
    memory: Memories,
    keys: tuple[Key, ...] | Keys,
    examples: npt.NDArray[np.int64],
) -> tuple[Rows, Memories]:
    """The client half of the chain on rows (clients, dim); returns answers and pending memory.

    `keys`: the clients' keys of this round; `examples`: their numbers of records.
    """
    start = Scaled.of(plan.message, rows)
    sent, pending = _sent(plan.client_steps, start, memory, Keys.of(keys), examples)
    return sent.rows(), pending


def summed(
    plan: Plan,
    answers: Mapping[str, Rows],
    memory: Memories,
    keys: Keys,
    examples: npt.NDArray[np.int64],
) -> tuple[Vector, Memories]:
    """The sum (dim,) of what `turn` answers, without writing the answers out; and the memory.

    `answers`: the message's blocks by name, (clients, size). The last stage is the sum itself, so
    a secure one's numbers come as they are and not modulo anything, which opens to the same.
    """
    steps = plan.client_steps[:-1]
    sent, pending = _sent(steps, Scaled(answers, {}), memory, keys, examples)
    return sent.total(), pending


def shows(plan: Plan) -> bool:
    """Whether `summed` tells of every number that is not finite: it raises, or so is the sum."""
    return all(isinstance(step.stage, Fused) for step in plan.client_steps[:-1])


def _sent(
    steps: tuple[Step, ...],
    rows: Pending,
    memory: Memories,
    keys: Keys,
    examples: npt.NDArray[np.int64],
) -> tuple[Pending, Memories]:
    """Rows through the client halves of some stages, written out only where a stage asks for it."""
    pending: Memories = {}
    for place, (stage, before, after) in enumerate(steps):
        at, name = At(before, after, keys / f"chain:{place}", examples), f"{place}:{stage.kind}"
        if isinstance(stage, Fused):
            held = rows if isinstance(rows, Scaled) else Scaled.of(before, rows.rows())
            rows = stage.fused(held, at)
            continue
        sent, kept = stage.up(rows.rows(), memory.get(name), at)
        rows = Written(sent)
        if kept is not None:
            pending[name] = kept
    return rows, pending


def pack(plan: Plan, found: Contribution, report: Tallies | None) -> Vector:
    """One row of the plan's blocks from a contribution and an evaluation."""
    form, trained = plan.message, plan.algorithm.width * plan.layout.update
    parts = {"update": found.update[:trained], "buffers": found.update[trained:]}
    parts["weight"] = np.array([found.weight])
    parts |= {f"algorithm:{name}": value for name, value in found.extra.items()}
    if report is not None:
        loss = report.mean_loss if report.examples else 0.0
        parts["loss"] = np.array([np.clip(loss, 0.0, LOSS_LIMIT)])
        parts["accuracy"] = _one_hot(report)
    row = [np.asarray(parts[block.name], found.update.dtype) for block in form.blocks]
    return np.concatenate(row)


def _one_hot(report: Tallies) -> Vector:
    """The bin of the client's accuracy, of `BINS` equal ones over [0, 1]."""
    bins = np.zeros(BINS)
    if report.examples:
        bins[min(int(report.accuracy * BINS), BINS - 1)] = 1.0
    return bins
