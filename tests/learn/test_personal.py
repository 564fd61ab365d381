"""Personalised algorithms beside short references of their papers' equations, and their claims."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tacit
from tacit.base.key import Key
from tacit.base.vector import Kind, Layout, Tensor
from tacit.learn.examples import Examples
from tacit.learn.local import Home
from tacit.learn.personal import Split, split
from tacit.plan.build import origin
from tacit.plan.federation import Federation
from tacit.protect.clip import ClipExamples
from tacit.sim.simulate import local_only
from tests.learn.personal_case import HEAD, MAKERS, ROUNDS, Reference, data, federation


def models(algorithm: str) -> tuple[Any, list[Any]]:
    """The shared model and every client's own, as tacit computes them."""
    run = tacit.simulate(federation(MAKERS[algorithm]()), data())
    return run.outcome.params, [run.model_of(f"c{i}").params for i in range(3)]


def test_fedper_beside_its_equations() -> None:
    ref = Reference()
    base, own = ref.start.copy(), [ref.home.copy() for _ in range(3)]
    for _ in range(ROUNDS):
        mean = np.zeros_like(base)
        for i in range(3):
            w = np.where(ref.head, own[i], base)
            for batch in ref.batches(i):
                w = w - 0.2 * ref.grad(w, batch)
            own[i], mean = w, mean + ref.shares[i] * w
        base = mean
    shared, each = models("fedper")
    assert np.allclose(shared, base[~ref.head], atol=1e-12)
    for i in range(3):
        assert np.allclose(each[i], np.where(ref.head, own[i], base), atol=1e-12)


def test_fedrep_beside_its_equations() -> None:
    ref = Reference()
    body, heads = ref.start.copy(), [ref.home.copy() for _ in range(3)]
    for _ in range(ROUNDS):
        mean = np.zeros_like(body)
        for i in range(3):
            w = np.where(ref.head, heads[i], body)
            for batch in ref.batches(i, epochs=2):
                w = w - 0.2 * ref.grad(w, batch) * ref.head
            for batch in ref.batches(i):
                w = w - 0.2 * ref.grad(w, batch) * ~ref.head
            heads[i], mean = w, mean + ref.shares[i] * w
        body = mean
    shared, each = models("fedrep")
    assert np.allclose(shared, body[~ref.head], atol=1e-12)
    for i in range(3):
        assert np.allclose(each[i], np.where(ref.head, heads[i], body), atol=1e-12)


def test_ditto_beside_its_equations() -> None:
    ref = Reference()
    w, own = ref.start.copy(), [ref.start.copy() for _ in range(3)]
    for _ in range(ROUNDS):
        mean = np.zeros_like(w)
        for i in range(3):
            for batch in ref.batches(i, epochs=2):
                own[i] = own[i] - 0.2 * (ref.grad(own[i], batch) + 0.5 * (own[i] - w))
            local = w.copy()
            for batch in ref.batches(i):
                local = local - 0.2 * ref.grad(local, batch)
            mean += ref.shares[i] * local
        w = mean
    shared, each = models("ditto")
    assert np.allclose(shared, w, atol=1e-12)
    assert np.allclose(each, own, atol=1e-12)


def test_apfl_beside_its_equations() -> None:
    ref = Reference()
    w, v, alpha = ref.start.copy(), [ref.start.copy() for _ in range(3)], [0.3] * 3
    for _ in range(ROUNDS):
        mean = np.zeros_like(w)
        for i in range(3):
            local = w.copy()
            for turn, batch in enumerate(ref.batches(i)):
                at_mixture = ref.grad(alpha[i] * v[i] + (1 - alpha[i]) * local, batch)
                at_local = ref.grad(local, batch)
                if not turn:
                    alpha[i] = np.clip(alpha[i] - 0.2 * (v[i] - local) @ at_mixture, 0, 1)
                v[i] = v[i] - 0.2 * alpha[i] * at_mixture
                local = local - 0.2 * at_local
            mean += ref.shares[i] * local
        w = mean
    shared, each = models("apfl")
    assert np.allclose(shared, w, atol=1e-12)
    assert len(set(alpha)) == 3, "alpha moved, and differently at each client"
    for i in range(3):
        assert np.allclose(each[i], alpha[i] * v[i] + (1 - alpha[i]) * w, atol=1e-12)


