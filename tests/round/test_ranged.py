"""Closing in pieces gives the bits of closing at once, for every algorithm that allows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import tacit
from tacit.base.key import Key
from tacit.base.vector import Vector
from tacit.learn.algorithm import AlgorithmSpec
from tacit.learn.contract import Arrays
from tacit.plan.build import Plan
from tacit.protect.noise import Gaussian
from tacit.protect.recipes import Chain, central_dp, plain, secure_average
from tacit.round.close import add, apply, open_sum
from tacit.round.ranged import close_by_range, rangeable

CLIENTS, FEATURES = 5, 40


@dataclass(frozen=True)
class Held:
    vector: Vector

    @property
    def size(self) -> int:
        return len(self.vector)

    def read(self, start: int, stop: int) -> Vector:
        return self.vector[start:stop]


def described(algorithm: AlgorithmSpec, protect: Chain) -> Plan:
    return tacit.Federation(
        task=tacit.numpy.logistic_regression(),
        data=Arrays((FEATURES,), classes=7),
        clients=CLIENTS,
        algorithm=algorithm,
        protect=protect,
    ).plan()


def at_once(plan: Plan, answers: list[Vector], state: Any) -> Any:
    total, count = add(answers)
    return apply(plan, state, open_sum(plan, total, count, Key.seed(3)))


def in_pieces(plan: Plan, answers: list[Vector], state: Any, width: int) -> Any:
    held = {
        name: Held(value) if getattr(value, "ndim", 0) else value for name, value in state.items()
    }
    pieces = list(close_by_range(plan, [Held(a) for a in answers], held, Key.seed(3), width))
    return {
        name: np.concatenate([piece.state[name] for piece in pieces])
        if getattr(value, "ndim", 0)
        else value
        for name, value in pieces[0].state.items()
    }


ALGORITHMS: dict[str, AlgorithmSpec] = {
    "fedavg": tacit.fedavg(lr=0.1, momentum=0.9),
    "fedsgd": tacit.fedsgd(lr=0.1, momentum=0.5),
    "fedadam": tacit.fedadam(lr=0.1, server_lr=0.1),
    "fedyogi": tacit.fedyogi(lr=0.1, server_lr=0.1),
    "scaffold": tacit.scaffold(lr=0.1, steps=3),
    "fednova": tacit.fednova(lr=0.1),
    "feddyn": tacit.feddyn(lr=0.1, alpha=0.1),
    "qffl": tacit.qffl(lr=0.1, q=1.0),
}


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize(
    "protect", [plain(), secure_average(clip=1.0, cap=50.0)], ids=["plain", "sum"]
)
def test_pieces_are_the_whole(name: str, protect: Chain) -> None:
    try:
        plan = described(ALGORITHMS[name], protect)
    except tacit.TacitError:
        assert name in ("fednova", "qffl")  # unbounded tallies go under no secure sum
        return
    draw = np.random.default_rng(1)
    whole = plan.form.bits > 0
    state = plan.algorithm.start(plan.start(Key.seed(0)))
    for _ in range(3):
        answers = [
            draw.integers(0, 1000, plan.message.size)
            if whole
            else draw.standard_normal(plan.message.size).astype(np.float32)
            for _ in range(CLIENTS)
        ]
        expected = at_once(plan, answers, state)
        for width in (1, 17, 10_000):
            found = in_pieces(plan, answers, state, width)
            assert set(found) == set(expected)
            for part, value in expected.items():
                np.testing.assert_array_equal(found[part], value)
        state = expected


def test_one_draw_of_noise_is_not_taken_in_pieces() -> None:
    noised = described(tacit.fedavg(lr=0.1), central_dp(epsilon=1, delta=1e-5, clip=1.0))
    assert any(isinstance(step.stage, Gaussian) for step in noised.steps)
    assert not rangeable(noised)
    assert rangeable(described(tacit.fedavg(lr=0.1), plain()))
    assert not rangeable(described(tacit.ifca(lr=0.1, clusters=2), plain()))
