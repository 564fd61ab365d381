"""The arithmetic of a run: its start, the check of an answer, the closing of a round.

Pure but for files. What is computed is what the simulation computes, in the same order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.tree import flatten
from tacit.base.vector import Kind, Vector
from tacit.deploy.coordinator.outline import outlined
from tacit.deploy.coordinator.piecewise import (
    begun_in_pieces,
    closed_in_pieces,
    large,
    piecewise,
)
from tacit.deploy.coordinator.sums import Stored, Sum, weight_of
from tacit.deploy.store.blobs import Blobs, Source
from tacit.deploy.wire.answers import Answer, open_answer
from tacit.deploy.wire.packs import (
    Part,
    open_pack,
    pack_bytes,
    read_answer,
    read_pack,
    write_pack,
)
from tacit.learn.algorithm import State
from tacit.plan.build import Plan
from tacit.plan.federation import from_plain
from tacit.round.close import add, apply, open_sum, reported

HEADER = 4096
"""Bytes that an answer may have beside its numbers."""

CHUNK = 1 << 18
"""Numbers that are looked at at once."""

LARGEST = 1 << 33
"""Most bytes of a model."""

MOST_CLIENTS = 100_000
MOST_ROUNDS = 100_000

NONSENSE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What building may raise for numbers that no check expects: a stranger's description is no bug."""


def planned(description: dict[str, Any], digest: str, outline: dict[str, Any] | None) -> Plan:
    """The plan of a description, without loading user code.

    Errors: those of descriptions and chains, `deploy.digest`, `deploy.outline`,
    `deploy.too-much`.
    """
    try:
        return _built(description, digest, outline)
    except NONSENSE as wrong:
        problem = f"{type(wrong).__name__}: {wrong}"[:200]
        raise TacitError("deploy.description", problem=problem) from wrong


def _built(description: dict[str, Any], digest: str, outline: dict[str, Any] | None) -> Plan:
    federation = from_plain(description)
    if federation.digest != digest:
        raise TacitError("deploy.digest", declared=digest[:12], found=federation.digest[:12])
    for name, most in (("clients", MOST_CLIENTS), ("rounds", MOST_ROUNDS)):
        if getattr(federation, name) > most:
            what = f"{getattr(federation, name)} {name}, more than {most}"
            raise TacitError("deploy.too-much", what=what)
    if federation.task.code:
        if outline is None:
            raise TacitError("deploy.outline", problem="the submission has none")
        federation = federation.replace(task=outlined(outline))
    try:
        return _sized(federation.plan())
    except MemoryError as wrong:
        raise TacitError("deploy.too-much", what="a model that fits no memory") from wrong


def _sized(plan: Plan) -> Plan:
    size = plan.layout.size * plan.layout.itemsize
    if max(size, answer_limit(plan)) > LARGEST:
        raise TacitError("deploy.too-much", what=f"a model of {size} bytes")
    return plan


def answer_limit(plan: Plan) -> int:
    """Most bytes of one answer."""
    return plan.client_steps[-1].after.size * 8 + HEADER


def start_limit(plan: Plan) -> int:
    """Most bytes of an uploaded start."""
    return plan.layout.size * plan.layout.itemsize + HEADER


def begun(plan: Plan, key: Key, start: Path | None, blobs: Blobs) -> Stored:
    """The first state and offer, stored; `start`: an uploaded one, for user code."""
    if start is None:
        return _stored(plan, plan.algorithm.start(plan.start(key / "start")), blobs)
    part = uploaded(plan, start)
    if large(plan):
        return begun_in_pieces(plan, part, blobs)
    return _stored(plan, plan.algorithm.start(part.read(0, part.size)), blobs)


