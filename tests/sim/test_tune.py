"""Choosing by federated validation: the better wins, and all runs that were seen are paid for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tacit
from tacit.base.key import Key
from tacit.learn.examples import as_clients
from tacit.plan.accounting import Event, compose, epsilon
from tacit.sim.tune import Trial, candidates, tune, validation


def data(sites: int = 4) -> dict[str, tuple[Any, Any]]:
    draw = np.random.default_rng(0)
    held = {}
    for i in range(sites):
        x = draw.normal(size=(40, 3))
        held[f"site-{i}"] = (x, ((x[:, 0] > 0) ^ (i % 2)).astype(np.int64))
    return held


def federation(**changes: Any) -> tacit.Federation:
    base = tacit.Federation(
        task=tacit.numpy.logistic_regression(),
        clients=4,
        data=tacit.arrays((3,), 2),
        algorithm=tacit.fedavg(lr=0.2, batch=8),
        rounds=9,
    )
    return base.replace(**changes)


def test_the_method_that_fits_wins_and_the_same_seed_chooses_again() -> None:
    compared = candidates(federation(), ["fedavg", "ditto"], [0.01, 0.3])
    found = tune(compared, data())
    assert found.best.algorithm.kind == "ditto" and found.best.rounds == 9
    assert found.chosen.score > max(one.score for one in found.trials[:2]) + 0.2
    assert found == tune(compared, data())
    assert not found.spent


def test_a_method_keeps_the_settings_that_it_shares_with_the_described_one() -> None:
    described = federation(algorithm=tacit.fedavg(lr=0.2, epochs=3, batch=8, local_momentum=0.5))
    ditto, fedper = candidates(described, ["ditto", "fedper"], [0.1], personal=["bias0"])
    assert ditto.algorithm == tacit.ditto(lr=0.1, epochs=3, batch=8)
    want = tacit.fedper(lr=0.1, personal="bias0", epochs=3, batch=8, local_momentum=0.5)
    assert fedper.algorithm == want


@pytest.mark.parametrize(
    ("method", "code"), [("fedpre", "description.unknown"), ("fedper", "description.missing")]
)
def test_a_method_that_is_not_there_or_lacks_a_setting_is_named(method: str, code: str) -> None:
    with pytest.raises(tacit.TacitError) as caught:
        candidates(federation(), [method], [0.1])
    assert caught.value.code == code


def test_halving_runs_all_shortly_and_the_best_at_full_length() -> None:
    compared = candidates(federation(), ["fedavg", "ditto", "finetune"], [0.01, 0.1, 0.3])
    seen: list[Trial] = []
    found = tune(compared, data(), halving=True, progress=seen.append)
    assert [one.rounds for one in found.trials] == [3] * 9 + [9] * 3
    assert found.best.rounds == 9 and tuple(seen) == found.trials
    first = sorted(found.trials[:9], key=lambda one: -one.score)[:3]
    kept = [one.federation.algorithm for one in found.trials[9:]]
    assert kept == [one.federation.algorithm for one in first]


def test_what_diverges_loses_and_what_the_chain_refuses_is_told() -> None:
    task = tacit.numpy.ridge_regression()
    held = {name: (100 * x, x[:, 0]) for name, (x, _) in data().items()}
    plain = federation(task=task, data=tacit.arrays((3,)), rounds=60)
    found = tune(candidates(plain, ["fedavg"], [1e-6, 10.0]), held)
    assert found.best.algorithm == tacit.fedavg(lr=1e-6, batch=8)
    assert "NaN" in found.trials[1].problem and found.trials[1].score == -math.inf
    with pytest.raises(tacit.TacitError) as caught:
        tune(candidates(plain, ["fedavg"], [10.0]), held)
    assert caught.value.code == "run.tune-no-candidate"
    chain = tacit.record_dp(epsilon=3, delta=1e-5, clip=1.0)
    sgd = federation(algorithm=tacit.fedsgd(lr=0.5), protect=chain, rounds=2)
    dp = tune(candidates(sgd, ["ditto", "fedsgd"], [0.5]), data())
    assert dp.trials[0].rounds == 0 and "local steps" in dp.trials[0].problem
    assert dp.best.algorithm.kind == "fedsgd"


def test_records_are_held_out_by_coins_of_their_own() -> None:
    fit, check = validation(as_clients(data()), 0.25, Key.seed(0))
    for (name, (x, _)), a, b in zip(data().items(), fit.held, check.held, strict=True):
        both = np.concatenate([a.x, b.x])
        assert len(both) == len(x), name
        assert np.array_equal(np.sort(both, axis=0), np.sort(x, axis=0))
    sizes = [one.count for one in check.held]
    assert len(set(sizes)) > 1 and 4 <= sum(sizes) / 4 <= 16


def central(rounds: int = 3, epsilon: float = 2.0) -> tacit.Federation:
    chain = tacit.central_dp(epsilon=epsilon, delta=1e-5, clip=1.0)
    return federation(protect=chain, rounds=rounds)


def test_every_run_and_every_score_counts() -> None:
    compared = candidates(central(), ["fedavg", "ditto"], [0.1, 0.3])
    found = tune(compared, data(), score_noise=5.0)
    plan = compared[0].plan()
    (one,) = (s for s in found.spent if s.hides == "client" and "model" in s.against)
    claim = next(c for c in plan.claims if (c.against, c.hides) == (one.against, "client"))
    assert claim.event
    score = Event("gaussian", 5.0, 1.0, 1, 1, 1.0, 1)
    assert one.tuning == compose((claim.event, score) * 4, 1e-5)
    assert one.total == compose(((claim.event, score) * 4) + (claim.event,), 1e-5)
    assert claim.epsilon < one.tuning < one.total < 5 * claim.epsilon
    assert math.isnan(found.chosen.worst), "an exact worst client would be one more release"


def test_scores_are_noised_by_the_stated_amount() -> None:
    compared = candidates(central(rounds=1), ["fedavg"], [0.1])
    exact = tune(compared, data(), score_noise=0.0).chosen.score
    drawn = []
    for name in range(40):
        named = [one.replace(name=f"run {name}") for one in compared]
        drawn.append(tune(named, data(), score_noise=4.0).chosen.score)
    spread = np.std(np.array(drawn) - exact)
    assert 0.65 < spread < 1.35, "four clients: noise of 4 on their sum is 1 on their mean"


def test_without_noise_on_scores_nothing_is_promised_about_the_choice() -> None:
    found = tune(candidates(central(rounds=1), ["fedavg"], [0.1]), data(), score_noise=0.0)
    assert all(one.tuning == math.inf for one in found.spent)


def test_a_noised_regression_has_no_score() -> None:
    described = central(rounds=1).replace(
        task=tacit.numpy.ridge_regression(), data=tacit.arrays((3,))
    )
    with pytest.raises(tacit.TacitError) as caught:
        tune([described], data())
    assert caught.value.code == "run.tune-no-score"


# Composition of events

NORMAL = Event("gaussian", 2.0, 1.0, 1, 1, 1.0, 10)
SAMPLED = Event("gaussian", 1.0, 1.0, 1, 1, 0.05, 40)
GRID = Event("discrete_gaussian", 20.0, 10.0, 1, 4, 1.0, 10)


def test_composition_of_one_is_its_epsilon_and_of_none_is_nothing() -> None:
    for event in (NORMAL, SAMPLED, GRID):
        assert compose((event,), 1e-5) == epsilon(event, 1e-5)
    assert compose((), 1e-5) == 0.0


def test_equal_events_compose_to_the_event_of_all_their_rounds() -> None:
    for event in (NORMAL, SAMPLED, GRID):
        double = Event(**{**event.__dict__, "count": 2 * event.count})
        assert compose((event, event), 1e-5) == pytest.approx(epsilon(double, 1e-5), rel=1e-3)


def test_gaussians_compose_by_their_squared_ratios() -> None:
    """Dong, Roth, Su 2022, Corollary 3.3: mu-GDP composes to the root of the sum of squares."""
    other = Event("gaussian", 3.0, 1.0, 1, 1, 1.0, 5)
    mu = math.sqrt(10 / 4 + 5 / 9)
    together = Event("gaussian", 1.0, mu, 1, 1, 1.0, 1)
    assert compose((NORMAL, other), 1e-5) == pytest.approx(epsilon(together, 1e-5), rel=2e-3)


def test_a_mixture_with_discrete_noise_is_an_upper_bound_of_each_part() -> None:
    mixed = compose((NORMAL, SAMPLED, GRID), 1e-5)
    assert mixed > max(epsilon(one, 1e-5) for one in (NORMAL, SAMPLED, GRID))
    assert mixed < sum(compose((one, GRID), 1e-5) for one in (NORMAL, SAMPLED, GRID))
    same = Event("gaussian", 20.0, 10.0, 1, 4, 1.0, 10)
    assert compose((same, GRID), 1e-5) == pytest.approx(compose((GRID, GRID), 1e-5), rel=1e-6)
