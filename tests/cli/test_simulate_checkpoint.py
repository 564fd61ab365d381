"""`tacit simulate --checkpoint`: a stopped run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.scenes import refused, said, small, tacit


def _dies_after_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    from tacit.sim.checkpoint import Keeper

    save = Keeper.save

    def saved(self: Any, snapshot: Any) -> None:
        save(self, snapshot)
        raise KeyboardInterrupt

    monkeypatch.setattr(Keeper, "save", saved)


def test_a_stopped_run_goes_on_to_the_same_model(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(place)
    whole = said("simulate", "--name", "whole")
    with monkeypatch.context() as dying:
        _dies_after_a_round(dying)
        stopped = tacit("simulate", "--name", "one", "--checkpoint", "kept")
    assert stopped.exit_code == 130
    assert stopped.stderr.endswith("Stopped. The same command goes on from kept.\n")
    result = tacit("simulate", "--name", "one", "--checkpoint", "kept")
    assert result.exit_code == 0, result.output
    assert "Resumed after round 1 from kept." in result.stderr
    models = [place / "runs" / name / "model.npz" for name in ("whole", "one")]
    assert models[0].read_bytes() == models[1].read_bytes()
    assert whole["summary"].startswith("small: 2 of 2 rounds")


def test_each_seed_has_checkpoints_of_its_own(place: Path) -> None:
    small(place)
    said("simulate", "--seeds", "2", "--checkpoint", "kept", "--name", "few")
    assert sorted(path.name for path in (place / "kept").iterdir()) == ["seed0", "seed1"]
    error = refused("simulate", "--seed", "1", "--checkpoint", str(place / "kept" / "seed0"))
    assert error["code"] == "run.checkpoint-other" and "another seed" in error["cause"]
