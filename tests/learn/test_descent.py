"""Visits by an optimiser and a schedule, beside torch.optim taking the same steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tacit
from tacit.base.key import Key
from tacit.learn.algorithm import Aggregate, Need, Steps
from tacit.learn.descent import arranged
from tacit.learn.examples import Examples
from tacit.learn.local import Home
from tests.learn.papers import L2, batches, clients, federation, gradient, learned, weights

SCHEDULE = tacit.warmup(2, 0.5, over="steps", then=tacit.step_decay(2, 0.5))
"""A ramp in each visit, and half the rate every other round."""


def factor(round_: int, step: int) -> float:
    return (0.5 + 0.25 * min(step, 2)) * 0.5 ** (round_ // 2)


def by_torch(make: Any, data: Any, mu: float = 0.0, keep: bool = False) -> Any:
    """Four rounds of FedAvg (or FedProx) over ridge regressions in batches of 4, two epochs."""
    states: dict[str, Any] = {}
    params = np.zeros(4)
    for round_ in range(4):
        mean = np.zeros(4)
        for part, (name, (x, y)) in zip(weights(data), data.items(), strict=True):
            local = torch.tensor(params, requires_grad=True)
            optimiser = make([local])
            if keep and name in states:
                optimiser.load_state_dict(states[name])
            for step, few in enumerate(batches(x, y, 4, epochs=2)):
                now = local.detach().numpy()
                optimiser.param_groups[0]["lr"] = 0.05 * factor(round_, step)
                local.grad = torch.tensor(gradient(now, *few) + mu * (now - params))
                optimiser.step()
            states[name] = optimiser.state_dict()
            mean += part * local.detach().numpy()
        params = mean
    return params


SETTINGS: dict[str, Any] = {
    "lr": 0.05,
    "epochs": 2,
    "batch": 4,
    "shuffle": False,
    "schedule": SCHEDULE,
}


def adam(held: Any) -> Any:
    return torch.optim.Adam(held, betas=(0.8, 0.99))


def test_fedavg_with_adam() -> None:
    found = learned(tacit.fedavg(**SETTINGS, optimiser=tacit.adam(0.8, 0.99)), clients())
    assert np.allclose(found, by_torch(adam, clients()), atol=1e-10)


def test_fedprox_with_adamw_sees_its_term_in_the_gradient() -> None:
    found = learned(tacit.fedprox(**SETTINGS, mu=0.7, optimiser=tacit.adamw()), clients())
    assert np.allclose(found, by_torch(torch.optim.AdamW, clients(), mu=0.7), atol=1e-10)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (tacit.adam(0.8, 0.99, keep=True), adam),
        (
            tacit.sgd(momentum=0.9, nesterov=True, keep=True),
            lambda held: torch.optim.SGD(held, lr=1.0, momentum=0.9, nesterov=True),
        ),
    ],
)
def test_a_kept_state_goes_on_in_the_next_round(ours: Any, theirs: Any) -> None:
    found = learned(tacit.fedavg(**SETTINGS, optimiser=ours), clients())
    assert np.allclose(found, by_torch(theirs, clients(), keep=True), atol=1e-10)
    assert not np.allclose(found, by_torch(theirs, clients()), atol=1e-4)


def test_local_momentum_and_its_optimiser_are_the_same() -> None:
    said: dict[str, Any] = {"lr": 0.05, "batch": 4, "epochs": 2}
    one = learned(tacit.fedavg(**said, local_momentum=0.9), clients())
    two = learned(tacit.fedavg(**said, optimiser=tacit.sgd(momentum=0.9)), clients())
    three = learned(tacit.fedavg(**said, local_momentum=0.9, schedule=tacit.constant()), clients())
    assert np.array_equal(one, two) and np.array_equal(one, three)


def test_the_coordinators_rate_follows_the_rounds_in_fedsgd() -> None:
    data, params = clients(), np.zeros(4)
    for round_ in range(4):
        each = zip(weights(data), data.values(), strict=True)
        mean = sum(part * gradient(params, x, y) for part, (x, y) in each)
        params = params - 0.1 * 0.5**round_ * mean
    found = learned(tacit.fedsgd(lr=0.1, schedule=tacit.step_decay(1, 0.5)), data)
    assert np.allclose(found, params, atol=1e-12)


def test_a_round_is_a_model_that_was_made() -> None:
    algorithm = tacit.fedavg(lr=0.1, schedule=tacit.cosine(9)).build()
    state = algorithm.start(np.zeros(4))
    assert algorithm.offer(state)["round"].tolist() == [0.0]
    plan = federation(tacit.fedavg(lr=0.1, schedule=tacit.cosine(9)), clients()).plan()
    run = tacit.simulate(plan.federation, clients())
    assert run.outcome.models.offer["round"].tolist() == [4.0]
    assert plan.cost.down > federation(tacit.fedavg(lr=0.1), clients()).plan().cost.down


def test_what_is_not_asked_for_is_not_sent_or_kept() -> None:
    visit = tacit.cosine(0, over="steps")
    for plain in (
        tacit.fedavg(0.1),
        tacit.fedavg(0.1, schedule=visit),
        tacit.fedsgd(0.1, schedule=tacit.cosine(9)),
    ):
        algorithm = plain.build()
        assert set(algorithm.offer(algorithm.start(np.zeros(4)))) == {"params"}
    assert Need.MEMORY not in tacit.fedavg(0.1, optimiser=tacit.adam()).build().needs
    assert Need.MEMORY in tacit.fedavg(0.1, optimiser=tacit.adam(keep=True)).build().needs
    buffered = tacit.fedbuff(0.1, optimiser=tacit.adam(keep=True)).build()
    assert buffered.needs == {Need.MEMORY, Need.STALENESS}


def test_a_schedule_over_rounds_alone_leaves_the_steps_plain() -> None:
    local = Steps(0.2, 4, schedule=tacit.step_decay(2, 0.5))
    found = arranged(local, {"params": np.zeros(4), "round": np.full((3, 1), 5.0)})
    assert found.plain and found.lr == pytest.approx(0.05)


def home(seed: int = 0) -> Home:
    """A ridge regression of which the first two weights stay at home."""
    task = tacit.numpy.ridge_regression(l2=L2).build(tacit.arrays(shape=(3,)))
    x, y = clients()["c2"]
    found = Home(task, Examples(x, y), Key.seed(seed))
    stays = np.array([True, True, False, False])
    object.__setattr__(found, "personal", stays)  # as a split would
    return found


def test_fedrep_moves_only_the_part_in_turn_however_weights_decay() -> None:
    spec = tacit.fedrep(
        lr=0.05,
        personal="w",
        batch=4,
        shuffle=False,
        optimiser=tacit.adamw(weight_decay=2.0, keep=True),
    )
    before, one = np.array([1.0, -2.0, 3.0, 0.5]), home()
    found, memory = spec.build().visit({"params": before}, None, one)
    optimiser, params = tacit.adamw(weight_decay=2.0), before
    x, y = one.held
    for part in (slice(0, 2), slice(2, 4)):
        moments = optimiser.start(params[part])
        for few in batches(x, y, 4):
            params = params.copy()
            slope = gradient(params, *few)[part]
            params[part], moments = optimiser.step(params[part], slope, moments, 0.05)
    assert np.allclose(found.update, params - before, atol=1e-12)
    assert len(memory["moments"]) == 2


def test_dittos_own_model_and_both_states_are_kept() -> None:
    algorithm = tacit.ditto(lr=0.05, batch=4, optimiser=tacit.adam(keep=True)).build()
    received = {"params": np.zeros(4)}
    _, memory = algorithm.visit(received, None, home())
    assert algorithm.model is not None
    assert np.array_equal(algorithm.model(received, memory, home()), memory["own"])
    assert [one["count"].item() for one in memory["moments"]] == [4.0, 4.0]
    _, memory = algorithm.visit(received, memory, home(1))
    assert [one["count"].item() for one in memory["moments"]] == [8.0, 8.0]


def test_fine_tuning_goes_on_with_its_state_from_pass_to_pass() -> None:
    """Passes tried one by one are the passes that are then taken."""
    settings: dict[str, Any] = {"lr": 0.05, "batch": 4, "shuffle": False, "optimiser": tacit.adam()}
    spec = tacit.finetune(**settings, own_epochs=3, held_out=0.3)
    one = home()
    make = spec.build().model
    assert make is not None
    found = make({"params": np.zeros(4)}, None, one)
    whole = [
        one.train(np.zeros(4), Steps(0.05, 4, k, shuffle=False, optimiser=tacit.adam())).params
        for k in (1, 2, 3)
    ]
    fit, check = one.held_out(0.3)
    losses = [check.evaluate(np.zeros(4)).mean_loss]
    for k in (1, 2, 3):
        local = Steps(0.05, 4, k, shuffle=False, optimiser=tacit.adam())
        losses.append(check.evaluate(fit.train(np.zeros(4), local).params).mean_loss)
    assert np.argmin(losses) > 0
    assert np.array_equal(found, whole[int(np.argmin(losses)) - 1])


REFUSING: list[tuple[Any, dict[str, Any]]] = [
    (tacit.scaffold, {"steps": 3}),
    (tacit.fednova, {}),
    (tacit.qffl, {"q": 1.0}),
    (tacit.apfl, {}),
]


@pytest.mark.parametrize(
    ("make", "needed"),
    [
        *REFUSING,
        (tacit.fednova, {"local_momentum": 0.5}),
        (tacit.fedavg, {}),
        (tacit.feddyn, {"alpha": 0.2}),
    ],
)
def test_a_schedule_over_rounds_is_another_rate_each_round(make: Any, needed: Any) -> None:
    """The coordinator's part included: SCAFFOLD's control variates know each round's rate."""
    settings: dict[str, Any] = {"batch": 4, **needed}
    scheduled = make(lr=0.05, schedule=tacit.step_decay(1, 0.5), **settings).build()
    found = rounds([scheduled] * 3)
    assert np.allclose(
        found, rounds([make(lr=0.05 * 0.5**r, **settings).build() for r in range(3)])
    )
    assert not np.allclose(found, rounds([make(lr=0.05, **settings).build()] * 3), atol=1e-3)