def test_finetune_beside_its_rule() -> None:
    ref = Reference()
    plain = tacit.simulate(federation(tacit.fedavg(lr=0.2, batch=4, shuffle=False)), data())
    shared, each = models("finetune")
    assert np.array_equal(shared, plain.model.params)
    for i in range(3):
        home = Home(ref.task, ref.held[i], Key.seed(0) / "model" / i)
        fit, check = home.held_out(0.2)

        def trained(held: Examples, epochs: int) -> Any:
            w = shared.copy()
            for _ in range(epochs):
                for row in range(0, held.count, 4):
                    w = w - 0.2 * ref.grad(w, held.take(slice(row, row + 4)))
            return w

        losses = [check.evaluate(trained(fit.held, n)).mean_loss for n in range(4)]
        best = losses.index(min(losses))
        assert np.allclose(each[i], trained(ref.held[i], best), atol=1e-12)


def test_a_fine_tuned_model_that_is_worse_is_not_used() -> None:
    wild = tacit.finetune(lr=0.2, batch=4, own_lr=1e3, shuffle=False)
    run = tacit.simulate(federation(wild), data(flip=False))
    assert np.array_equal(run.model_of("c2").params, run.model.params)


# What the papers claim


def heads_that_differ(records: int, seed: int) -> dict[str, tuple[Any, Any]]:
    """Two directions of twenty matter to everybody; which side is which differs by client."""
    truth = np.random.default_rng(5)
    basis, sides = truth.normal(size=(20, 2)), truth.normal(size=(30, 2))
    draw = np.random.default_rng(seed)
    held = {}
    for i in range(30):
        x = draw.normal(size=(records, 20))
        held[f"c{i}"] = (x, ((x @ basis) @ sides[i] > 0).astype(np.int64))
    return held


@pytest.mark.parametrize("name", ["fedper", "fedrep"])
def test_shared_body_and_own_heads_beat_one_model_and_none(name: str) -> None:
    train, test = heads_that_differ(30, 1), heads_that_differ(100, 2)
    base = federation(
        tacit.fedavg(lr=0.3, batch=10, epochs=2),
        task=tacit.numpy.mlp(hidden=(4,)),
        clients=30,
        data=tacit.arrays((20,), 2),
        rounds=40,
    )
    make = {
        "fedper": tacit.fedper(lr=0.3, personal=HEAD, batch=10, epochs=2),
        "fedrep": tacit.fedrep(lr=0.3, personal=HEAD, batch=10, head_epochs=2, epochs=1),
    }
    common = tacit.simulate(base, train, test=test).final
    mine = tacit.simulate(base.replace(algorithm=make[name]), train, test=test).final
    alone = local_only(base, train, test=test)
    own = np.mean([one.final.clients[who].accuracy for who, one in alone.items() if one.final])
    assert common and mine
    assert mine.accuracy > common.accuracy + 0.15
    assert mine.accuracy > own + 0.05
    assert mine.worst > common.worst


def neighbours(records: int, seed: int) -> dict[str, tuple[Any, Any]]:
    """Linear regressions whose coefficients lie around one centre."""
    truth = np.random.default_rng(7)
    centre = truth.normal(size=10)
    slopes = [centre + 0.3 * truth.normal(size=10) for _ in range(10)]
    draw = np.random.default_rng(seed)
    held = {}
    for i, slope in enumerate(slopes):
        x = draw.normal(size=(records, 10))
        held[f"c{i}"] = (x, x @ slope + 0.5 * draw.normal(size=records))
    return held


