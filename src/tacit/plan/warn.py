"""Sound, but it will not learn: the noise beside the signal, in numbers."""

from __future__ import annotations

import math

from tacit.base.vector import Kind
from tacit.protect.form import Form, Team


def noise_per_coordinate(form: Form, team: Team) -> float:
    """Standard deviation of the noise on one coordinate of the usual sum, in update units."""
    if form.noise is None:
        return 0.0
    added = team.cohort if form.noise.where in ("share", "local") else 1
    update = form.of(Kind.TRAINED)[0]
    return form.noise.sd * math.sqrt(added) * _unit(form) / update.scale


def records_needed(form: Form, team: Team) -> float:
    """Units (records or clients) a round must draw for signal and noise to be equal in the end.

    Noise has L2 norm sd sqrt(d); m clipped units that all agree have norm m C; over T rounds
    noise grows like sqrt(T) and agreement like T.
    """
    update = form.of(Kind.TRAINED)[0]
    one = update.bound.record if form.record_sum else update.bound.client
    noise = noise_per_coordinate(form, team) * math.sqrt(update.size)
    return noise / (one * math.sqrt(team.rounds))


def warnings(form: Form, team: Team) -> tuple[str, ...]:
    """What a user should hear before running."""
    if form.noise is None or form.record_sum:
        return ()
    return too_noisy(form, team, team.cohort, "clients")


def too_noisy(form: Form, team: Team, drawn: float, units: str) -> tuple[str, ...]:
    """A warning with numbers if a round draws too few units for its noise."""
    needed = records_needed(form, team)
    if needed <= drawn:
        return ()
    update = form.of(Kind.TRAINED)[0]
    one = update.bound.record if form.record_sum else update.bound.client
    sd = noise_per_coordinate(form, team)
    return (
        f"This plan will hardly learn: the noise has a standard deviation of {sd:.3g} on each of "
        f"{update.size} coordinates of the sum, beside clipped contributions of {one:.3g} in all "
        f"coordinates together. About {math.ceil(needed)} {units} a round would be needed for the "
        f"signal to equal the noise after {team.rounds} rounds; there are {drawn:.0f}. "
        "Raise epsilon, take part with more, or protect records instead of whole clients.",
    )


def _unit(form: Form) -> float:
    """Update units in one unit of the noise: the grid step, kept in `rounding` once decoded."""
    if form.noise is not None and form.noise.law == "discrete_gaussian":
        return form.rounding / math.sqrt(form.size) if form.real else form.step
    return 1.0
