"""`tacit tune`: the table, the choice, its cost in epsilon, and a description to run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tacit.plan.federation import Federation
from tests.cli.scenes import CODE, TOML, refused, said, tacit

PROTECT = """
[[protect]]
kind = "clip"
norm = 1.0

[[protect]]
kind = "plain_sum"

[[protect]]
kind = "gaussian"
where = "central"
epsilon = 4.0

[[protect]]
kind = "mean"
over = -1.0
"""


def folder(place: Path, toml: str = TOML) -> Path:
    (place / "app.py").write_text(CODE, "utf-8")
    description = place / "app.toml"
    description.write_text(toml, "utf-8")
    return description


def test_the_choice_is_shown_and_can_be_written_and_run(place: Path) -> None:
    folder(place)
    found = tacit("tune", "app.toml", "--out", "best.toml")
    assert found.exit_code == 0, found.output
    for words in ("fedavg", "ditto", "finetune", "worst client", "[algorithm]", "Nothing was"):
        assert words in found.output
    best = Federation.load(place / "best.toml")
    chosen = said("tune", "app.toml")
    assert best.algorithm.kind == chosen["best"]["kind"]
    assert best.plan().federation.rounds == 2


def test_named_methods_and_rates_are_compared_in_their_order(place: Path) -> None:
    folder(place)
    options = ("--method", "fedavg", "--method", "fedper", "--lr", "0.1", "--lr", "0.2")
    told = said("tune", "app.toml", *options, "--personal", "bias0")
    assert [(one["method"], one["lr"]) for one in told["trials"]] == [
        ("fedavg", 0.1),
        ("fedavg", 0.2),
        ("fedper", 0.1),
        ("fedper", 0.2),
    ]
    assert told["spent"] == [] and told["score"] == max(one["score"] for one in told["trials"])
    again = said("tune", "app.toml", *options, "--personal", "bias0")
    assert again == told


def test_all_that_was_compared_is_paid_for(place: Path) -> None:
    folder(place, TOML + PROTECT)
    options = ("--method", "fedavg", "--lr", "0.1", "--lr", "0.2", "--lr", "0.3")
    (one,) = (
        spent
        for spent in said("tune", "app.toml", *options)["spent"]
        if spent["hides"] == "client" and "model" in spent["against"]
    )
    assert 4.0 < one["tuning"] < one["total"] < 16.0
    shown = tacit("tune", "app.toml", *options).output.replace("\n", " ")
    assert f"epsilon {one['tuning']:.2f} for the" in " ".join(shown.split())


def test_what_is_not_there_is_named(place: Path) -> None:
    folder(place)
    error = refused("tune", "app.toml", "--method", "fedpre")
    assert error["code"] == "description.unknown" and "fedper" in error["remedy"] + error["cause"]
    assert refused("tune", "app.toml", "--lr", "-1")["code"] == "task.setting"


@pytest.mark.parametrize("part", ["0", "1"])
def test_a_part_that_leaves_nothing_is_not_understood(place: Path, part: str) -> None:
    folder(place)
    assert tacit("tune", "app.toml", "--held-out", part).exit_code == 2
