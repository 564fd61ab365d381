"""Stochastic rounding to a grid of whole numbers, as sums under masks or encryption need.

Kairouz, Liu, Steinke, ICML 2021, "The Distributed Discrete Gaussian Mechanism for Federated
Learning with Secure Aggregation", section 4.2. The sensitivity used is the one that rounding
really leaves in the worst case, bound/step + sqrt(size), valid for single clients and records.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np

from tacit.base.errors import TacitError, Unsound
from tacit.base.vector import Vector
from tacit.protect.form import Form, Team, Unit
from tacit.protect.keys import Keys
from tacit.protect.rounded import Rounded
from tacit.protect.rules import at_client, before_rounding
from tacit.protect.scaled import Fused, Scaled
from tacit.protect.stage import At

_LARGEST = 2.0**52


@final
@dataclass(frozen=True)
class Quantise(Fused):
    """Round to whole numbers of steps, up or down at random so that the mean is kept.

    `levels`: grid steps in one bound of the row; 0 chooses 100 * sqrt(size), at which rounding
    adds 1 % to the sensitivity.
    """

    kind: ClassVar[str] = "quantise"

    levels: int = 0

    source = "Kairouz et al. 2021, section 4.2 (randomised rounding; worst-case sensitivity)"

    def __post_init__(self) -> None:
        if self.levels < 0:
            raise TacitError("task.setting", name="levels", value=self.levels, rule="0 or more")

    def says(self, before: Form, after: Form) -> str:
        """One plain sentence for the trust statement."""
        return f"Numbers are rounded at random to whole multiples of {after.step:.3g}."

    def after(self, form: Form, team: Team) -> Form:
        """Whole numbers; the sensitivity grows by sqrt(size) steps."""
        at_client(form, self.kind)
        before_rounding(form, self.kind)
        if form.noise:
            raise Unsound("chain.round-after-noise")
        for block in form.blocks:
            if not math.isfinite(block.limit):
                raise Unsound("chain.round-unbounded", block=block.name)
        unit: Unit = "record" if form.record_sum else "client"
        levels = self.levels or math.ceil(100 * math.sqrt(form.size))
        rounded = replace(form, step=form.sensitivity(unit) / levels)
        if rounded.limit() > _LARGEST:
            raise Unsound("chain.round-too-fine", levels=levels)
        return rounded

    def fused(self, rows: Scaled, at: At) -> Rounded:
        """Multiples of a step, up or down at random."""
        return Rounded(rows, 1.0 / at.after.step, Keys.of(at.keys))

    def down(self, total: Vector, at: At) -> Vector:
        """Back to real numbers."""
        return total.astype(np.float64) * at.after.step