def rounds(algorithms: list[Any]) -> Any:
    """The model after a round of each, at three clients that count alike."""
    layout, homes = home().task.layout, [home(seed) for seed in range(3)]
    state, memories = algorithms[0].start(np.zeros(4)), [None] * 3
    for one in algorithms:
        sent = one.offer(state)
        each = [one.visit(sent, held, at) for held, at in zip(memories, homes, strict=True)]
        memories = [kept for _, kept in each]
        mean = np.mean([found.update for found, _ in each], axis=0)
        names = each[0][0].extra
        tallies = {name: np.mean([found.extra[name] for found, _ in each], 0) for name in names}
        state = one.apply(state, Aggregate(mean, tallies, 3, 3), layout)
    return state["params"]


@pytest.mark.parametrize(("make", "needed"), REFUSING)
@pytest.mark.parametrize(
    "given", [{"optimiser": tacit.adam()}, {"schedule": tacit.warmup(3, over="steps")}]
)
def test_algorithms_of_plain_sgd_say_why(make: Any, needed: Any, given: Any) -> None:
    with pytest.raises(tacit.TacitError) as caught:
        make(lr=0.1, **needed, **given)
    assert caught.value.code == "task.needs-sgd"
    assert str(next(iter(given))) in caught.value.remedy
    assert make.__name__ in caught.value.cause


