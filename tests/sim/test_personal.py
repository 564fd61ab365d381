"""What stays at home over rounds, and the model by which every client is judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tacit
from tacit.base.key import Key
from tacit.learn.examples import as_clients
from tacit.sim.engine import run_plan
from tacit.sim.exact import Exact
from tacit.sim.faults import Fault
from tests.learn.personal_case import HEAD, MAKERS, data, federation


@pytest.mark.parametrize("name", ["fedper", "fedrep", "ditto", "apfl"])
def test_only_an_included_answer_advances_what_stays(name: str) -> None:
    plan = federation(MAKERS[name](), quorum=2, deadline=5.0).plan()
    backend = Exact(plan, as_clients(data()), Key.seed(0))
    kept: list[Any] = []

    def faults(round_: int, client: int) -> Fault:
        if client == 0:
            kept.append(backend.memory(1))
        return Fault(drop=client == 1 and round_ > 0)

    run_plan(plan, backend.clients, backend.key, faults=faults, backend=backend)
    place = "personal" if plan.algorithm.personal else "algorithm"
    assert not kept[0], "nothing is kept before the first answer counted"
    assert kept[-1] and np.array_equal(backend.memory(1)[place], kept[-1][place])
    calm = Exact(plan, as_clients(data()), Key.seed(0))
    run_plan(plan, calm.clients, calm.key, backend=calm)
    assert not np.array_equal(calm.memory(1)[place], backend.memory(1)[place])


def test_what_stays_is_picked_up_where_it_was_left() -> None:
    """A second run from the first one's state and memory ends where one long run ends."""
    sgd = tacit.fedper(lr=0.2, personal=HEAD, batch=0)
    whole = tacit.simulate(federation(sgd, rounds=2), data())
    plan = federation(sgd, rounds=1).plan()
    first = Exact(plan, as_clients(data()), Key.seed(0))
    half = run_plan(plan, first.clients, first.key, backend=first)
    again = Exact(plan, as_clients(data()), Key.seed(0))
    for i in range(3):
        again.memories.put(i, first.memory(i))
    again.open(1, {"params": half.params})
    answers = list(again.take([0, 1, 2]))
    assert len(answers) == 3
    total, _ = again.total([0, 1, 2])
    for i in range(3):
        again.commit(i)
        want = whole.outcome.models.memory(i)["personal"]
        assert np.array_equal(again.memory(i)["personal"], want)
    size = plan.layout.size
    after = half.params + total[:size] / total[size]
    assert np.allclose(after, whole.outcome.params, atol=1e-12)


@pytest.mark.parametrize("name", ["fedper", "fedrep", "ditto", "apfl", "finetune"])
def test_a_run_that_is_killed_resumes_with_everybodys_own_model(tmp_path: Path, name: str) -> None:
    def stop(row: dict[str, float]) -> None:
        if row["round"] == 2:
            raise KeyboardInterrupt

    described = federation(MAKERS[name](), rounds=4)
    whole = tacit.simulate(described, data(), test=data())
    with pytest.raises(KeyboardInterrupt):
        tacit.simulate(described, data(), test=data(), progress=stop, checkpoint=tmp_path)
    again = tacit.simulate(described, data(), test=data(), checkpoint=tmp_path)
    assert again.history == whole.history and again.final == whole.final
    for i in range(3):
        assert again.model_of(i).params.tobytes() == whole.model_of(i).params.tobytes()


# Evaluation


def test_every_client_is_evaluated_with_its_own_model() -> None:
    run = tacit.simulate(federation(MAKERS["fedper"]()), data(), test=data())
    assert run.final
    for i, (name, (x, y)) in enumerate(data().items()):
        assert run.final.clients[name] == run.model_of(i).evaluate(x, y)
    assert run.final.pooled.correct == sum(one.correct for one in run.final.clients.values())


def test_test_clients_go_by_name_then_by_index_and_strangers_get_the_shared_model() -> None:
    held, sgd = data(), federation(MAKERS["fedper"]())
    turned = dict(reversed(held.items()))
    by_name = tacit.simulate(sgd, held, test=turned).final
    by_index = tacit.simulate(sgd, held, test=list(held.values())).final
    strange = tacit.simulate(sgd, held, test={"new": held["c0"], **held})
    assert by_name and by_index and strange.final
    for i, name in enumerate(held):
        assert by_name.clients[name] == by_index.clients[f"client-{i}"]
        assert by_name.clients[name] == strange.final.clients[name]
    assert strange.final.clients["new"] == strange.model.evaluate(*held["c0"])


def test_baselines_use_the_model_of_the_only_client() -> None:
    run = tacit.pooled(federation(MAKERS["fedper"]()), data(), test=data())
    assert run.final
    assert run.final.clients["c1"] == run.model_of(0).evaluate(*data()["c1"])


def test_a_client_that_is_not_there_is_named() -> None:
    run = tacit.simulate(federation(MAKERS["ditto"]()), data())
    for wrong in ("c9", 3, -1):
        with pytest.raises(tacit.TacitError) as caught:
            run.model_of(wrong)
        assert caught.value.code == "run.no-client"
