"""Claims: against whom, what is hidden, how well, under which assumptions. Derived, never set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import final

from tacit.plan.accounting import Event, epsilon
from tacit.protect.form import Form, Noise, Team, Unit

LARGEST_EPSILON = 100.0
"""An epsilon above this bounds nothing that matters."""

UNITS: tuple[Unit, ...] = ("record", "client")


class Party(StrEnum):
    """Who may look."""

    COORDINATOR = "the coordinator"
    CLIENT = "another client"
    PUBLIC = "anyone who gets the model"


@final
@dataclass(frozen=True)
class Claim:
    """(epsilon, delta)-DP of one unit against one party; epsilon is infinite where none holds."""

    against: Party
    hides: Unit
    epsilon: float
    delta: float
    event: Event | None
    assumes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether anything is promised; a likelihood ratio of e^100 is no promise."""
        return self.epsilon <= LARGEST_EPSILON

    @property
    def shown(self) -> str:
        """Epsilon to two decimals, rounded up: what is printed never promises too much."""
        return f"{math.ceil(100 * self.epsilon) / 100:.2f}" if self.holds else "no promise"


def event_for(party: Party, unit: Unit, before: Form, final_form: Form, team: Team) -> Event | None:
    """The privacy event of one unit against one party; `before` is the form that noise meets."""
    noise = final_form.noise
    sensitivity = before.sensitivity(unit)
    if noise is None or not math.isfinite(sensitivity) or sensitivity == 0:
        return None
    if party is Party.COORDINATOR and noise.where == "central":
        return None
    rate = _rate(party, unit, final_form, team)
    shares = _shares(party, noise, final_form, team)
    draws = 0
    if noise.law == "discrete_gaussian":
        draws = before.size * team.rounds * team.clients
    return Event(noise.law, noise.sd, sensitivity, shares, before.size, rate, team.rounds, draws)


def claims(before: Form | None, final_form: Form, team: Team, delta: float) -> tuple[Claim, ...]:
    """The whole table; `before` is None where the chain has no noise."""
    table = []
    for unit in UNITS:
        for party in Party:
            event = None
            if before is not None:
                event = event_for(party, unit, before, final_form, team)
            spent = epsilon(event, delta) if event else math.inf
            assumes = _assumptions(party, unit, event, final_form, team) if event else ()
            table.append(Claim(party, unit, spent, delta, event, assumes))
    return tuple(table)


def calibrated_against(noise_where: str) -> Party:
    """The strongest party that a placement of noise is meant to resist."""
    return Party.PUBLIC if noise_where == "central" else Party.COORDINATOR


def _rate(party: Party, unit: Unit, form: Form, team: Team) -> float:
    """Poisson rate that the party cannot see past.

    Which records a site drew stays at the site. Which clients were drawn is known to the
    coordinator, and to the members of a secure sum. Where clients bring noise of their own, a
    drawn client also widens the noise, which amplification of a mere shift does not cover.
    """
    if unit == "record":
        return form.rate
    sees_cohort = party is Party.COORDINATOR or (party is Party.CLIENT and form.hidden)
    earned = not sees_cohort and not _brings_noise(form)
    return team.rate if earned and team.rate is not None else 1.0


def _brings_noise(form: Form) -> bool:
    """Whether noise comes with the clients."""
    return form.noise is not None and form.noise.where != "central"


def _shares(party: Party, noise: Noise, form: Form, team: Team) -> int:
    """Additions of noise that are certain to lie over one client's answer.

    Another client knows its own noise, even where nobody is assumed to collude.
    """
    alone = party is Party.COORDINATOR and not form.hidden
    if noise.where == "central" or alone:
        return 1
    known = max(team.collusion, 1) if party is Party.CLIENT else team.collusion
    return max(team.quorum - known, 1)


def _assumptions(party: Party, unit: Unit, event: Event, form: Form, team: Team) -> tuple[str, ...]:
    found = []
    if event.shares > 1:
        found.append(
            f"at least {event.shares} of the {team.quorum} answers in a sum come from clients that "
            "add their noise as agreed"
        )
    if unit == "client" and _brings_noise(form):
        found.append("it is no secret whether the client takes part")
    if form.ideal and party is not Party.PUBLIC:
        found.append("the secure sum is real (here it is simulated)")
    if event.rate < 1 and unit == "record":
        found.append("which records a site drew stays at the site")
    if event.rate < 1 and unit == "client":
        found.append("which clients were drawn, and how many, stays with the coordinator")
    if unit == "record" and form.record_sum:
        found.append("the approved code treats each record on its own")
    return tuple(found)
