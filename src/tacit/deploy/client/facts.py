"""What an owner's rules need to know of a plan, as plain data.

Building a plan may import the researcher's code. So whoever builds it hands back these facts: a
child process without the owner's keys can do it as well as this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, final

from tacit.base.errors import TacitError
from tacit.base.plain import digest
from tacit.plan.federation import from_plain
from tacit.plan.policy import Policy, accepts

REMEMBERED: Final = 32
"""Plans whose facts are kept."""


@final
@dataclass(frozen=True)
class Spend:
    """(epsilon, delta) of one unit against one party; epsilon is None where nothing is promised."""

    against: str
    unit: str
    epsilon: float | None
    delta: float


@final
@dataclass(frozen=True)
class PlanFacts:
    """A plan as its owner's rules see it: `reasons` are those of `tacit.plan.policy.accepts`.

    `digest`: of the description that was rebuilt; `hidden`: nobody reads single answers; `ideal`:
    the secure sum is simulated only; `noised`: DP is promised; `offer`, `answer`: bytes of a
    round's model and of an answer; `rounds`: what all promises count on.
    """

    digest: str
    reasons: tuple[str, ...]
    hidden: bool
    ideal: bool
    noised: bool
    quorum: int
    clients: int
    rounds: int
    offer: int
    answer: int
    spends: tuple[Spend, ...]


class Planner(Protocol):
    """Builds plans somewhere; raises what building raises, or `TurnFailed`."""

    async def facts(
        self, federation: Mapping[str, Any], policy: Policy, dataset: str | None = None
    ) -> PlanFacts:
        """Rebuild the plan from its description and hold it against the rules.

        `dataset`: the name of the data set that turns will use.
        """
        ...


@final
@dataclass(frozen=True)
class HerePlanner:
    """Builds plans in this process, which holds the keys: so only those of tacit's own tasks.

    `trusted`: also import the researcher's code (tests, rehearsals).
    """

    trusted: bool = False

    async def facts(
        self, federation: Mapping[str, Any], policy: Policy, dataset: str | None = None
    ) -> PlanFacts:
        """Rebuild the plan from its description; `client.code-here` for a researcher's code."""
        code = from_plain(dict(federation)).task.code
        if code and not self.trusted:
            raise TacitError("client.code-here", name=code)
        return plan_facts(federation, policy)


@final
@dataclass
class Remembering:
    """A planner that has a description's plan built once for the same rules."""

    planner: Planner
    known: dict[tuple[str, Policy], PlanFacts] = field(default_factory=dict)

    async def facts(
        self, federation: Mapping[str, Any], policy: Policy, dataset: str | None = None
    ) -> PlanFacts:
        """As the other planner's."""
        key = digest(federation), policy
        if key not in self.known:
            self.known[key] = await self.planner.facts(federation, policy, dataset)
            while len(self.known) > REMEMBERED:
                del self.known[next(iter(self.known))]
        return self.known[key]


def plan_facts(federation: Mapping[str, Any], policy: Policy) -> PlanFacts:
    """Rebuild the plan from its description and hold it against the rules.

    Raises whatever is wrong with the description (`description.*`, `chain.*`, `task.*`).
    """
    plan = from_plain(dict(federation)).plan()
    spends = tuple(
        Spend(str(claim.against), claim.hides, claim.epsilon if claim.holds else None, claim.delta)
        for claim in plan.claims
    )
    return PlanFacts(
        plan.digest,
        accepts(policy, plan).reasons,
        plan.form.hidden,
        plan.form.ideal,
        plan.form.noise is not None,
        plan.team.quorum,
        plan.team.clients,
        plan.team.rounds,
        plan.cost.down,
        plan.cost.up,
        spends,
    )