def test_momentum_is_not_said_twice() -> None:
    for make in (tacit.fedavg, tacit.fedbuff, tacit.moon, tacit.finetune):
        with pytest.raises(tacit.TacitError) as caught:
            make(0.1, local_momentum=0.9, optimiser=tacit.adam())
        assert caught.value.code == "task.optimiser-momentum"


def test_single_records_are_not_protected_with_a_kept_state() -> None:
    kept = federation(tacit.fedavg(0.1, optimiser=tacit.adam(keep=True)), clients())
    assert kept.plan().message.memory
    assert (
        not federation(tacit.fedavg(0.1, optimiser=tacit.adam()), clients()).plan().message.memory
    )
    protect = tacit.record_dp(epsilon=3, delta=1e-5, clip=1.0, sample=0.5)
    with pytest.raises(tacit.Unsound):
        kept.replace(protect=protect).plan()


DESCRIBED = tacit.fedavg(
    lr=0.1,
    optimiser=tacit.adamw(weight_decay=0.1, keep=True),
    schedule=tacit.warmup(3, then=tacit.cosine(20, least=0.1)),
)


def test_a_description_says_them_and_is_unchanged_without() -> None:
    described = federation(DESCRIBED, clients())
    text = described.to_toml()
    assert '[algorithm.schedule.then]\nkind = "cosine"' in text
    again = tacit.Federation.from_toml(text)
    assert again == described and again.digest == described.digest
    assert set(federation(tacit.fedavg(0.1), clients()).plain["algorithm"]).isdisjoint(
        {"optimiser", "schedule"}
    )


@pytest.mark.parametrize(
    ("wrong", "right", "code"),
    [
        ('kind = "adamw"', 'kind = "adamm"', "description.unknown"),
        ("weight_decay = 0.1", "weight_decay = -0.1", "description.value"),
        ("beta1", "beta_1", "description.unknown"),
    ],
)
def test_a_mistake_in_a_description_is_placed(wrong: str, right: str, code: str) -> None:
    text = federation(DESCRIBED, clients()).to_toml().replace(wrong, right)
    with pytest.raises(tacit.TacitError) as caught:
        tacit.Federation.from_toml(text, "app.toml")
    line = next(i for i, one in enumerate(text.splitlines(), 1) if right in one)
    assert caught.value.code == code
    assert caught.value.facts["line"] == line
