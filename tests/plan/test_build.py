"""The walk: what is accepted claims nothing false, what is refused says why and what to do."""

from __future__ import annotations

import math

import pytest

import tacit
from tacit.base.catalogue.chain import CHAIN
from tacit.base.errors import TacitError, Unsound
from tacit.plan.build import Plan, Step, build, calibrated, walk
from tacit.protect.balance import Balance
from tacit.protect.clip import Clip, ClipExamples
from tacit.protect.form import Form, Place, Team
from tacit.protect.noise import Gaussian
from tacit.protect.quantise import Quantise
from tacit.protect.recipes import Chain, distributed_dp, record_dp
from tacit.protect.stage import Stage
from tacit.protect.sum import Mean, PlainSum, SecureSum
from tacit.protect.topk import TopK
from tacit.protect.weigh import Weigh
from tests.plan.chains import LONG, TEAMS, Refusal, starts, steps_of, walk_all
from tests.plan.federations import federation

FOUR = TEAMS["four sites"]

ELSEWHERE = {
    "chain.empty",
    "chain.noise-amount",
    "chain.round-too-fine",
    "chain.sigma-range",
    "privacy.unreachable",
}
"""Codes that no single stage of the walk can raise; each has a test of its own below."""


@pytest.fixture(scope="module")
def refusals() -> list[Refusal]:
    return [one for team in TEAMS for start in starts() for one in walk_all(start, team).refused]


def test_every_refusal_says_why_and_what_to_do(refusals: list[Refusal]) -> None:
    for chain, error in refusals:
        assert type(error) is Unsound
        for sentence in (error.why, error.remedy):
            assert len(sentence) > 15, chain
            assert "{" not in sentence, chain
            assert sentence.endswith("."), chain


def test_the_walk_meets_every_refusal(refusals: list[Refusal]) -> None:
    assert {error.code for _, error in refusals} == set(CHAIN) - ELSEWHERE


def stages(steps: tuple[Step, ...], kind: type[Stage]) -> list[Stage]:
    return [step.stage for step in steps if isinstance(step.stage, kind)]


def facts(steps: tuple[Step, ...], team: Team) -> dict[str, object]:
    """What a form must say, from the names of the stages before it."""
    sums = [stages(steps, PlainSum), stages(steps, SecureSum)]
    records = [s for s in stages(steps, ClipExamples) if isinstance(s, ClipExamples)]
    weighs = [s for s in stages(steps, Weigh) if isinstance(s, Weigh)]
    means = [s for s in stages(steps, Mean) if isinstance(s, Mean)]
    over = means[0].over if means else 0.0
    weights = "records" if records else "uniform"
    if weighs:
        weights = "capped" if weighs[0].cap else "examples"
    place = Place.MEAN if means else Place.TOTAL if any(sums) else Place.CLIENT
    return {
        "place": place,
        "hidden": bool(sums[1]),
        "ideal": bool(sums[1]),
        "real": any(sums) or not stages(steps, Quantise),
        "noised": bool(stages(steps, Gaussian)),
        "clipped": bool(stages(steps, Clip) or records),
        "record_sum": bool(records),
        "rate": records[0].sample if records else 1.0,
        "memory": any(isinstance(s, TopK) and s.feedback for s in stages(steps, TopK)),
        "sparse": bool(stages(steps, TopK)),
        "balanced": bool(stages(steps, Balance)),
        "weights": weights,
        "denominator": team.cohort if over == -1 else over,
    }


def said(form: Form) -> dict[str, object]:
    return {
        "place": form.place,
        "hidden": form.hidden,
        "ideal": form.ideal,
        "real": form.real,
        "noised": form.noise is not None,
        "clipped": form.clipped,
        "record_sum": form.record_sum,
        "rate": form.rate,
        "memory": form.memory,
        "sparse": form.kept > 0,
        "balanced": form.balanced,
        "weights": form.weights,
        "denominator": form.denominator,
    }