def uploaded(plan: Plan, start: Path) -> Part:
    """The start in an uploaded pack {"params": vector}; raises `deploy.start`."""
    found = open_pack(start)
    vector = found.get("params") if isinstance(found, dict) else None
    if not isinstance(vector, Part) or vector.size != plan.layout.size:
        raise TacitError("deploy.start", problem=f"it is not one of {plan.layout.size} numbers")
    if vector.dtype != np.dtype(plan.layout.dtype):
        raise TacitError("deploy.start", problem=f"its numbers are not {plan.layout.dtype}")
    if not all(bool(np.isfinite(piece).all()) for piece in _pieces(vector)):
        raise TacitError("deploy.start", problem="it has NaN or infinite numbers")
    return vector


def checked(plan: Plan, source: Source, client: str, round_: int) -> None:
    """Refuse an answer that does not fit the plan: length, kind of numbers, finite, residues."""
    step = plan.client_steps[-1]
    try:
        row = open_answer(source, step.after.size, whole=not step.before.real)
    except TacitError as wrong:
        if wrong.code != "wire.not-finite":
            raise
        raise TacitError("round.update-not-finite", client=client, round=round_ + 1) from wrong
    if step.after.bits and not _residues(row, 1 << step.after.bits):
        bits = step.after.bits
        raise TacitError("deploy.answer-residue", client=client, round=round_ + 1, bits=bits)


def _residues(row: Answer, modulus: int) -> bool:
    """Whether all numbers are from 0 up to the modulus."""
    return all(bool(((part >= 0) & (part < modulus)).all()) for part in _pieces(row))


def _pieces(held: Answer | Part) -> Iterable[Vector]:
    starts = range(0, held.size, CHUNK)
    return (held.read(start, min(start + CHUNK, held.size)) for start in starts)


def closed(what: Sum, blobs: Blobs) -> tuple[Stored, dict[str, float]]:
    """Add, open, apply; the new state and offer, stored, and what the tallies say."""
    if piecewise(what):
        return closed_in_pieces(what, blobs)
    plan = what.plan
    with np.errstate(over="ignore", invalid="ignore"):  # found and named below
        total, count = add(_weighted(what))
        opening = open_sum(plan, total, count, what.key)
        state = apply(plan, _state(what), opening)
    if not np.isfinite(state["params"]).all():
        raise TacitError("round.model-not-finite", round=what.round + 1)
    row = {name: float(value) for name, value in reported(opening).items()}
    return _stored(plan, state, blobs), row


def _state(what: Sum) -> State:
    """The state that the round began with; its arrays are read-only views of files."""
    held, offer = read_pack(what.state), read_pack(what.offer)
    return {**held["own"], **{name: offer[name] for name in held["offered"]}}


def _stored(plan: Plan, state: State, blobs: Blobs) -> Stored:
    """Both as packs: small ones still to be written; what the offer has is not stored twice."""
    small: dict[str, bytes] = {}
    offer = dict(plan.algorithm.offer(state))
    offered = [name for name, held in state.items() if offer.get(name) is held]
    own = {name: held for name, held in state.items() if name not in offered}
    told, size = _put(offer, blobs, small)
    digest, _ = _put({"own": own, "offered": offered}, blobs, small)
    return Stored(digest, told, size, small)


def _put(tree: State, blobs: Blobs, small: dict[str, bytes]) -> tuple[str, int]:
    if sum(leaf.nbytes for leaf in flatten(tree, "the pack")[1]) < blobs.small:
        packed = pack_bytes(tree)
        if len(packed) <= blobs.small:
            digest = hashlib.sha256(packed).hexdigest()
            small[digest] = packed
            return digest, len(packed)
    path = blobs.beside()
    digest, size = write_pack(path, tree), path.stat().st_size
    return blobs.adopt(path, digest), size


def _weighted(what: Sum) -> Iterator[Vector]:
    """Answers as they are; in buffered rounds an update counts less the older its model is."""
    wire = what.plan.client_steps[-1].after
    for source, age in zip(what.answers, what.ages, strict=True):
        row, weight = read_answer(source, wire.size), weight_of(what.plan, age)
        if weight != 1.0:
            row = row.astype(np.float64)
            for block in wire.of(Kind.TRAINED):
                row[wire.spans[block.name]] *= weight
        yield row
