"""Top-k sparsification with error feedback.

Stich, Cordonnier, Jaggi, NeurIPS 2018, "Sparsified SGD with Memory", Algorithm 1: only the
largest coordinates are sent, the rest is remembered and added next time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np

from tacit.base.errors import TacitError, Unsound
from tacit.base.vector import Rows
from tacit.protect.clip import trained
from tacit.protect.form import Form, Team
from tacit.protect.rules import at_client, before_noise, before_rounding
from tacit.protect.stage import At, Memory, Unchanged


@final
@dataclass(frozen=True)
class TopK(Unchanged):
    """Send the `fraction` of trained coordinates with the largest magnitude, remember the rest.

    The memory is committed by the engine only when the answer was included in its round.
    """

    kind: ClassVar[str] = "top_k"

    fraction: float
    feedback: bool = True

    source = "Stich et al. 2018, Algorithm 1 (Mem-SGD)"

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise TacitError("task.setting", name="fraction", value=self.fraction, rule="in (0, 1]")

    def says(self, before: Form, after: Form) -> str:
        """One plain sentence for the trust statement."""
        rest = "remembers the rest for later rounds" if self.feedback else "drops the rest"
        return (
            f"Each client sends the {after.kept} largest of {trained(after).size} coordinates "
            f"(which ones they are is visible) and {rest}."
        )

    def after(self, form: Form, team: Team) -> Form:
        """Sparse, and with state at the client."""
        at_client(form, self.kind)
        before_noise(form, self.kind)
        before_rounding(form, self.kind)
        if form.kept:
            raise Unsound("chain.topk-twice")
        if form.clipped or form.weights != "uniform":
            raise Unsound("chain.topk-after-clip")
        kept = math.ceil(self.fraction * trained(form).size)
        return replace(form, memory=form.memory or self.feedback, kept=kept)

    def up(self, rows: Rows, memory: Memory, at: At) -> tuple[Rows, Memory]:
        """Keep the k largest of update + memory; the difference becomes the new memory."""
        span = at.before.spans[trained(at.before).name]
        rows = rows.copy()
        wanted = rows[:, span] if memory is None else rows[:, span] + memory
        order = np.argpartition(-np.abs(wanted), at.after.kept - 1, axis=1)[:, : at.after.kept]
        sent = np.zeros_like(wanted)
        np.put_along_axis(sent, order, np.take_along_axis(wanted, order, axis=1), axis=1)
        rest = wanted - sent  # before rows, which `wanted` may be a view of, change
        rows[:, span] = sent
        return rows, (rest if self.feedback else None)
