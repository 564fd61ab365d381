"""An owner's policy: it accepts or refuses, and every refusal names its reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import tacit
from tacit.plan.build import Plan, build
from tacit.plan.claims import Party
from tacit.plan.policy import Policy, accepts
from tests.plan.federations import RECIPES, federation


def plan(name: str, **changes: Any) -> Plan:
    return build(federation(name, **changes))


def reasons(policy: Policy, built: Plan) -> str:
    verdict = accepts(policy, built)
    assert verdict.accepted == (not verdict.reasons)
    return " | ".join(verdict.reasons)


HIDDEN = {"secure_average", "record_dp", "distributed_dp", "distributed_dp_poisson"}


@pytest.mark.parametrize("name", RECIPES)
def test_by_default_single_answers_must_be_hidden(name: str) -> None:
    found = reasons(Policy(), plan(name))
    assert ("the coordinator would read single answers" in found) == (name not in HIDDEN)
    assert accepts(Policy(), plan(name)).accepted == (name in HIDDEN)


def test_an_owner_may_trust_the_coordinator() -> None:
    assert accepts(Policy(hidden_answers=False), plan("plain")).accepted


@pytest.mark.parametrize(("minimum", "accepted"), [(3, True), (4, True), (5, False)])
def test_a_sum_must_hold_enough_answers(minimum: int, accepted: bool) -> None:
    policy = Policy(minimum_cohort=minimum)
    assert accepts(policy, plan("secure_average")).accepted == accepted
    told = "a sum may hold only 4 answers; the owner asks for at least 5"
    assert (told in reasons(policy, plan("secure_average"))) != accepted


def test_what_counts_is_the_quorum_not_the_cohort() -> None:
    assert not accepts(Policy(minimum_cohort=4), plan("secure_average", quorum=3)).accepted


def test_required_stages_must_be_there() -> None:
    policy = Policy(required=("clip", "gaussian"))
    assert accepts(policy, plan("distributed_dp")).accepted
    told = "the chain lacks gaussian, which the owner requires"
    assert reasons(policy, plan("secure_average")) == told


def test_an_unknown_requirement_is_never_met() -> None:
    """Fail closed: a stage that does not exist is not there."""
    assert "lacks homomorphic" in reasons(Policy(required=("homomorphic",)), plan("distributed_dp"))


class TestBudget:
    def test_a_plan_within_it_is_accepted(self) -> None:
        assert accepts(Policy(epsilon=3.0), plan("record_dp")).accepted

    def test_a_plan_beyond_it_is_told_by_how_much(self) -> None:
        assert reasons(Policy(epsilon=1.0), plan("record_dp")) == (
            "the plan spends epsilon 3.00 per record against the coordinator; the owner allows 1"
        )

    def test_a_promise_to_another_party_does_not_count(self) -> None:
        policy = Policy(hidden_answers=False, epsilon=10.0, unit="client")
        assert reasons(policy, plan("central_dp")) == (
            "nothing bounds what the coordinator learns about one client"
        )
        assert accepts(replace(policy, against=Party.PUBLIC), plan("central_dp")).accepted

    def test_a_promise_for_another_unit_does_not_count(self) -> None:
        """Hiding a record hides no whole site."""
        found = reasons(Policy(epsilon=3.0, unit="client"), plan("record_dp"))
        assert "per client" in found or "nothing bounds" in found

    def test_no_noise_is_no_promise(self) -> None:
        assert "nothing bounds" in reasons(Policy(epsilon=100.0), plan("secure_average"))

    def test_a_larger_delta_is_refused(self) -> None:
        found = reasons(Policy(epsilon=3.0, delta=1e-6), plan("record_dp"))
        assert found == "delta 1e-05 is above the owner's 1e-06"
        assert accepts(Policy(epsilon=3.0, delta=1e-4), plan("record_dp")).accepted


def test_all_reasons_are_given_at_once() -> None:
    policy = Policy(minimum_cohort=9, required=("gaussian",), epsilon=1.0)
    assert len(accepts(policy, plan("plain")).reasons) == 4


def test_code_must_be_approved_to_the_letter() -> None:
    built = plan("secure_average")
    run = built.federation
    code = "my_app:model sha256:1234"
    foreign = replace(built, federation=run.replace(task=Foreign(run.task, code)))
    assert f"the code {code} is not approved" in reasons(Policy(), foreign)
    assert "not approved" in reasons(Policy(code=(code + "5",)), foreign)
    assert accepts(Policy(code=(code,)), foreign).accepted


class Foreign:
    """A task that is a client's own code."""

    kind = "foreign"

    def __init__(self, task: Any, code: str) -> None:
        self.task, self.code = task, code

    def build(self, contract: Any) -> Any:
        return self.task.build(contract)


def test_policies_are_reached_by_their_names() -> None:
    assert tacit.accepts(tacit.Policy(), plan("distributed_dp")).accepted
