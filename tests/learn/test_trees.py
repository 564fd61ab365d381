"""Boosted trees: all records' histograms, level by level, beside XGBoost itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st

import tacit
from tacit.base.key import Key
from tacit.base.vector import Layout, Tensor
from tacit.learn.boosting import HESSIAN
from tacit.learn.examples import Examples
from tacit.learn.model import Model
from tacit.plan.cohort import Buffered
from tests.learn.papers import Data

RECORDS = (tacit.clip_examples(1.0), tacit.plain_sum(), tacit.mean())


def sites(classes: int = 2, count: int = 4, size: int = 60, seed: int = 0) -> Data:
    """Sites of unequal sizes that see different parts of a rule with an interaction."""
    draw = np.random.default_rng(seed)
    found = {}
    for i in range(count):
        x = np.clip(draw.normal(0.3 * (i - 1.5), 0.5, (size + 10 * i, 3)), -1, 1)
        score = np.where(x[:, 0] > 0.2, x[:, 1], -x[:, 1]) + 0.1 * draw.normal(size=len(x))
        found[f"s{i}"] = (x, (score > 0).astype(np.int64) if classes else score)
    return found


def federation(data: Data, trees: int = 4, classes: int = 2, **changes: Any) -> tacit.Federation:
    return tacit.Federation(
        task=tacit.trees.boosted_trees(trees=trees, depth=3, bins=16),
        clients=len(data),
        data=tacit.arrays(shape=(3,), classes=classes, low=-1.0, high=1.0),
        algorithm=tacit.trees.boosting(),
        rounds=4 * trees,
    ).replace(**changes)


def together(data: Data) -> tuple[Any, Any]:
    x, y = (np.concatenate([held[i] for held in data.values()]) for i in (0, 1))
    return x, y


def task_of(classes: int = 2, depth: int = 2, bins: int = 5, features: int = 3) -> Any:
    contract = tacit.arrays(shape=(features,), classes=classes, low=-1.0, high=1.0)
    return tacit.trees.boosted_trees(trees=3, depth=depth, bins=bins).build(contract)


def grown(task: Any, rounds: int, seed: int = 0, size: float = 1.0) -> Any:
    """A forest of random splits and leaves after so many rounds; some nodes are not split."""
    draw, params = np.random.default_rng(seed), task.start(Key.seed(0))
    parts = task.layout.unpack(params)
    shape = parts["bin"].shape
    parts["feature"][...] = draw.integers(0, task.forest.features, shape)
    parts["bin"][...] = draw.integers(1, task.forest.bins + 1, shape)
    parts["leaf"][...] = size * draw.normal(size=parts["leaf"].shape)
    parts["round"][...] = rounds
    return params


# The same as all records at one place


@pytest.mark.parametrize("classes", [2, 0])
@pytest.mark.parametrize("chain", [tacit.plain(), RECORDS])
def test_a_federation_grows_the_trees_of_all_records_together(classes: int, chain: Any) -> None:
    data = sites(classes)
    described = federation(data, classes=classes, protect=chain)
    found = tacit.simulate(described, data).model.arrays()
    expected = tacit.pooled(described, data).model.arrays()
    assert np.array_equal(found["feature"], expected["feature"])
    assert np.array_equal(found["bin"], expected["bin"])
    assert np.allclose(found["leaf"], expected["leaf"], rtol=0, atol=1e-12)
    assert (found["bin"] < 16).sum() > 8


def test_under_a_secure_sum_the_splits_stay() -> None:
    # Real targets: with two classes splits tie, and the smallest rounding decides between them.
    data = {name: (x[:60], y[:60]) for name, (x, y) in sites(classes=0).items()}
    chain = (tacit.clip(10.0), tacit.quantise(10**8), tacit.secure_sum(), tacit.mean())
    plain = tacit.simulate(federation(data, classes=0), data).model
    hidden = tacit.simulate(federation(data, classes=0, protect=chain), data).model
    x, _ = together(data)
    assert np.abs(ours(plain, x) - ours(hidden, x)).max() < 1e-4


def test_every_engine_grows_the_same_trees() -> None:
    data = sites()
    exact = tacit.simulate(federation(data, protect=RECORDS), data)
    stacked = tacit.simulate(federation(data, protect=RECORDS), data, engine="stacked")
    assert np.array_equal(exact.model.params, stacked.model.params)


# Beside XGBoost


def trained_by_xgboost(task: Any, x: Any, y: Any, trees: int, setting: Any) -> Any:
    """XGBoost on whole-numbered bins, with our settings in its units."""
    records = len(x) * (1 if task.classes else 4)
    options = {
        "objective": "binary:logistic" if task.classes else "reg:squarederror",
        "base_score": 0.5 if task.classes else 0.0,
        "max_depth": task.forest.depth,
        "eta": setting.lr,
        "lambda": setting.l2 * records,
        "min_child_weight": setting.least * records,
        "tree_method": "hist",
        "nthread": 1,
    }
    binned = xgboost.DMatrix(task.forest.binned(x), label=y)
    return xgboost.train(options, binned, trees).predict(binned)


def ours(model: Model, x: Any) -> Any:
    """What XGBoost's predict answers: the probability of class 1, or the value."""
    task: Any = model.task
    scores = task.scores(model.params, x)
    return scores[:, 1] if task.classes else scores


