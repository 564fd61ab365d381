"""The owner's policy: its file, and the sentence of every refusal."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import tacit
from tacit.base.errors import TacitError
from tacit.deploy.client.conditions import not_now
from tacit.deploy.client.facts import HerePlanner, PlanFacts, Spend, plan_facts
from tacit.deploy.client.home import Home
from tacit.deploy.client.owner import (
    TEMPLATE,
    Cap,
    OwnerPolicy,
    basis,
    parse_policy,
    read_policy,
)
from tacit.deploy.client.verdict import Asked, Judged, cohort_reasons, consider
from tacit.plan.policy import Policy
from tests.deploy.client.fake import ADA, DATASET, NAME, RUN, federation
from tests.deploy.client.virtual import START

OPEN = OwnerPolicy(researchers=("Ada",), hidden_answers=False)


class NoPlanner:
    """Must not be asked."""

    async def facts(self, federation: Any, policy: Policy, dataset: str | None = None) -> PlanFacts:
        raise AssertionError("the plan was built")


def asked(described: tacit.Federation | None = None, **changes: Any) -> Asked:
    found = described or federation()
    given = Asked(RUN, NAME, ADA.id, "Ada", found.plain, found.digest, DATASET, None)
    return replace(given, **changes)


def judged(policy: OwnerPolicy, one: Asked, planner: Any = None, **more: Any) -> Judged:
    given: dict[str, Any] = {"datasets": (DATASET,), "approved": 4, "spent": (), **more}
    return asyncio.run(consider(policy, one, planner or HerePlanner(), **given))


def refused(policy: OwnerPolicy, one: Asked, **more: Any) -> str:
    found = judged(policy, one, **more)
    assert not found.accepted
    return " | ".join(found.reasons)


def test_the_template_has_the_defaults_and_a_comment_on_every_line() -> None:
    assert parse_policy(TEMPLATE) == OwnerPolicy()
    for line in filter(None, TEMPLATE.splitlines()):
        assert "#" in line and line.split("#", 1)[1].strip(), line


def test_what_the_template_shows_of_epsilon_is_valid() -> None:
    shown = [line.removeprefix("# ") for line in TEMPLATE.splitlines()[-5:]]
    assert parse_policy("\n".join(shown)).epsilon == {"heart": Cap(3.0)}


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ('\nresearcher = ["Ada"]', 2, "researchers"),
        ("minimum_cohort = 0", 1, "1 or more"),
        ('hours = "25:00-26:00"', 1, "20:00-06:00"),
        ('hours = "10:00-10:00"', 1, "20:00-06:00"),
        ('\n\nrequired = ["clap"]', 3, "clip"),
        ("[epsilon.heart]\nepsilon = -1.0", 2, "above 0"),
        ("[epsilon.heart]\nepsilon = 1.0\nunits = 3", 3, "unit"),
        ('[epsilon.heart]\nepsilon = 1.0\nagainst = "nobody"', 3, "nobody"),
        ("[limits]\nthread = 2", 2, "threads"),
        ("[limits]\nmemory_mb = 0", 2, "above 0"),
        ("hidden_answers = 1", 1, "bool"),
        ("epsilon = 3.0", 1, "tables"),
        ('condition = "on_ac"', 1, "array"),
    ],
)
def test_a_mistake_is_refused_with_its_line(text: str, line: int, told: str) -> None:
    with pytest.raises(TacitError) as wrong:
        parse_policy(text, "policy.toml")
    assert f"policy.toml, line {line}" in str(wrong.value) and told in str(wrong.value)


def test_by_default_nobody_may_ask() -> None:
    assert "the researcher Ada" in refused(OwnerPolicy(), asked(), planner=NoPlanner())
    assert judged(OPEN, asked()).accepted
    assert judged(replace(OPEN, researchers=(ADA.id,)), asked()).accepted


def test_answers_are_hidden_by_default() -> None:
    found = refused(OwnerPolicy(researchers=("Ada",)), asked())
    assert found == ("the coordinator would read single answers; the owner wants them hidden")


def test_a_simulated_secure_sum_is_refused_in_earnest() -> None:
    ideal = federation(protect=tacit.secure_average(clip=1.0, cap=100))
    policy = OwnerPolicy(researchers=("Ada",))
    assert refused(policy, asked(ideal)) == TacitError("deploy.secure-sum-simulated").cause
    rehearsing = replace(policy, rehearsals=True)
    assert judged(rehearsing, asked(ideal, seed=3)).accepted
    assert not judged(rehearsing, asked(ideal)).accepted


def test_rehearsals_are_refused_by_default() -> None:
    told = "it is a rehearsal, whose noise is not secret; the owner allows none"
    assert refused(OPEN, asked(seed=1)) == told
    capped = replace(OPEN, rehearsals=True, epsilon={DATASET: Cap(100.0)})
    assert "hides nothing" in refused(capped, asked(seed=1), planner=NoPlanner())


def test_a_sum_must_hold_enough_answers() -> None:
    found = refused(replace(OPEN, minimum_cohort=4), asked())
    assert found == "a sum may hold only 3 answers; the owner asks for at least 4"


def test_too_few_approved_peers() -> None:
    told = "the owner approved only 2 peers, this client included, and asks for at least 3"
    assert told in refused(OPEN, asked(), approved=2, planner=NoPlanner())


def test_required_stages() -> None:
    found = refused(replace(OPEN, required=("clip",)), asked())
    assert found == "the chain lacks clip, which the owner requires"


def test_a_description_that_is_not_the_one_that_was_signed() -> None:
    told = "the description is not the one that its digest names"
    assert refused(OPEN, asked(digest="0" * 64), planner=NoPlanner()) == told
    broken = {**federation().plain, "rounds": "many"}
    assert "the description cannot be used" in refused(OPEN, asked(federation=broken))


def test_code_that_nobody_read_is_never_imported() -> None:
    plain = {**federation().plain}
    plain["task"] = {"kind": "torch", "model": "m:f", "source": "0" * 64}
    found = refused(OPEN, asked(federation=plain), planner=NoPlanner())
    assert f"the code m:f sha256:{'0' * 64} is not approved by the owner" in found


def test_each_part_of_the_code_is_approved_by_itself() -> None:
    parts = ("m:f sha256:1", "m:loss sha256:2")
    policy = replace(OPEN, code=parts)
    assert policy.rules(DATASET, ", ".join(parts)).code == (", ".join(parts),)
    assert policy.rules(DATASET, "m:f sha256:1, m:loss sha256:3").code == parts


NOISED = federation(protect=tacit.local_dp(8.0, 1e-5, clip=1.0), rounds=1)


def spends_of(described: tacit.Federation) -> Spend:
    facts = plan_facts(described.plain, Policy(hidden_answers=False))
    return next(s for s in facts.spends if s.unit == "client" and s.against == "the coordinator")


def test_epsilon_adds_up_over_all_accepted_runs() -> None:
    spend = spends_of(NOISED)
    assert spend.epsilon is not None
    cap = Cap(2.1 * spend.epsilon, 1e-4, "client")
    policy = replace(OPEN, epsilon={DATASET: cap})
    assert judged(policy, asked(NOISED)).accepted
    assert judged(policy, asked(NOISED), spent=(spend,)).accepted
    found = refused(policy, asked(NOISED), spent=(spend, spend))
    assert f"would come to {3 * spend.epsilon:.2f}; the owner allows {cap.epsilon:g}" in found
    narrow = replace(OPEN, epsilon={DATASET: replace(cap, delta=1.5e-5)})
    assert "delta" in refused(narrow, asked(NOISED), spent=(spend,))


def test_a_plan_that_promises_nothing_is_refused_under_a_limit() -> None:
    policy = replace(OPEN, epsilon={DATASET: Cap(3.0)})
    assert "nothing bounds what the coordinator learns" in refused(policy, asked())
    other = replace(OPEN, epsilon={"others": Cap(3.0)})
    assert judged(other, asked()).accepted


def test_an_unbounded_run_leaves_no_budget() -> None:
    spend = replace(spends_of(NOISED), epsilon=None)
    policy = replace(OPEN, epsilon={DATASET: Cap(1e3, 1e-2, "client")})
    assert "bounds nothing" in refused(policy, asked(NOISED), spent=(spend,))


def test_a_hidden_sum_may_leave_the_approved_ones_out() -> None:
    facts = plan_facts(federation().plain, Policy(hidden_answers=False))
    cohort = tuple(range(10))
    assert cohort_reasons(OPEN, facts, cohort, 3) == ()
    assert cohort_reasons(OPEN, facts, cohort, 2)
    hidden = replace(facts, hidden=True, quorum=9)
    assert cohort_reasons(OPEN, hidden, cohort, 4) == ()
    assert cohort_reasons(OPEN, hidden, cohort, 3)


@pytest.mark.parametrize(
    ("hours", "minute", "is_open"),
    [("00:00-24:00", 5, True), ("20:00-06:00", 1300, True), ("20:00-06:00", 100, True),
     ("20:00-06:00", 700, False), ("08:00-17:00", 480, True), ("08:00-17:00", 1020, False)],
)  # fmt: skip
def test_hours(hours: str, minute: int, is_open: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    midnight = datetime.fromtimestamp(START, UTC).astimezone().replace(hour=0, minute=0, second=0)
    now = midnight.timestamp() + 60 * minute
    assert OwnerPolicy(hours=hours).open_at(now) == is_open


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("true",), ()),
        (("false",), ("the owner's condition does not hold now",)),
        (("/nowhere/at-all",), ("the owner's condition cannot be asked",)),
        (("sleep", "60"), ("the owner's condition does not answer in time",)),
    ],
)
def test_the_owners_command(command: tuple[str, ...], told: tuple[str, ...]) -> None:
    policy = replace(OPEN, condition=command, condition_seconds=0.5)
    assert asyncio.run(not_now(policy, START)) == told


def test_a_policy_is_read_as_it_is_now(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with pytest.raises(TacitError) as missing:
        read_policy(home)
    assert missing.value.code == "policy.file"
    before = basis(home, "")
    home.policy.write_text("vouches = 2\n", "utf-8")
    assert read_policy(home).vouches == 2
    assert len({before, basis(home, ""), basis(home, "peer")}) == 3


def test_code_is_not_imported_beside_the_key() -> None:
    plain = {**federation().plain}
    plain["task"] = {"kind": "torch", "model": "m:f", "source": "0" * 64}
    with pytest.raises(TacitError) as refused_here:
        asyncio.run(HerePlanner().facts(plain, Policy()))
    assert refused_here.value.code == "client.code-here"
