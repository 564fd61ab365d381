"""Balance: give every tally a fixed, small share of the sensitivity.

McMahan et al. 2018, section 2: several bounded quantities in one Gaussian query, scaled so that
the joint sensitivity is the root of the sum of squares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np

from tacit.base.errors import TacitError, Unsound
from tacit.base.vector import Block, Kind, Vector
from tacit.protect.clip import trained
from tacit.protect.form import Form, Team, Unit
from tacit.protect.rules import at_client, before_noise, before_rounding
from tacit.protect.scaled import Fused, Scaled
from tacit.protect.stage import At

BESIDE = (Kind.TALLY, Kind.AVERAGE)
"""What stands beside the model in a message: counts, metrics, an algorithm's own numbers."""


@final
@dataclass(frozen=True)
class Balance(Fused):
    """Scale each tally so that its bound is `share` times the update's.

    With the default 0.3 a tally costs 4.4 % more noise on the update, and its own noise is 3.3
    times as large, relative to its bound, as the update's.
    """

    kind: ClassVar[str] = "balance"

    share: float = 0.3
    unit: Unit = "client"

    source = "McMahan et al. 2018, section 2 (joint sensitivity of scaled queries)"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.share) and self.share > 0):
            raise TacitError("task.setting", name="share", value=self.share, rule="positive")

    def says(self, before: Form, after: Form) -> str:
        """One plain sentence for the trust statement."""
        joint, alone = after.sensitivity(self.unit), getattr(trained(after).bound, self.unit)
        return (
            f"Counts and metrics share the update's protection; they cost "
            f"{100 * (joint / alone - 1):.1f} % more noise."
        )

    def after(self, form: Form, team: Team) -> Form:
        """Tallies are scaled; the update is not."""
        at_client(form, self.kind)
        before_noise(form, self.kind)
        before_rounding(form, self.kind)
        if form.balanced:
            raise Unsound("chain.balance-twice")
        most = getattr(trained(form).bound, self.unit)
        if not math.isfinite(most):
            raise Unsound("chain.unbounded", stage=self.kind, block="update", unit=self.unit)
        scaled = [self._scaled(block, most) for block in form.of(*BESIDE)]
        return replace(form.with_blocks(scaled), balanced=True)

    def _scaled(self, block: Block, most: float) -> Block:
        own = getattr(block.bound, self.unit)
        if not math.isfinite(own):
            raise Unsound("chain.unbounded", stage=self.kind, block=block.name, unit=self.unit)
        return replace(block, scale=self.share * most / own) if own else block

    def fused(self, rows: Scaled, at: At) -> Scaled:
        """Multiply the tallies."""
        for block in at.after.of(*BESIDE):
            clients = len(rows.parts[block.name])
            rows = rows.times([block.name], np.full(clients, block.scale))
        return rows

    def down(self, total: Vector, at: At) -> Vector:
        """Divide them again."""
        total = total.copy()
        for block in at.after.of(*BESIDE):
            total[at.after.spans[block.name]] /= block.scale
        return total
