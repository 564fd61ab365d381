"""Trust statements, word for word: what a reader is told may change only on purpose.

Write the statements anew with TACIT_REGENERATE=1 and read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import tacit
from tacit.plan.build import build
from tacit.plan.claims import Claim, Party
from tacit.plan.trust import size, trust
from tests.plan.federations import RECIPES, federation

GOLDEN = Path(__file__).parent / "golden"

VARIANTS: dict[str, dict[str, Any]] = {
    **{name: {} for name in RECIPES},
    "record_dp_metrics": {"metrics": ("loss", "accuracy")},
    "secure_average_fixed": {"cohort": tacit.fixed(3, spare=1), "collusion": 0},
}


def statement(variant: str) -> str:
    recipe = variant.removesuffix("_metrics").removesuffix("_fixed")
    return str(federation(recipe, **VARIANTS[variant]).check()) + "\n"


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_statement_of_a_recipe(variant: str) -> None:
    path = GOLDEN / f"{variant}.txt"
    if os.environ.get("TACIT_REGENERATE") == "1":
        path.write_text(statement(variant), "utf-8")
    assert statement(variant) == path.read_text("utf-8")


def test_every_golden_statement_is_tested() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(VARIANTS)


def lines(name: str, **changes: Any) -> str:
    return str(trust(build(federation(name, **changes))))


def test_without_noise_the_statement_promises_nothing() -> None:
    assert "Nothing: no noise is added, so the model may remember records." in lines("plain")
    hidden = lines("secure_average")
    assert "Nothing about the sum itself" in hidden
    assert "epsilon" not in hidden


@pytest.mark.parametrize("name", RECIPES)
def test_a_simulated_secure_sum_is_called_one(name: str) -> None:
    hidden = build(federation(name)).form.hidden
    assert ("SIMULATED" in lines(name)) == hidden
    assert ("no single answer" in lines(name)) == hidden
    assert ("every client's" in lines(name)) != hidden


@pytest.mark.parametrize("name", RECIPES)
def test_every_stage_and_every_claim_is_told(name: str) -> None:
    plan = build(federation(name))
    text = str(trust(plan))
    for step in plan.steps:
        assert step.stage.says(step.before, step.after) in text
    for claim in plan.claims if plan.form.noise else ():
        told = f"One {claim.hides} against {claim.against}: "
        assert told + ("epsilon " if claim.holds else "") + claim.shown in text
        assert not claim.holds or all(assumption in text for assumption in claim.assumes)


@pytest.mark.parametrize(
    ("epsilon", "shown"),
    [(2.9997, "3.00"), (3.0, "3.00"), (3.0001, "3.01"), (0.0, "0.00"), (1e6, "no promise")],
)
def test_epsilon_is_rounded_up(epsilon: float, shown: str) -> None:
    assert Claim(Party.PUBLIC, "client", epsilon, 1e-5, None).shown == shown


def test_a_promise_that_is_none_says_why() -> None:
    central = lines("central_dp")
    assert "no promise (it is trusted with sums that have no noise yet)" in central
    weak = lines("plain", protect=(tacit.clip(1.0), tacit.plain_sum(), WEAK, tacit.mean(-1)))
    assert "no promise (one record can change far more than the noise hides)" in weak


WEAK = tacit.gaussian("central", "client", multiplier=0.06)


def test_warnings_close_the_statement() -> None:
    assert "\nWarnings\n  - This plan will hardly learn" in lines(
        "distributed_dp", data=tacit.arrays((30,), 2)
    )
    assert "Warnings" not in lines("plain")


def test_html_is_the_text_escaped() -> None:
    code = trust(build(federation("plain")))._repr_html_()
    assert code.startswith("<pre>What is learned")
    assert "client&#x27;s" in code


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1234, "1.23 kB"), (4e7, "40 MB")],
)
def test_sizes_are_for_people(count: float, text: str) -> None:
    assert size(count) == text