@pytest.mark.parametrize("team", TEAMS)
def test_a_form_claims_nothing_that_no_stage_earned(team: str) -> None:
    for start in starts():
        for steps in walk_all(start, team).accepted:
            assert said(steps[-1].after) == facts(steps, TEAMS[team])


@pytest.mark.parametrize("team", TEAMS)
def test_accepted_noise_is_sized_by_what_it_meets(team: str) -> None:
    for start in starts():
        for steps in walk_all(start, team).accepted:
            stage, before, after = steps[-1]
            if not isinstance(stage, Gaussian):
                continue
            noise = after.noise
            assert noise is not None
            assert math.isfinite(noise.sd)
            assert noise.sensitivity == before.sensitivity(stage.unit)
            assert noise.multiplier == pytest.approx(stage.multiplier)
            assert noise.shares == (TEAMS[team].honest if stage.where == "share" else 1)


@pytest.mark.parametrize("team", TEAMS)
def test_accepted_chains_have_one_sum_then_one_mean(team: str) -> None:
    for start in starts():
        for steps in walk_all(start, team).complete:
            kinds = [step.stage.kind for step in steps]
            assert kinds.count("mean") == 1 == sum(kind.endswith("_sum") for kind in kinds)
            assert kinds[-1] == "mean"


def test_shares_of_noise_are_never_in_the_clear() -> None:
    for start in starts():
        for steps in walk_all(start, "four sites").complete:
            noise = steps[-1].after.noise
            if noise and noise.where == "share":
                assert steps[-1].after.hidden


@pytest.mark.parametrize("chain", LONG, ids=lambda chain: "-".join(s.kind for s in chain))
def test_longer_chains_are_accepted(chain: tuple[Stage, ...]) -> None:
    form = starts()["one step, metrics"].form
    assert walk(chain, form, FOUR) == steps_of(chain, form, FOUR)


@pytest.mark.parametrize("chain", [(), (Clip(1.0),), (Clip(1.0), PlainSum())])
def test_a_chain_must_end_in_a_mean(chain: tuple[Stage, ...]) -> None:
    with pytest.raises(Unsound) as refused:
        walk(chain, starts()["several steps"].form, FOUR)
    assert refused.value.code == "chain.empty"


@pytest.mark.parametrize(("multiplier", "epsilon"), [(0.0, 0.0), (1.0, 1.0)])
def test_noise_is_given_once(multiplier: float, epsilon: float) -> None:
    with pytest.raises(TacitError) as refused:
        Gaussian("central", "client", multiplier, epsilon)
    assert refused.value.code == "chain.noise-amount"


def test_levels_beyond_exact_numbers_are_refused() -> None:
    with pytest.raises(Unsound) as refused:
        steps_of((Clip(1.0), Quantise(2**53)), starts()["several steps"].form, FOUR)
    assert refused.value.code == "chain.round-too-fine"


def test_an_epsilon_out_of_reach_is_refused() -> None:
    noise = Gaussian("central", "client", epsilon=1e-9, delta=1e-12)
    with pytest.raises(Unsound) as refused:
        calibrated((Clip(1.0), PlainSum(), noise, Mean(-1)), starts()["several steps"].form, FOUR)
    assert refused.value.code == "privacy.unreachable"


def budget(plan: Plan) -> float:
    """Epsilon of what the plan's noise was calibrated for."""
    noise = plan.form.noise
    assert noise is not None
    party = "anyone who gets the model" if noise.where == "central" else "the coordinator"
    return next(c.epsilon for c in plan.claims if c.against == party and c.hides == noise.unit)


@pytest.mark.parametrize(
    "name", ["record_dp", "central_dp", "central_dp_poisson", "local_dp", "distributed_dp"]
)
def test_a_budget_is_spent_to_a_tenth_of_a_percent_and_never_exceeded(name: str) -> None:
    assert 0.999 * 3.0 <= budget(build(federation(name))) <= 3.0


