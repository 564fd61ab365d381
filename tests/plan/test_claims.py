"""Who learns what: against every party, for every unit, only what the chain earned."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

import tacit
from tacit.plan.build import Plan, build
from tacit.plan.claims import UNITS, Claim, Party, event_for
from tacit.protect.form import Unit
from tacit.protect.noise import Gaussian
from tests.plan.federations import DELTA, EPSILON, RECIPES, federation

PARTIES = (COORDINATOR, CLIENT, PUBLIC) = (Party.COORDINATOR, Party.CLIENT, Party.PUBLIC)


def claim(plan: Plan, against: Party, hides: Unit) -> Claim:
    return next(c for c in plan.claims if c.against is against and c.hides == hides)


def rates(plan: Plan, hides: Unit) -> list[float | None]:
    """The sampling rate that each party's claim uses; None where nothing is claimed."""
    events = [claim(plan, party, hides).event for party in PARTIES]
    return [event.rate if event else None for event in events]


def shares(plan: Plan, hides: Unit) -> list[int | None]:
    """The additions of noise that each party's claim counts; None where nothing is claimed."""
    events = [claim(plan, party, hides).event for party in PARTIES]
    return [event.shares if event else None for event in events]


def met(plan: Plan) -> Any:
    """The form that the noise meets."""
    return next(step.before for step in plan.steps if isinstance(step.stage, Gaussian))


@pytest.mark.parametrize("name", ["plain", "secure_average", "top_k"])
def test_without_noise_nothing_is_promised(name: str) -> None:
    plan = build(federation(name))
    assert [c.holds for c in plan.claims] == [False] * 6
    assert all(c.event is None and not c.assumes for c in plan.claims)


EXPECTED: dict[str, tuple[Unit, tuple[bool, ...]]] = {
    "record_dp": ("record", (True, True, True)),
    "central_dp": ("client", (False, True, True)),
    "central_dp_poisson": ("client", (False, True, True)),
    "local_dp": ("client", (True, True, True)),
    "distributed_dp": ("client", (True, True, True)),
    "distributed_dp_poisson": ("client", (True, True, True)),
}
"""What a recipe hides, and against whom: the coordinator, another client, the public."""


@pytest.mark.parametrize("name", EXPECTED)
def test_the_table_of_a_recipe(name: str) -> None:
    plan = build(federation(name))
    unit, expected = EXPECTED[name]
    found = [claim(plan, party, unit) for party in PARTIES]
    assert tuple(c.holds for c in found) == expected
    assert all(c.delta == DELTA for c in plan.claims)
    assert max(c.epsilon for c in found if c.holds) == pytest.approx(EPSILON, rel=1e-3)


def test_a_trusted_coordinator_is_promised_to_nobody() -> None:
    for name in ("central_dp", "central_dp_poisson"):
        plan = build(federation(name))
        assert not claim(plan, COORDINATOR, "client").holds
        assert not claim(plan, COORDINATOR, "record").holds


@pytest.mark.parametrize("name", EXPECTED)
def test_events_carry_the_noise_and_the_sensitivity_of_the_form(name: str) -> None:
    plan = build(federation(name))
    noise, before = plan.form.noise, met(plan)
    assert noise is not None
    for c in plan.claims:
        if c.event:
            assert c.event.sd == noise.sd
            assert c.event.sensitivity == before.sensitivity(c.hides)
            assert (c.event.law, c.event.size) == (noise.law, before.size)
            assert c.event.count == plan.team.rounds
            table = noise.law == "discrete_gaussian"
            draws = before.size * plan.team.rounds * plan.team.clients
            assert c.event.draws == (draws if table else 0)


def test_a_record_of_a_clipped_update_costs_its_diameter() -> None:
    """One record can turn a clipped update around: twice the norm, so a larger epsilon."""
    plan = build(federation("central_dp"))
    record, client = claim(plan, PUBLIC, "record"), claim(plan, PUBLIC, "client")
    assert record.event
    assert client.event
    assert record.event.sensitivity == 2 * client.event.sensitivity
    assert record.epsilon > client.epsilon


