"""An owner's policy, and whether it accepts a plan. The owner decides, whoever asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from tacit.plan.build import Plan
from tacit.plan.claims import Party
from tacit.protect.form import Unit


@final
@dataclass(frozen=True)
class Policy:
    """Rules of a data owner; the defaults refuse to show a single answer to anybody.

    `code`: approved user code as `module:function sha256:...` (tacit's own needs no approval);
    `epsilon`: most that one federation may spend of `unit` against `against`.
    """

    minimum_cohort: int = 3
    hidden_answers: bool = True
    required: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    epsilon: float | None = None
    delta: float = 1e-5
    unit: Unit = "record"
    against: Party = Party.COORDINATOR


@final
@dataclass(frozen=True)
class Verdict:
    """Whether a policy accepts a plan, and every reason why not."""

    reasons: tuple[str, ...]

    @property
    def accepted(self) -> bool:
        """No reason speaks against it."""
        return not self.reasons


def accepts(policy: Policy, plan: Plan) -> Verdict:
    """Check a plan against an owner's rules."""
    found = [*_people(policy, plan), *_stages(policy, plan), *_budget(policy, plan)]
    return Verdict(tuple(found))


def _people(policy: Policy, plan: Plan) -> list[str]:
    reasons = []
    if plan.team.quorum < policy.minimum_cohort:
        reasons.append(
            f"a sum may hold only {plan.team.quorum} answers; the owner asks for at least "
            f"{policy.minimum_cohort}"
        )
    if policy.hidden_answers and not plan.form.hidden:
        reasons.append("the coordinator would read single answers; the owner wants them hidden")
    code = plan.federation.task.code
    if code and code not in policy.code:
        reasons.append(f"the code {code} is not approved by the owner")
    return reasons


def _stages(policy: Policy, plan: Plan) -> list[str]:
    present = {step.stage.kind for step in plan.steps}
    missing = [name for name in policy.required if name not in present]
    return [f"the chain lacks {name}, which the owner requires" for name in missing]


def _budget(policy: Policy, plan: Plan) -> list[str]:
    if policy.epsilon is None:
        return []
    claim = next(c for c in plan.claims if c.hides == policy.unit and c.against is policy.against)
    if not claim.holds:
        return [f"nothing bounds what {policy.against} learns about one {policy.unit}"]
    if claim.delta > policy.delta:
        return [f"delta {claim.delta:g} is above the owner's {policy.delta:g}"]
    if claim.epsilon > policy.epsilon:
        return [
            f"the plan spends epsilon {claim.shown} per {policy.unit} against "
            f"{policy.against}; the owner allows {policy.epsilon:g}"
        ]
    return []
