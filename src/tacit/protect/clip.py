"""Clipping: bound what one client, one layer or one record can change.

Whole and per layer: McMahan, Ramage, Talwar, Zhang, ICLR 2018, "Learning Differentially Private
Recurrent Language Models", section 2. Per example: Abadi et al., CCS 2016, "Deep Learning with
Differential Privacy", Algorithm 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import numpy as np

from tacit.base.errors import TacitError, Unsound
from tacit.base.vector import Block, Bound, Kind, Rows
from tacit.protect.form import Form, Team
from tacit.protect.rules import at_client, before_noise, before_rounding
from tacit.protect.scaled import Factors, Fused, Scaled, lengths
from tacit.protect.stage import At, Memory, Unchanged

_HAIR = 1e-6

_ROUNDINGS = 32
"""Relative errors of one rounding that a length may be off by (see `lengths`), and to spare."""


@final
@dataclass(frozen=True)
class Clip(Fused):
    """Scale a client's whole update to L2 norm at most `norm` (or each layer to norm/sqrt(layers)).

    Tallies have bounds of their own and are left alone: a shared clip would reweight the mean.
    """

    kind: ClassVar[str] = "clip"

    norm: float
    per_layer: bool = False

    source = "McMahan et al. 2018, section 2 (flat and per-layer clipping)"

    def __post_init__(self) -> None:
        check_norm(self.norm)

    def says(self, before: Form, after: Form) -> str:
        """One plain sentence for the trust statement."""
        layers = len(trained(before).layers)
        each = f", {self.norm / math.sqrt(layers):.3g} for each of {layers} layers"
        return (
            f"Each client shortens its update to L2 norm {self.norm:g}"
            f"{each if self.per_layer else ''} before anything leaves it."
        )

    def after(self, form: Form, team: Team) -> Form:
        """The update is bounded by `norm`; one record moves it by at most the ball's diameter."""
        at_client(form, self.kind)
        before_noise(form, self.kind)
        before_rounding(form, self.kind)
        if form.record_sum:
            raise Unsound("chain.clip-record-sum")
        if form.clipped:
            raise Unsound("chain.clip-twice")
        if form.weights != "uniform":
            raise Unsound("chain.clip-after-weigh")
        update = trained(form)
        bound = Bound(record=2 * self.norm, client=self.norm)
        changed = replace(update, bound=bound, limit=self.norm)
        return replace(form.with_blocks([changed]), clipped=True)

    def fused(self, rows: Scaled, at: At) -> Scaled:
        """Shrink the rows that are too long."""
        update = trained(at.before)
        if self.per_layer:
            return self._by_layer(rows, update)
        held = rows.lengths(update.name)
        return rows.times([update.name], factors(held, self.norm, rows.parts[update.name].dtype))

    def _by_layer(self, rows: Scaled, update: Block) -> Scaled:
        """Layers have factors of their own, so the update is written out."""
        whole = rows.block(update.name)
        limit, start = self.norm / math.sqrt(len(update.layers)), 0
        for size in update.layers:
            shrink(whole[:, start : start + size], limit)
            start += size
        return rows.replaced(update.name, whole)


@final
@dataclass(frozen=True)
class ClipExamples(Unchanged):
    """Clip every record's gradient to `norm`, and draw each record with probability `sample`.

    The local loop does it (the update arrives as a sum over records); this half bounds the sum as
    if at most `most` records were drawn, so that it cannot wrap in a secure sum.
    """

    kind: ClassVar[str] = "clip_examples"

    norm: float
    sample: float = 1.0
    most: int = 4096

    source = "Abadi et al. 2016, Algorithm 1; Poisson sampling of records"

    def __post_init__(self) -> None:
        check_norm(self.norm)
        if not 0 < self.sample <= 1:
            raise TacitError("task.setting", name="sample", value=self.sample, rule="in (0, 1]")
        if self.most < 1:
            raise TacitError("task.setting", name="most", value=self.most, rule="at least 1")

    def says(self, before: Form, after: Form) -> str:
        """One plain sentence for the trust statement."""
        drawn = (
            f"draws each record with probability {self.sample:g} and " if self.sample < 1 else ""
        )
        return (
            f"Each client {drawn}shortens every record's gradient to L2 norm {self.norm:g} "
            "before it adds them up."
        )

    def after(self, form: Form, team: Team) -> Form:
        """A record changes the sum by at most `norm`, and the count by one."""
        at_client(form, self.kind)
        self._refuse(form)
        update, limit = trained(form), self.norm * self.most
        changed = [replace(update, bound=Bound(self.norm, limit), limit=limit)]
        if weight := form.block("weight"):
            most = float(self.most)
            changed.append(replace(weight, bound=Bound(1.0, most), limit=most))
        return replace(
            form.with_blocks(changed),
            record_sum=True,
            clipped=True,
            rate=self.sample,
            weights="records",
        )

    def _refuse(self, form: Form) -> None:
        if form.mixes:
            raise Unsound("chain.mixes-examples", layer=form.mixes)
        if not form.one_step:
            raise Unsound("chain.records-need-one-step")
        if form.memory and not form.kept:
            raise Unsound("chain.noise-memory")
        if form.clipped or form.kept or form.weights != "uniform" or form.noise or not form.real:
            raise Unsound("chain.records-first")

    def up(self, rows: Rows, memory: Memory, at: At) -> tuple[Rows, Memory]:
        """Project sum and count onto what `most` records can reach.

        A projection onto a convex set brings no two points further apart, so no record gains
        influence by it.
        """
        rows, update = rows.copy(), trained(at.after)
        shrink(rows[:, at.after.spans[update.name]], update.limit)
        if weight := at.after.block("weight"):
            counts = rows[:, at.after.spans["weight"]]
            np.minimum(counts, weight.limit, out=counts)
        return rows, memory


def trained(form: Form) -> Block:
    """The block of trained coordinates."""
    return form.of(Kind.TRAINED)[0]


def shrink(part: Rows, limit: float) -> None:
    """Scale each row of `part` in place to L2 norm at most `limit`, a hair less for rounding."""
    part *= factors(lengths(part), limit, part.dtype)[:, None].astype(part.dtype)


def factors(held: Factors, limit: float, dtype: Any) -> Factors:
    """What rows of these lengths are multiplied by to be `limit` long at most, or a hair less.

    The hair is what lengths and products of this type may be off by.
    """
    limit *= 1 - (_HAIR + _ROUNDINGS * float(np.finfo(dtype).eps))
    return np.where(held > limit, limit / np.maximum(held, limit), 1.0)


def check_norm(norm: float) -> None:
    """Refuse a clipping norm that is not a positive, finite number."""
    if not (math.isfinite(norm) and norm > 0):
        raise TacitError("task.setting", name="norm", value=norm, rule="a positive number")
