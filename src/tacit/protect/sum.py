"""Sums of answers: in the clear, and as an ideal secure sum; and the mean that follows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np

from tacit.base.errors import TacitError, Unsound
from tacit.base.vector import Kind, Rows, Vector
from tacit.protect.form import Form, Place, Team
from tacit.protect.rules import at_client, at_total
from tacit.protect.stage import At, Memory, Unchanged

TAIL = 12.0
"""Standard deviations of noise for which a secure sum keeps room: P(beyond) < 1e-32 each."""


@final
@dataclass(frozen=True)
class PlainSum(Unchanged):
    """The coordinator receives every answer and adds them up."""

    kind: ClassVar[str] = "plain_sum"

    source = "none: the coordinator is trusted with single answers"

    def says(self, before: Form, after: Form) -> str:
        """One plain sentence for the trust statement."""
        return "The coordinator receives every single answer and adds them up."

    def after(self, form: Form, team: Team) -> Form:
        """Answers are visible; noise shares would be too thin for that."""
        at_client(form, self.kind)
        if form.noise and form.noise.where == "share":
            raise Unsound("chain.share-in-the-clear")
        return opened(form)


@final
@dataclass(frozen=True)
class SecureSum:
    """An ideal secure sum, simulated: answers are added modulo 2^bits and only the sum is opened.

    It gives the integers that a masking protocol gives, without the protocol, so what is learned
    and what it costs in accuracy is the same; in this version no cryptography runs. `bits` 0
    chooses the smallest modulus that cannot wrap.
    """

    kind: ClassVar[str] = "secure_sum"

    bits: int = 0

    source = "ideal functionality of Bonawitz et al. 2017 (simulated)"

    def __post_init__(self) -> None:
        if self.bits and not 2 <= self.bits <= 62:
            raise TacitError("task.setting", name="bits", value=self.bits, rule="0, or 2 to 62")

    def says(self, before: Form, after: Form) -> str:
        """One plain sentence for the trust statement."""
        return (
            f"Answers are added modulo 2^{after.bits} and only the sum is opened (SIMULATED: an "
            "ideal secure sum stands in for the cryptographic protocol)."
        )

    def after(self, form: Form, team: Team) -> Form:
        """Only the sum is visible, if no sum can isolate a client and none can wrap."""
        at_client(form, self.kind)
        if form.real:
            raise Unsound("chain.sum-needs-grid")
        if form.kept:
            raise Unsound("chain.topk-under-mask")
        if team.honest < 2:
            raise Unsound("chain.isolates", quorum=team.quorum, collusion=team.collusion)
        needed = bits_needed(form, team)
        if self.bits and self.bits < needed:
            raise Unsound("chain.wraps", bits=self.bits, needed=needed)
        if needed > 62:
            raise Unsound("chain.wraps", bits=62, needed=needed)
        bits = self.bits or -(-needed // 8) * 8
        return replace(opened(form), hidden=True, ideal=True, bits=min(bits, 62))

    def up(self, rows: Rows, memory: Memory, at: At) -> tuple[Rows, Memory]:
        """Residues modulo 2^bits."""
        return rows & ((1 << at.after.bits) - 1), memory

    def down(self, total: Vector, at: At) -> Vector:
        """The representative of smallest magnitude."""
        modulus = 1 << at.after.bits
        shifted = total + modulus // 2
        shifted &= modulus - 1
        shifted -= modulus // 2
        return np.asarray(shifted)


@final
@dataclass(frozen=True)
class Mean(Unchanged):
    """Divide the sum: by the summed weights of the message, or by the public number `over`.

    `over` = 0 divides by the weights (noised like everything else, never below 1 under noise);
    a positive number is a public denominator; -1 stands for the size of the cohort.
    """

    kind: ClassVar[str] = "mean"

    over: float = 0.0

    source = "McMahan et al. 2017, Algorithm 1; public denominator: McMahan et al. 2018, section 2"

    def __post_init__(self) -> None:
        if not math.isfinite(self.over) or (self.over < 0 and self.over != -1):
            raise TacitError("task.setting", name="over", value=self.over, rule="0, -1, or more")

    def says(self, before: Form, after: Form) -> str:
        """One plain sentence for the trust statement."""
        by = f"the public number {after.denominator:g}" if self.over else "the summed weights"
        return f"The sum is divided by {by}."

    def after(self, form: Form, team: Team) -> Form:
        """A mean, which is what an algorithm applies."""
        at_total(form, self.kind)
        if self.over == -1 and form.weights != "uniform":
            raise Unsound("chain.cohort-denominator", weights=form.weights)
        if self.over and form.of(Kind.BUFFER):
            raise Unsound("chain.public-denominator-buffers", layer=form.mixes or "a buffer")
        if not self.over and form.block("weight") is None:
            raise Unsound("chain.no-weights")
        over = float(team.cohort) if self.over == -1 else self.over
        return replace(form, place=Place.MEAN, denominator=over)

    def down(self, total: Vector, at: At) -> Vector:
        """Divide trained coordinates and buffers; tallies stay sums."""
        total = total.astype(np.float64)
        by = at.after.denominator
        if not by:
            weight = float(total[at.before.spans["weight"]][0])
            by = max(weight, 1.0) if at.before.noise else weight or 1.0
        for block in at.before.blocks:
            if block.kind is not Kind.TALLY:
                total[at.before.spans[block.name]] /= by
        return total


def opened(form: Form) -> Form:
    """Facts of the sum once it is decoded: real numbers again, rounding still in the bounds."""
    rounding = math.sqrt(form.size) * form.step
    return replace(form, place=Place.TOTAL, step=0.0, rounding=rounding)


def bits_needed(form: Form, team: Team) -> int:
    """Width of a modulus in which the sum of every client's answer, noise included, fits."""
    largest = team.clients * form.limit()
    if form.noise:
        largest += TAIL * form.noise.sd * math.sqrt(team.clients)
    return math.ceil(math.log2(2 * largest + 2))