@pytest.mark.parametrize("name", ["ditto", "apfl"])
def test_a_model_of_ones_own_near_the_common_one_beats_both_ends(name: str) -> None:
    train, test = neighbours(12, 1), neighbours(400, 2)
    base = federation(
        tacit.fedavg(lr=0.05, batch=0, steps=5),
        task=tacit.numpy.ridge_regression(),
        clients=10,
        data=tacit.arrays((10,)),
        rounds=60,
    )
    make = {
        "ditto": tacit.ditto(lr=0.05, strength=0.5, batch=0, steps=5, own_steps=5),
        "apfl": tacit.apfl(lr=0.05, alpha=0.3, batch=0, steps=5, adaptive=False),
    }
    common = tacit.simulate(base, train, test=test).final
    mine = tacit.simulate(base.replace(algorithm=make[name]), train, test=test).final
    alone = local_only(base, train, test=test)
    own = np.mean([one.final.clients[who].mean_loss for who, one in alone.items() if one.final])
    assert common and mine
    assert mine.loss < 0.97 * common.loss
    assert mine.loss < 0.97 * own


def test_the_ends_of_ditto_and_apfl_are_the_common_model_and_training_alone() -> None:
    held = data()
    one = tacit.simulate(federation(tacit.apfl(lr=0.2, alpha=0.0, adaptive=False)), held)
    assert np.array_equal(one.model_of(0).params, one.model.params)
    free = tacit.ditto(lr=0.2, strength=0.0, batch=0)
    run = tacit.simulate(federation(free, rounds=4), held)
    ref = Reference()
    w = ref.start.copy()
    for _ in range(4):
        w = w - 0.2 * ref.grad(w, ref.held[1])
    assert np.allclose(run.model_of("c1").params, w, atol=1e-12)


# What travels and what stays


def test_personal_coordinates_are_in_no_message_and_no_offer() -> None:
    whole = federation(tacit.fedavg(lr=0.2)).plan()
    plan = federation(MAKERS["fedper"]()).plan()
    size, home = whole.task.layout.size, 4 + 1
    assert [block.size for block in plan.message.blocks] == [size - home, 1]
    assert plan.cost.down == whole.cost.down - 8 * home
    assert plan.cost.up == whole.cost.up - 8 * home
    assert plan.layout.size == size - home
    run = tacit.simulate(federation(MAKERS["fedper"]()), data())
    assert run.outcome.params.shape == (size - home,)
    assert run.model.params.shape == (size,)
    assert run.bytes == plan.cost.total


def test_the_trust_statement_says_what_stays_and_what_is_promised() -> None:
    noised = tacit.central_dp(epsilon=8, delta=1e-5, clip=1.0)
    plain = str(federation(MAKERS["fedper"]()).check())
    told = str(federation(MAKERS["fedper"](), protect=noised).check())
    line = "5 of the model's 21 numbers stay at home and never leave (weight1, bias1)"
    assert line in plain and "promised below" not in plain
    assert line in told and "What is promised below is about the rest." in told
    assert "keeps a model of its own" in str(federation(MAKERS["ditto"]()).check())
    assert "stays at home" in str(federation(MAKERS["finetune"]()).check())
    assert "at home" not in str(federation(tacit.fedavg(lr=0.1)).check())


@pytest.mark.parametrize("name", MAKERS)
def test_no_record_level_promise_where_memory_holds_raw_gradients(name: str) -> None:
    chain = tacit.record_dp(epsilon=3, delta=1e-5, clip=1.0)
    with pytest.raises(tacit.Unsound):
        federation(MAKERS[name](), protect=chain).plan()


def test_one_step_does_not_earn_it_where_a_head_at_home_steers_the_sums() -> None:
    sgd = tacit.fedsgd(lr=0.2).build()
    plan = federation(tacit.fedsgd(lr=0.2)).plan()
    assert ClipExamples(1.0).after(origin(plan.task, sgd), plan.team).record_sum
    with pytest.raises(tacit.Unsound) as caught:
        ClipExamples(1.0).after(origin(plan.task, sgd._replace(personal=HEAD)), plan.team)
    assert caught.value.code == "chain.noise-memory"


@pytest.mark.parametrize("name", MAKERS)
def test_the_client_level_claim_is_that_of_the_shared_part(name: str) -> None:
    noised = tacit.central_dp(epsilon=8, delta=1e-5, clip=1.0)
    held = [c for c in federation(MAKERS[name](), protect=noised).plan().claims if c.holds]
    usual = [c for c in federation(tacit.fedavg(lr=0.2), protect=noised).plan().claims if c.holds]
    assert [(c.against, c.hides) for c in held] == [(c.against, c.hides) for c in usual]
    assert [c.epsilon for c in held if c.hides == "client"] == pytest.approx([8, 8], rel=1e-3)


