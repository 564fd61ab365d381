"""Algorithms refuse settings that mean nothing when they are made, by the setting's name."""

from __future__ import annotations

from typing import Any

import pytest

import tacit


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: tacit.fedadagrad(lr=0.1, tau=0.0), "tau"),
        (lambda: tacit.fedyogi(lr=0.1, beta1=1.0), "beta1"),
        (lambda: tacit.fedadam(lr=0.1, beta2=-0.1), "beta2"),
        (lambda: tacit.fedprox(lr=0.1, mu=-1.0), "mu"),
        (lambda: tacit.scaffold(lr=0.1, steps=0), "steps"),
        (lambda: tacit.scaffold(lr=0.1, steps=3, server_lr=0.0), "server_lr"),
        (lambda: tacit.fednova(lr=0.1, local_momentum=1.0), "local_momentum"),
        (lambda: tacit.fednova(lr=0.1, most=-1), "most"),
        (lambda: tacit.feddyn(lr=0.1, alpha=0.0), "alpha"),
        (lambda: tacit.qffl(lr=0.1, q=-0.5), "q"),
        (lambda: tacit.qffl(lr=0.1, q=1.0, limit=-1.0), "limit"),
        (lambda: tacit.ifca(lr=0.1, clusters=1), "clusters"),
        (lambda: tacit.ifca(lr=0.1, clusters=2, spread=0.0), "spread"),
        (lambda: tacit.moon(lr=0.1, temperature=0.0), "temperature"),
        (lambda: tacit.moon(lr=0.1, mu=float("nan")), "mu"),
        (lambda: tacit.lloyd(least=0.0), "least"),
        (lambda: tacit.fedsgd(lr=0.1, momentum=1.0), "momentum"),
        (lambda: tacit.fedsgd(lr=0.1, schedule=tacit.cosine(0, over="steps")), "schedule"),
        (
            lambda: tacit.ifca(lr=0.1, clusters=2, optimiser=tacit.adam(keep=True)),
            "keep",
        ),
        (lambda: tacit.sgd(momentum=1.0), "momentum"),
        (lambda: tacit.sgd(nesterov=True), "nesterov"),
        (lambda: tacit.sgd(keep=True), "keep"),
        (lambda: tacit.sgd(weight_decay=-0.1), "weight_decay"),
        (lambda: tacit.adam(beta1=1.0), "beta1"),
        (lambda: tacit.adam(beta2=-0.1), "beta2"),
        (lambda: tacit.adam(epsilon=0.0), "epsilon"),
        (lambda: tacit.adamw(weight_decay=float("inf")), "weight_decay"),
        (lambda: tacit.cosine(0), "length"),
        (lambda: tacit.cosine(5, least=1.5), "least"),
        (lambda: tacit.cosine(5, over="days"), "over"),  # type: ignore[arg-type]  # what is refused
        (lambda: tacit.step_decay(0), "every"),
        (lambda: tacit.step_decay(3, factor=0.0), "factor"),
        (lambda: tacit.warmup(0), "length"),
        (lambda: tacit.warmup(3, first=-0.1), "first"),
    ],
)
def test_settings_that_mean_nothing_are_refused(make: Any, name: str) -> None:
    with pytest.raises(tacit.TacitError) as caught:
        make()
    assert caught.value.code == "task.setting" and caught.value.facts["name"] == name