class TestAmplification:
    """Sampling is amplified only by the Poisson law, and only where it cannot be seen."""

    def test_of_clients_against_those_who_do_not_see_the_cohort(self) -> None:
        assert rates(build(federation("central_dp_poisson")), "client") == [None, 0.1, 0.1]

    @pytest.mark.parametrize("cohort", [tacit.everyone(), tacit.fixed(2)])
    def test_not_by_other_laws(self, cohort: Any) -> None:
        plan = build(federation("central_dp", cohort=cohort))
        assert rates(plan, "client") == [None, 1.0, 1.0]

    def test_a_fixed_cohort_earns_no_less_noise_than_everyone(self) -> None:
        both = [
            build(federation("central_dp", cohort=c)) for c in (tacit.everyone(), tacit.fixed(2))
        ]
        noises = [plan.form.noise for plan in both]
        assert noises[0]
        assert noises[1]
        assert noises[0].sd == noises[1].sd

    def test_members_of_a_secure_sum_see_the_cohort(self) -> None:
        noise = Gaussian("central", "client", multiplier=1.0)
        chain = (tacit.clip(1.0), tacit.quantise(), tacit.secure_sum(), noise, tacit.mean(-1))
        plan = build(federation("central_dp_poisson", protect=chain))
        assert rates(plan, "client") == [None, 1.0, 0.1]

    @pytest.mark.parametrize("name", ["distributed_dp_poisson", "local_dp"])
    def test_not_where_clients_bring_their_noise(self, name: str) -> None:
        """A drawn client widens the noise: its presence shows in more than a shift of the sum."""
        plan = build(federation(name, clients=1000, cohort=tacit.poisson(0.1)))
        assert rates(plan, "client") == [1.0, 1.0, 1.0]

    def test_of_records_against_everyone_outside_the_site(self) -> None:
        plan = build(federation("record_dp"))
        assert rates(plan, "record") == [0.1, 0.1, 0.1]
        assert rates(plan, "client") == [1.0, 1.0, 1.0]

    def test_of_records_is_not_multiplied_by_that_of_clients(self) -> None:
        plan = build(federation("record_dp", clients=1000, cohort=tacit.poisson(0.1)))
        assert rates(plan, "record") == [0.1, 0.1, 0.1]

    def test_is_worth_what_the_accountant_says(self) -> None:
        plan = build(federation("central_dp_poisson"))
        everyone = build(federation("central_dp", protect=plan.federation.protect, clients=1000))
        with_it, without = plan.form.noise, everyone.form.noise
        assert with_it
        assert without
        assert with_it.multiplier < without.multiplier / 3


def test_why_a_client_with_its_own_noise_is_not_hidden_by_sampling() -> None:
    """The attack on such a claim: the width of the noise over many coordinates counts clients.

    Two laws of 10,000 coordinates, of 9 and of 10 shares and without any shift, are further apart
    than (epsilon 1, delta 1e-5) allows: total variation is at most (e - 1 + 2e-5) / (e + 1) there.
    """
    size, fewer, more = 10_000, 9, 10
    mean, spread = size, math.sqrt(2 * size)
    threshold = size * 2 * fewer * more / (fewer + more) / fewer
    missed = _normal((threshold - mean) / spread)
    caught = 1 - _normal((threshold * fewer / more - mean) / spread)
    assert missed + caught - 1 > (math.e - 1 + 2e-5) / (math.e + 1)