def test_a_multiplier_is_left_as_it_is() -> None:
    chain = (Clip(1.0), PlainSum(), Gaussian("central", "client", 0.7), Mean(-1))
    assert calibrated(chain, starts()["several steps"].form, FOUR) == chain


@pytest.mark.parametrize("bits", [12, 16, 24])
def test_calibration_needs_no_more_bits_than_its_result(bits: int) -> None:
    """A trial amount of noise must not refuse a sum that holds the calibrated one."""
    form = starts()["several steps"].form
    for levels in (4, 50, 400, 3000, 20_000, 200_000):
        noise = Gaussian("share", "client", epsilon=8.0)
        chain: Chain = (Clip(1.0), Quantise(levels), noise, SecureSum(), Mean(-1))
        free = calibrated(chain, form, FOUR)
        tight: Chain = (*chain[:3], SecureSum(bits), Mean(-1))
        if accepted((*free[:3], SecureSum(bits), Mean(-1)), form):
            assert calibrated(tight, form, FOUR)[2] == free[2]
        else:
            with pytest.raises(Unsound, match="wrap"):
                walk(calibrated(tight, form, FOUR), form, FOUR)


def accepted(chain: tuple[Stage, ...], form: Form) -> bool:
    try:
        walk(chain, form, FOUR)
    except Unsound:
        return False
    return True


def test_noise_too_wide_for_the_sampler_is_refused_when_built() -> None:
    """Not in the first round, when the first draw would fail."""
    chain: Chain = (Clip(1.0), Quantise(10**7), *distributed_dp(1.0, 1e-5, 1.0)[2:])
    form = starts()["several steps"].form
    with pytest.raises(Unsound) as refused:
        walk(calibrated(chain, form, FOUR), form, FOUR)
    assert refused.value.code == "chain.sigma-range"


def test_a_budget_for_records_reaches_records() -> None:
    plan = build(federation("record_dp"))
    assert plan.records is not None
    assert (plan.records.clip, plan.records.rate) == (1.0, 0.1)
    assert build(federation("distributed_dp")).records is None


def test_a_public_denominator_sends_no_weight() -> None:
    assert build(federation("central_dp")).message.block("weight") is None
    assert build(federation("record_dp")).message.block("weight") is not None


def test_halves_split_at_the_sum() -> None:
    plan = build(federation("central_dp"))
    assert [step.stage.kind for step in plan.client_steps] == ["clip", "plain_sum"]
    assert [step.stage.kind for step in plan.total_steps] == ["gaussian", "mean"]
    assert plan.message == plan.steps[0].before


def test_accuracy_needs_classes() -> None:
    numbers = federation("plain", metrics=("accuracy",), data=tacit.arrays((3,)))
    with pytest.raises(TacitError) as refused:
        build(numbers)
    assert refused.value.code == "description.metric"


@pytest.mark.parametrize(
    ("cohort", "quorum", "expected"),
    [
        (tacit.everyone(), 0, 4),
        (tacit.everyone(), 3, 3),
        (tacit.fixed(2), 0, 2),
        (tacit.poisson(0.5), 0, 1),
    ],
)
def test_a_quorum_has_a_default(cohort: object, quorum: int, expected: int) -> None:
    plan = build(federation("plain", cohort=cohort, quorum=quorum))
    assert plan.team.quorum == expected


def test_a_quorum_above_the_cohort_is_refused() -> None:
    with pytest.raises(TacitError) as refused:
        build(federation("plain", cohort=tacit.fixed(2), quorum=3))
    assert refused.value.code == "description.quorum-cohort"


def test_records_of_more_than_one_step_are_refused() -> None:
    several = federation("plain", protect=record_dp(3.0, 1e-5, 1.0), algorithm=tacit.fedavg(0.1))
    with pytest.raises(Unsound) as refused:
        build(several)
    assert refused.value.code == "chain.records-need-one-step"
