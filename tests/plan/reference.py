"""What a chain must compute, said again from the papers, in plain numpy and without its code."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tacit.base.vector import Kind
from tacit.protect.clip import Clip, ClipExamples
from tacit.protect.form import Form
from tacit.protect.stage import Stage
from tacit.protect.sum import Mean
from tacit.protect.topk import TopK
from tacit.protect.weigh import Weigh

Array = npt.NDArray[Any]


class Sums(NamedTuple):
    """Sums over clients by block, in natural units, of magnitudes too; what a mean divides by."""

    blocks: dict[str, Array]
    masses: dict[str, Array]
    by: float


def sums(
    chain: tuple[Stage, ...],
    form: Form,
    rows: Array,
    examples: Array,
    memory: Array,
    cohort: int,
) -> Sums:
    """The exact result without noise and rounding; `memory` is what top-k remembers."""
    parts = {name: rows[:, span].astype(np.float64) for name, span in form.spans.items()}
    over = 0.0
    for stage in chain:
        match stage:
            case Clip(norm=norm, per_layer=per_layer):
                layers = form.blocks[0].layers if per_layer else (form.blocks[0].size,)
                parts["update"] = clipped(parts["update"], norm, layers)
            case ClipExamples(norm=norm, most=most):
                update = parts["update"]
                parts["update"] = clipped(update, norm * most, (update.shape[1],))
                if "weight" in parts:
                    parts["weight"] = np.minimum(parts["weight"], most)
            case Weigh(cap=cap):
                weights = np.minimum(examples, cap) / cap if cap else examples
                for block in form.blocks:
                    if block.kind is not Kind.TALLY or block.name == "weight":
                        parts[block.name] = parts[block.name] * weights[:, None]
            case TopK(fraction=fraction, feedback=feedback):
                wanted = parts["update"] + (memory if feedback else 0.0)
                parts["update"] = largest(wanted, math.ceil(fraction * wanted.shape[1]))
            case Mean(over=public):
                over = cohort if public == -1 else public
    added = {name: part.sum(axis=0) for name, part in parts.items()}
    masses = {name: np.abs(part).sum(axis=0) for name, part in parts.items()}
    return Sums(added, masses, over or float(added["weight"][0]))


def clipped(update: Array, norm: float, layers: tuple[int, ...]) -> Array:
    """Each layer of each row at most norm / sqrt(layers) long."""
    pieces = np.split(update, np.cumsum(layers)[:-1], axis=1)
    limit = norm / math.sqrt(len(layers))
    lengths = [np.linalg.norm(piece, axis=1, keepdims=True) for piece in pieces]
    factors = [np.minimum(1.0, limit / np.maximum(length, 1e-300)) for length in lengths]
    return np.concatenate([p * f for p, f in zip(pieces, factors, strict=True)], axis=1)


def largest(update: Array, kept: int) -> Array:
    """Each row's `kept` largest magnitudes, zero elsewhere."""
    result = np.zeros_like(update)
    for row, sent in zip(update, result, strict=True):
        places = sorted(range(len(row)), key=lambda place: -abs(row[place]))[:kept]
        sent[places] = row[places]
    return result