def _normal(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


class TestShares:
    """Noise that clients bring counts only as far as it is certain to be there."""

    @pytest.mark.parametrize(("quorum", "collusion"), [(4, 1), (4, 0), (3, 1), (4, 2)])
    def test_are_the_quorum_less_the_accomplices(self, quorum: int, collusion: int) -> None:
        plan = build(federation("distributed_dp", quorum=quorum, collusion=collusion))
        noise = plan.form.noise
        assert noise
        assert noise.shares == quorum - collusion
        others = quorum - max(collusion, 1)
        assert shares(plan, "client") == [quorum - collusion, others, quorum - collusion]

    def test_another_client_subtracts_its_own(self) -> None:
        """Even where nobody colludes, whoever looks knows the noise that it added itself."""
        plan = build(federation("distributed_dp", collusion=0))
        assert claim(plan, CLIENT, "client").epsilon > claim(plan, COORDINATOR, "client").epsilon

    def test_local_noise_stands_alone_before_the_coordinator(self) -> None:
        plan = build(federation("local_dp"))
        assert shares(plan, "client") == [1, 3, 3]
        epsilons = [claim(plan, party, "client").epsilon for party in PARTIES]
        assert epsilons[0] > epsilons[1] == epsilons[2]

    def test_local_noise_adds_up_under_a_secure_sum(self) -> None:
        noise = Gaussian("local", "client", multiplier=1.0)
        chain = (tacit.clip(1.0), tacit.quantise(), noise, tacit.secure_sum(), tacit.mean(-1))
        assert shares(build(federation("plain", protect=chain)), "client") == [3, 3, 3]

    def test_local_noise_never_counts_as_less_than_the_clients_own(self) -> None:
        plan = build(federation("local_dp", quorum=1, collusion=3))
        assert shares(plan, "client") == [1, 1, 1]

    def test_central_noise_is_one_addition(self) -> None:
        assert shares(build(federation("central_dp")), "client") == [None, 1, 1]

    def test_thicker_claims_for_smaller_quorums(self) -> None:
        """A smaller quorum makes every client add more."""
        found = [build(federation("distributed_dp", quorum=q)).form.noise for q in (4, 3)]
        assert found[0]
        assert found[1]
        assert found[1].sd == pytest.approx(found[0].sd * math.sqrt(3 / 2), rel=1e-3)


ASSUMPTIONS = {
    "shares": "add their noise as agreed",
    "part": "no secret whether the client takes part",
    "simulated": "the secure sum is real (here it is simulated)",
    "records": "which records a site drew stays at the site",
    "cohort": "which clients were drawn, and how many, stays with the coordinator",
    "code": "the approved code treats each record on its own",
}

ASSUMED: dict[tuple[str, Unit], list[set[str]]] = {
    ("record_dp", "record"): [
        {"shares", "simulated", "records", "code"},
        {"shares", "simulated", "records", "code"},
        {"shares", "records", "code"},
    ],
    ("central_dp", "client"): [set(), set(), set()],
    ("central_dp_poisson", "client"): [set(), {"cohort"}, {"cohort"}],
    ("local_dp", "client"): [{"part"}, {"part", "shares"}, {"part", "shares"}],
    ("distributed_dp", "client"): [
        {"part", "shares", "simulated"},
        {"part", "shares", "simulated"},
        {"part", "shares"},
    ],
}


@pytest.mark.parametrize(("name", "unit"), ASSUMED)
def test_every_promise_names_its_assumptions(name: str, unit: Unit) -> None:
    plan = build(federation(name))
    for party, expected in zip(PARTIES, ASSUMED[name, unit], strict=True):
        found = " ; ".join(claim(plan, party, unit).assumes)
        assert {key for key, words in ASSUMPTIONS.items() if words in found} == expected


@pytest.mark.parametrize(("name", "unit"), list(product(EXPECTED, UNITS)))
def test_a_claim_holds_where_there_is_an_event(name: str, unit: Unit) -> None:
    plan = build(federation(name))
    for party in PARTIES:
        found = claim(plan, party, unit)
        if found.event is None:
            assert math.isinf(found.epsilon)
            assert not found.holds


def test_an_unbounded_unit_has_no_event() -> None:
    plan = build(federation("record_dp"))
    before = met(plan)
    free = replace(before, blocks=tuple(replace(b, bound=type(b.bound)()) for b in before.blocks))
    assert event_for(PUBLIC, "record", free, plan.form, plan.team) is None


@pytest.mark.parametrize("name", RECIPES)
def test_the_table_is_complete_and_in_order(name: str) -> None:
    plan = build(federation(name))
    assert [(c.hides, c.against) for c in plan.claims] == list(product(("record", "client"), Party))