@pytest.mark.parametrize("classes", [2, 0])
@pytest.mark.parametrize(
    "setting", [tacit.trees.boosting(), tacit.trees.boosting(lr=0.1, l2=0.02, least=0.01)]
)
def test_the_same_trees_as_xgboost_on_the_same_bins(classes: int, setting: Any) -> None:
    data = sites(classes, size=200)
    described = federation(data, trees=10, classes=classes, algorithm=setting)
    model = tacit.simulate(described, data).model
    x, y = together(data)
    expected = trained_by_xgboost(model.task, x, y, 10, setting)
    assert np.abs(ours(model, x) - expected).max() < 1e-5
    assert np.std(expected) > 0.1


def test_four_hospitals_learn_what_xgboost_learns_from_their_pooled_records() -> None:
    heart = tacit.data.heart_disease()
    described = tacit.Federation(
        task=tacit.trees.boosted_trees(trees=20, depth=2, bins=16),
        clients=4,
        data=heart.schema,
        algorithm=tacit.trees.boosting(),
        rounds=60,
    )
    run = tacit.simulate(described, heart)
    pooled = heart.train.pooled().held[0]
    setting = tacit.trees.boosting()
    expected = trained_by_xgboost(run.model.task, pooled.x, pooled.y, 20, setting)
    assert np.abs(ours(run.model, pooled.x) - expected).max() < 1e-5
    alone = tacit.local_only(described, heart).values()
    assert run.final
    assert run.final.accuracy > max(one.final.accuracy for one in alone if one.final)


def loaded(model: Model, folder: Path) -> Any:
    tacit.trees.save_xgboost(model, folder / "model.json")
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(folder / "model.json")
    return booster


@given(
    seed=st.integers(0, 10**6),
    classes=st.sampled_from([0, 2]),
    depth=st.integers(1, 4),
    bins=st.integers(2, 40),
    trees=st.integers(0, 3),
)
def test_xgboost_loads_the_file_and_predicts_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    classes: int,
    depth: int,
    bins: int,
    trees: int,
) -> None:
    task = task_of(classes, depth, bins)
    model = Model(task, grown(task, trees * (depth + 1), seed))
    draw = np.random.default_rng(seed)
    edges = np.linspace(-1, 1, bins + 1)
    near = np.concatenate([edges, np.nextafter(np.float32(edges), 9), np.float32(edges)])
    x = np.concatenate([draw.choice(near, (60, 3)), draw.uniform(-2, 2, (60, 3))])
    found = loaded(model, tmp_path_factory.mktemp("xgboost")).predict(xgboost.DMatrix(x))
    assert np.abs(found - ours(model, x)).max() < 1e-5


def test_a_tree_that_is_not_finished_counts_nowhere(tmp_path: Path) -> None:
    task = task_of()
    whole, more = (Model(task, grown(task, rounds)) for rounds in (3, 5))
    x = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    assert np.array_equal(ours(whole, x), ours(more, x))
    assert loaded(more, tmp_path).num_boosted_rounds() == 1


# One record, one histogram


