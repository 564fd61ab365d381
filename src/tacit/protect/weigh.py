"""Example weights: an answer counts for its client's number of records, up to a cap.

McMahan et al. 2017, Algorithm 1 (weights n_k / n); the cap is McMahan et al. 2018, section 2
(w_k = min(n_k / w_cap, 1)), which keeps one client's influence bounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np

from tacit.base.errors import TacitError, Unsound
from tacit.base.vector import Bound, Kind
from tacit.protect.form import Form, Team
from tacit.protect.rules import at_client, before_noise, before_rounding
from tacit.protect.scaled import Fused, Scaled
from tacit.protect.stage import At


@final
@dataclass(frozen=True)
class Weigh(Fused):
    """Multiply an answer by its weight: n, or min(n, cap)/cap where `cap` is given."""

    kind: ClassVar[str] = "weigh"

    cap: float | None = None

    source = "McMahan et al. 2017, Algorithm 1; McMahan et al. 2018, section 2 (cap)"

    def __post_init__(self) -> None:
        if self.cap is not None and not (math.isfinite(self.cap) and self.cap > 0):
            raise TacitError("task.setting", name="cap", value=self.cap, rule="a positive number")

    def says(self, before: Form, after: Form) -> str:
        """One plain sentence for the trust statement."""
        cap = f", counting at most {self.cap:g}" if self.cap else ""
        return f"An answer counts by its client's number of records{cap}."

    def after(self, form: Form, team: Team) -> Form:
        """With a cap, weights are at most 1 and bounds hold; without one, they are lost."""
        at_client(form, self.kind)
        before_noise(form, self.kind)
        before_rounding(form, self.kind)
        if form.record_sum:
            raise Unsound("chain.weigh-record-sum")
        if form.weights != "uniform":
            raise Unsound("chain.weigh-twice")
        if form.balanced:
            raise Unsound("chain.weigh-after-balance")
        weighed = [b for b in form.blocks if b.kind is not Kind.TALLY or b.name == "weight"]
        if self.cap is None:
            free = [replace(b, bound=Bound(), limit=math.inf) for b in weighed]
            return replace(form.with_blocks(free), weights="examples")
        capped = [replace(b, bound=self._bound(b.bound)) for b in weighed]
        return replace(form.with_blocks(capped), weights="capped")

    def _bound(self, bound: Bound) -> Bound:
        """One record more or less changes the weight by at most 1/cap, and the update too."""
        assert self.cap is not None
        return Bound(bound.record + bound.client / self.cap, bound.client)

    def fused(self, rows: Scaled, at: At) -> Scaled:
        """Scale update, buffers and the weight itself; other tallies count clients, not records."""
        counts = at.examples.astype(np.float64)
        weights = counts if self.cap is None else np.minimum(counts, self.cap) / self.cap
        weighed = [
            block.name
            for block in at.before.blocks
            if block.kind is not Kind.TALLY or block.name == "weight"
        ]
        return rows.times(weighed, weights)
