"""Gaussian noise: where it is added is one argument, the rest follows.

Real numbers get floating-point Gaussian noise (Dwork et al. 2006; fit for simulation, see Mironov
2012 on its low bits); whole numbers on a grid get the discrete Gaussian (Canonne, Kamath, Steinke
2020), in shares that add up under a secure sum (Kairouz, Liu, Steinke 2021).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, final

import numpy as np

from tacit.base.errors import TacitError, Unsound
from tacit.base.key import Key
from tacit.base.vector import Kind, Rows, Vector
from tacit.protect.discrete_gaussian import LARGEST_SIGMA, draw
from tacit.protect.form import Form, Noise, Place, Team, Unit
from tacit.protect.rules import at_client, at_total
from tacit.protect.stage import At, Memory, Unchanged

SMALLEST_SHARE = 2.0
"""Grid steps: thinner shares of discrete noise do not add up to a discrete Gaussian."""


@final
@dataclass(frozen=True)
class Gaussian(Unchanged):
    """Gaussian noise that hides one `unit`, of `multiplier` times the sensitivity.

    `where`: "local" (each answer is hidden alone), "share" (each client adds a part, and only the
    sum is hidden; sized for the quorum minus the collusion bound), or "central" (the coordinator
    adds it to the sum). Give `epsilon` and `delta` instead of `multiplier` and the plan calibrates
    it.
    """

    kind: ClassVar[str] = "gaussian"

    where: Literal["local", "share", "central"]
    unit: Unit = "client"
    multiplier: float = 0.0
    epsilon: float = 0.0
    delta: float = 1e-5

    source = "Dwork et al. 2006; Canonne et al. 2020; Kairouz et al. 2021, Theorem 1"

    def __post_init__(self) -> None:
        for name in ("multiplier", "epsilon"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise TacitError("task.setting", name=name, value=value, rule="a positive number")
        if (self.multiplier > 0) == (self.epsilon > 0):
            raise TacitError("chain.noise-amount")
        if not 0 < self.delta < 1:
            raise TacitError("task.setting", name="delta", value=self.delta, rule="in (0, 1)")

    def says(self, before: Form, after: Form) -> str:
        """One plain sentence for the trust statement."""
        assert after.noise is not None
        law = (
            "Whole-number (discrete) Gaussian noise"
            if after.noise.law == "discrete_gaussian"
            else "Floating-point Gaussian noise (fit for simulation; its low bits are not proven)"
        )
        who = {
            "local": "is added by each client to its own answer",
            "share": f"is added in shares, sized so that any {after.noise.shares} of them suffice",
            "central": "is added to the sum by the coordinator",
        }[self.where]
        return (
            f"{law} {who}: {after.noise.multiplier:.3g} times what one {self.unit} can change, on "
            "every coordinate, counts and metrics included."
        )

    def after(self, form: Form, team: Team) -> Form:
        """Every block of the message is noised together."""
        if self.where == "central":
            at_total(form, self.kind)
        else:
            at_client(form, self.kind)
        self._refuse(form, team)
        shares = team.honest if self.where == "share" else 1
        sensitivity = form.sensitivity(self.unit)
        sd = self.multiplier * sensitivity / math.sqrt(shares)
        if not form.real and sd < SMALLEST_SHARE:
            raise Unsound("chain.share-too-thin", sd=sd, least=SMALLEST_SHARE)
        if not form.real and sd > LARGEST_SIGMA:
            raise Unsound("chain.sigma-range", sigma=sd, largest=LARGEST_SIGMA)
        law: Literal["gaussian", "discrete_gaussian"]
        law = "gaussian" if form.real else "discrete_gaussian"
        noised = form
        if form.place is Place.CLIENT and form.real:
            noised = form.with_blocks(replace(b, limit=math.inf) for b in form.blocks)
        noise = Noise(law, self.where, self.unit, sd, sensitivity, shares)
        return replace(noised, noise=noise)

    def _refuse(self, form: Form, team: Team) -> None:
        if form.noise:
            raise Unsound("chain.noise-twice")
        if form.of(Kind.BUFFER):
            raise Unsound("chain.noise-buffers", layer=form.mixes or "a buffer")
        for block in form.blocks:
            if not math.isfinite(getattr(block.bound, self.unit)):
                raise Unsound("chain.noise-unbounded", block=block.name, unit=self.unit)
        if self.unit == "record" and form.memory:
            raise Unsound("chain.noise-memory")
        if self.where == "share" and team.honest < 1:
            raise Unsound("chain.isolates", quorum=team.quorum, collusion=team.collusion)
        if self.where == "share" and form.real:
            raise Unsound("chain.share-off-grid")

    def up(self, rows: Rows, memory: Memory, at: At) -> tuple[Rows, Memory]:
        """At each client: its whole noise, or its share."""
        if self.where == "central":
            return rows, memory
        noise = np.stack([_drawn(key / "noise", at.after, rows.shape[1]) for key in at.keys])
        return (rows + noise).astype(rows.dtype, copy=False), memory

    def down(self, total: Vector, at: At) -> Vector:
        """At the coordinator: noise on the sum, in the scaled units in which it was sized."""
        if self.where != "central":
            return total
        noise = _drawn(next(iter(at.keys)) / "noise", at.after, len(total))
        for block in at.after.blocks:
            noise[at.after.spans[block.name]] /= block.scale
        noised: Vector = total + noise
        return noised


def _drawn(key: Key, form: Form, size: int) -> Vector:
    """`size` draws of the form's noise."""
    assert form.noise is not None
    if form.noise.law == "discrete_gaussian":
        return draw(key, form.noise.sd, size)
    return _normal(key, size) * form.noise.sd


def _normal(key: Key, size: int) -> Vector:
    """Standard normals by Box-Muller from the key's words, so that a fresh key's are secret."""
    pairs = (size + 1) // 2
    uniform = ((key.words(2 * pairs) >> np.uint64(11)) + 0.5) * 2.0**-53
    radius, angle = np.sqrt(-2.0 * np.log(uniform[:pairs])), 2 * np.pi * uniform[pairs:]
    normals: Vector = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:size]
    return normals