def naive_row(task: Any, params: Any, x: Any, y: Any) -> Any:
    """The answer of one record, written out."""
    forest, parts = task.forest, task.layout.unpack(params)
    edges = np.linspace(forest.low, forest.high, forest.bins + 1)[1:-1].astype(np.float32)
    bins = [sum(np.float32(value) >= edge for edge in edges) for value in x]
    done, level = divmod(int(parts["round"][0]), forest.depth + 1)

    def node(tree: int, depth: int) -> int:
        at = 0
        for above in range(depth):
            place = 2**above - 1 + at
            goes = bins[int(parts["feature"][tree, place])] >= parts["bin"][tree, place]
            at = 2 * at + int(goes)
        return at

    margin = sum(parts["leaf"][tree, node(tree, forest.depth)] for tree in range(done))
    chance = 1 / (1 + np.exp(-margin))
    slope = chance - y if task.classes else (margin - y) / 4
    curve = chance * (1 - chance) if task.classes else 0.25
    sums = np.zeros((2, *task.layout.answer[0].shape))
    here = node(done, level)
    for feature in range(forest.features):
        leaf = level == forest.depth
        place = (here // 2, feature, here % 2) if leaf else (here, feature, bins[feature])
        sums[(0, *place)], sums[(1, *place)] = slope, HESSIAN * curve
    return sums.ravel() / np.sqrt(forest.features)


@given(seed=st.integers(0, 10**6), rounds=st.integers(0, 8), classes=st.sampled_from([0, 2]),
       clip=st.floats(1e-3, 10.0))  # fmt: skip
def test_an_answer_is_the_sum_of_its_records_clipped(
    seed: int, rounds: int, classes: int, clip: float
) -> None:
    task, draw = task_of(classes), np.random.default_rng(seed)
    params = grown(task, rounds, seed)
    x = draw.choice(np.linspace(-1, 1, 11), (9, 3))
    y = draw.integers(0, 2, 9) if classes else draw.uniform(-1, 1, 9)
    rows = np.array([naive_row(task, params, *one) for one in zip(x, y, strict=True)])
    held, key = Examples(x, y), Key.seed(0)
    assert np.allclose(task.grad(params, held, key).trained, rows.mean(axis=0), atol=1e-12)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    expected = (rows * np.minimum(1.0, clip / norms)).sum(axis=0)
    assert np.allclose(task.clipped_grad_sum(params, held, clip, key), expected, atol=1e-9)


@given(seed=st.integers(0, 10**6), rounds=st.integers(0, 8), size=st.floats(0.0, 50.0),
       clip=st.sampled_from([0.1, 1.0, 100.0]))  # fmt: skip
def test_one_record_changes_an_answer_by_at_most_its_bound(
    seed: int, rounds: int, size: float, clip: float
) -> None:
    task, draw = task_of(), np.random.default_rng(seed)
    params = grown(task, rounds, seed, size)
    held = Examples(draw.uniform(-1, 1, (6, 3)), draw.integers(0, 2, 6))
    whole = task.clipped_grad_sum(params, held, clip, Key.seed(0))
    for i in range(6):
        fewer = held.take(np.arange(6) != i)
        change = whole - task.clipped_grad_sum(params, fewer, clip, Key.seed(0))
        assert np.linalg.norm(change) <= min(clip, 1.0) * (1 + 1e-12)


# Hard cases


def test_a_site_of_one_class_and_a_sample_of_nobody() -> None:
    data = sites()
    data["s0"] = (data["s0"][0], np.ones_like(data["s0"][1]))
    few = (tacit.clip_examples(1.0, sample=0.02), tacit.plain_sum(), tacit.mean())
    for chain in (tacit.plain(), few):
        run = tacit.simulate(federation(data, protect=chain), data)
        assert np.isfinite(run.model.params).all()
        assert not run.problems


def test_no_records_add_nothing() -> None:
    task = task_of()
    nobody = Examples(np.empty((0, 3)), np.empty(0, np.int64))
    found = task.grad(task.start(Key.seed(0)), nobody, Key.seed(0))
    assert found.trained.shape == (2 * 2 * 3 * 5,)
    assert not found.trained.any()


def test_one_class_alone_gives_trees_that_say_so() -> None:
    data = {"a": (sites()["s0"][0], np.ones(60, np.int64))}
    model = tacit.simulate(federation(data), data).model
    assert (model.predict(data["a"][0]) == 1).all()


@pytest.mark.parametrize("epsilon", [3.0, 50.0])
def test_protected_records_still_give_trees_that_learn(epsilon: float) -> None:
    data, test = sites(size=3000), sites(size=500, seed=1)
    described = federation(
        data,
        trees=3,
        protect=tacit.record_dp(epsilon=epsilon, delta=1e-6, clip=1.0, most=4096),
        algorithm=tacit.trees.boosting(lr=0.5, least=0.01),
    )
    run = tacit.simulate(described, data, test=test)
    assert np.isfinite(run.model.params).all()
    assert run.final
    assert run.final.accuracy > 0.8
    exact = tacit.simulate(described.replace(protect=RECORDS), data).model
    assert not np.array_equal(exact.params, run.model.params)


def test_a_description_goes_through_toml() -> None:
    described = federation(sites(), algorithm=tacit.trees.boosting(lr=0.2, l2=0.01, least=0.02))
    again = tacit.Federation.from_toml(described.to_toml())
    assert again == described
    assert again.digest == described.digest


def test_the_answer_belongs_to_the_digest_of_a_layout() -> None:
    plain, other = Layout((Tensor("a", (2,)),)), Layout((Tensor("a", (2,)),), answer=())
    with_answer = Layout((Tensor("a", (2,)),), answer=(Tensor("b", (3,)),))
    assert plain.digest == other.digest != with_answer.digest
    assert (plain.update, with_answer.update, with_answer.size) == (2, 3, 2)


def refused(described: tacit.Federation) -> Any:
    with pytest.raises(tacit.TacitError) as caught:
        described.plan()
    return caught.value


def test_what_does_not_fit_is_refused_with_a_remedy() -> None:
    data, weights = sites(), tacit.numpy.logistic_regression()
    described = federation(data)
    unfinished = refused(described.replace(rounds=6))
    assert unfinished.code == "task.trees-rounds"
    assert "rounds=4 or 8" in unfinished.remedy
    assert "rounds=4." in refused(described.replace(rounds=1)).remedy
    full = refused(described.replace(rounds=17))
    assert (full.code, full.facts["trees"]) == ("task.trees-full", 5)
    assert refused(described.replace(task=weights)).code == "task.trees-pair"
    assert refused(described.replace(algorithm=tacit.fedsgd(0.1))).code == "task.trees-pair"
    buffered = described.replace(cohort=Buffered(size=2, concurrency=3), quorum=1)
    assert refused(buffered).code == "round.buffered-answer"
    unbounded = tacit.arrays(shape=(3,), classes=2)
    assert refused(described.replace(data=unbounded)).code == "task.trees-range"
    assert refused(described.replace(data=None)).code == "task.no-shape"
    three = tacit.arrays(shape=(3,), classes=3, low=0.0, high=1.0)
    assert refused(described.replace(data=three)).code == "task.trees-classes"
    upside_down = tacit.arrays(shape=(3,), classes=2, low=1.0, high=0.0)
    assert refused(described.replace(data=upside_down)).code == "task.setting"


@pytest.mark.parametrize(("value", "code"), [(np.nan, "data.not-finite"), (1.5, "data.range")])
def test_values_outside_the_contract_are_refused(value: float, code: str) -> None:
    data = sites()
    data["s1"][0][3, 1] = value
    with pytest.raises(tacit.TacitError) as caught:
        tacit.simulate(federation(data), data)
    assert (caught.value.code, caught.value.facts["client"]) == (code, "s1")


@pytest.mark.parametrize(
    "make",
    [
        lambda: tacit.trees.boosted_trees(trees=0),
        lambda: tacit.trees.boosted_trees(depth=0),
        lambda: tacit.trees.boosted_trees(bins=1),
        lambda: tacit.trees.boosting(lr=0.0),
        lambda: tacit.trees.boosting(l2=-1.0),
        lambda: tacit.trees.boosting(least=0.0),
    ],
)
def test_settings_that_mean_nothing_are_refused(make: Any) -> None:
    with pytest.raises(tacit.TacitError) as caught:
        make()
    assert caught.value.code == "task.setting"


def test_only_trees_have_a_file_for_xgboost(tmp_path: Path) -> None:
    task = tacit.numpy.ridge_regression().build(tacit.arrays(shape=(3,)))
    with pytest.raises(tacit.TacitError, match="Network"):
        tacit.trees.save_xgboost(Model(task, np.zeros(4)), tmp_path / "model.json")
    trees = task_of()
    with pytest.raises(tacit.TacitError) as caught:
        trees.save_xgboost(trees.start(Key.seed(0)), tmp_path / "missing" / "model.json")
    assert caught.value.code == "data.cannot-write"
