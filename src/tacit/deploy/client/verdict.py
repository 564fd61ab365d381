"""Whether the owner's rules accept a run, and a turn of it; every reason is a plain sentence.

Reasons travel to the researcher. They speak of the plan, the policy and counts of peers, never of
anything that stands in the data.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

from tacit.base.errors import TacitError
from tacit.deploy.client.facts import PlanFacts, Planner, Spend
from tacit.deploy.client.owner import Cap, OwnerPolicy
from tacit.deploy.client.runner import TurnFailed
from tacit.plan.federation import Federation, from_plain

_ROUNDING = 1e-9
"""Sums of epsilons may miss the cap by as much."""


@final
@dataclass(frozen=True)
class Asked:
    """What the client is asked to join, and by whom; `seed` makes it a rehearsal."""

    run: str
    name: str
    researcher: str
    researcher_name: str
    federation: Mapping[str, Any]
    digest: str
    dataset: str
    seed: int | None


@final
@dataclass(frozen=True)
class Judged:
    """Reasons against (none: accepted), and the plan's facts where it could be built."""

    reasons: tuple[str, ...]
    facts: PlanFacts | None = None

    @property
    def accepted(self) -> bool:
        """No reason speaks against it."""
        return not self.reasons and self.facts is not None


async def consider(
    policy: OwnerPolicy,
    asked: Asked,
    planner: Planner,
    *,
    datasets: Collection[str],
    approved: int,
    spent: Iterable[Spend],
) -> Judged:
    """Hold a run against the policy.

    `datasets`: names registered here; `approved`: peers on the roster, this client included;
    `spent`: what the runs accepted before for this data set spend. The plan is built, which may
    import the researcher's code, only if nothing else speaks against the run and the code is
    approved.
    """
    try:
        federation = from_plain(dict(asked.federation))
    except TacitError as wrong:
        return Judged((f"the description cannot be used: {wrong.cause}",))
    reasons = [*_who(policy, asked, datasets), *_what(policy, asked, federation)]
    if approved < policy.minimum_cohort:
        reasons.append(
            f"the owner approved only {approved} peers, this client included, and asks for at "
            f"least {policy.minimum_cohort} in a round"
        )
    if reasons:
        return Judged(tuple(reasons))
    return await _planned(policy, asked, federation, planner, tuple(spent))


def fewest_in_sum(facts: PlanFacts, cohort: Collection[int], approved: int) -> int:
    """Approved peers that are certain to be in a sum, `approved` of them being in the cohort.

    A sum of hidden answers may leave out any members down to the quorum; those it leaves out may
    be the approved ones.
    """
    if not facts.hidden:
        return approved
    strangers = len(set(cohort)) - approved
    return min(facts.quorum, len(set(cohort))) - strangers


def cohort_reasons(
    policy: OwnerPolicy, facts: PlanFacts, cohort: Collection[int], approved: int
) -> tuple[str, ...]:
    """Whether enough approved peers stand in a round's cohort."""
    fewest = fewest_in_sum(facts, cohort, approved)
    if fewest >= policy.minimum_cohort:
        return ()
    return (
        f"of the {len(set(cohort))} members of this round the owner approved {approved}, so a sum "
        f"may hold only {max(fewest, 0)} approved ones; the owner asks for at least "
        f"{policy.minimum_cohort}",
    )


async def _planned(
    policy: OwnerPolicy,
    asked: Asked,
    federation: Federation,
    planner: Planner,
    spent: tuple[Spend, ...],
) -> Judged:
    rules = policy.rules(asked.dataset, federation.task.code)
    try:
        facts = await planner.facts(asked.federation, rules, asked.dataset)
    except TacitError as wrong:
        return Judged((f"the plan cannot be built here: {wrong.cause}",))
    except TurnFailed as failed:
        return Judged((f"the plan cannot be built here: {failed.code}",))
    reasons = list(facts.reasons)
    if facts.ideal and asked.seed is None:
        reasons.append(TacitError("deploy.secure-sum-simulated").cause)
    cap = policy.epsilon.get(asked.dataset)
    if cap is not None and not reasons:
        reasons += _budget(cap, asked, facts, spent)
    return Judged(tuple(reasons), facts)


def _who(policy: OwnerPolicy, asked: Asked, datasets: Collection[str]) -> list[str]:
    reasons = []
    if not asked.researcher:
        reasons.append("no researcher's signature stands under it")
    elif not {asked.researcher, asked.researcher_name} & set(policy.researchers):
        reasons.append(
            f"the researcher {asked.researcher_name} ({asked.researcher}) is not allowed here"
        )
    if asked.dataset not in datasets:
        reasons.append(f"no data set is registered here as {asked.dataset!r}")
    if asked.seed is not None and not policy.rehearsals:
        reasons.append("it is a rehearsal, whose noise is not secret; the owner allows none")
    if asked.seed is not None and asked.dataset in policy.epsilon:
        reasons.append(
            "it is a rehearsal, whose noise hides nothing, and the owner limits what may be "
            "learned of this data set"
        )
    return reasons


def _what(policy: OwnerPolicy, asked: Asked, federation: Federation) -> list[str]:
    """What can be said before the plan is built; the plan's own rules say it again."""
    reasons = []
    if federation.digest != asked.digest:
        reasons.append("the description is not the one that its digest names")
    for part in filter(None, federation.task.code.split(", ")):
        if part not in policy.code:
            reasons.append(f"the code {part} is not approved by the owner")
    return reasons


def _budget(cap: Cap, asked: Asked, facts: PlanFacts, spent: tuple[Spend, ...]) -> list[str]:
    """Basic composition: epsilons and deltas of all accepted runs add up."""
    of = {"against": str(cap.against), "unit": cap.unit}
    here = _matching(facts.spends, of)
    before = _matching(spent, of)
    what = f"of {asked.dataset!r} per {cap.unit} against {cap.against}"
    if any(one.epsilon is None for one in (*here, *before)) or not here:
        return [f"a run accepted before bounds nothing {what}, so no budget is left"]
    epsilon = sum(one.epsilon or 0.0 for one in (*before, *here))
    delta = sum(one.delta for one in (*before, *here))
    if epsilon > cap.epsilon * (1 + _ROUNDING):
        return [f"epsilon {what} would come to {epsilon:.2f}; the owner allows {cap.epsilon:g}"]
    if delta > cap.delta * (1 + _ROUNDING):
        return [f"delta {what} would come to {delta:.2g}; the owner allows {cap.delta:g}"]
    return []


def _matching(spends: Iterable[Spend], of: Mapping[str, str]) -> list[Spend]:
    return [one for one in spends if one.against == of["against"] and one.unit == of["unit"]]