@pytest.mark.parametrize("name", MAKERS)
def test_toml_and_back(name: str) -> None:
    described = federation(MAKERS[name]())
    again = Federation.from_toml(described.to_toml())
    assert again == described and again.digest == described.digest


@pytest.mark.parametrize(
    ("patterns", "code", "words"),
    [
        (("weight7",), "task.personal-nothing", "Did you mean 'weight"),
        (("*",), "task.personal-all", "nothing would be learned together"),
        (("@norm",), "task.personal-no-norm", "no batch normalisation"),
    ],
)
def test_patterns_that_cannot_be_are_refused(
    patterns: tuple[str, ...], code: str, words: str
) -> None:
    with pytest.raises(tacit.TacitError) as caught:
        federation(tacit.fedper(lr=0.1, personal=patterns)).plan()
    assert caught.value.code == code and words in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: tacit.fedper(lr=0.1, personal=()),
        lambda: tacit.fedrep(lr=0.1, personal=("",)),
        lambda: tacit.fedrep(lr=0.1, personal="a", head_epochs=0),
        lambda: tacit.ditto(lr=0.1, strength=-1.0),
        lambda: tacit.apfl(lr=0.1, alpha=1.5),
        lambda: tacit.finetune(lr=0.1, held_out=1.0),
        lambda: tacit.finetune(lr=0.1, own_epochs=0),
        lambda: tacit.fedbn(lr=0.0),
    ],
)
def test_settings_that_mean_nothing_are_refused(make: Any) -> None:
    with pytest.raises(tacit.TacitError) as caught:
        make()
    assert caught.value.code == "task.setting"


# The split


@given(st.lists(st.booleans(), min_size=2, max_size=6), st.integers(0, 3))
def test_join_undoes_parts_with_and_without_a_clients_axis(keep: list[bool], lead: int) -> None:
    tensors = tuple(
        Tensor(f"t{i}", (i + 1,), Kind.BUFFER if i >= len(keep) - 1 else Kind.TRAINED)
        for i in range(len(keep))
    )
    home = tuple(t for t, one in zip(tensors, keep, strict=True) if one)
    shared = tuple(t for t, one in zip(tensors, keep, strict=True) if not one)
    parts = Split(Layout(tensors), Layout(shared), Layout(home))
    whole = np.random.default_rng(0).normal(size=(*[2] * lead, parts.whole.size))
    out, stay = parts.parts(whole)
    assert out.shape[-1] == parts.shared.size and stay.shape[-1] == parts.home.size
    assert np.array_equal(parts.join(out, stay), whole)
    if not home:
        assert out is whole and parts.join(whole, stay) is whole


def test_buffers_that_stay_are_replaced_and_trained_numbers_move() -> None:
    layout = Layout((Tensor("a", (2,)), Tensor("b", (1,)), Tensor("m", (1,), Kind.BUFFER)))
    parts = Split(layout, Layout(layout.tensors[:1]), Layout(layout.tensors[1:]))
    after = parts.advanced(np.array([1.0, 2.0, 3.0, 4.0]), np.array([10.0, 20.0, 30.0, 40.0]))
    assert after.tolist() == [33.0, 40.0]


def test_without_patterns_the_layout_itself_travels() -> None:
    task = federation(tacit.fedavg(lr=0.1)).plan().task
    assert split(task, ()).shared is task.layout


@given(st.integers(1, 30), st.floats(0.01, 0.99))
def test_records_held_out_are_the_rest_and_neither_part_is_empty(count: int, part: float) -> None:
    home = Home(Reference().task, Examples(np.zeros((count, 3)), np.arange(count)), Key.seed(3))
    fit, check = home.held_out(part)
    both = np.concatenate([fit.held.y, check.held.y])
    assert sorted(both) == list(range(count))
    assert count == 1 or (fit.examples and check.examples)
