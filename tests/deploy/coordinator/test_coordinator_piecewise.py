"""A large model is closed in pieces, with the bytes of closing it at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tacit
from tacit.base.key import Key
from tacit.deploy.coordinator import closing, piecewise
from tacit.deploy.coordinator.sums import Stored, Sum
from tacit.deploy.store.blobs import Blobs
from tacit.deploy.wire.packs import read_pack, write_answer, write_pack
from tacit.plan.build import Plan
from tests.deploy.coordinator.test_coordinator_bits import federation

ALGORITHMS = {
    "fedavg": tacit.fedavg(lr=0.1),
    "fedavgm": tacit.fedavg(lr=0.1, momentum=0.9),
    "fedadam": tacit.fedadam(lr=0.1),
    "scaffold": tacit.scaffold(lr=0.1, steps=3),
    "feddyn": tacit.feddyn(lr=0.1, alpha=0.1),
}
BUFFERED = {"cohort": tacit.buffered(size=2, concurrency=3)}


def large(plan: Plan, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr(piecewise, "LARGE", 1 if width else 1 << 30)
    monkeypatch.setattr(piecewise, "WIDTH", width or 1)
    assert piecewise.large(plan) == bool(width)


def closings(plan: Plan, folder: Path, ages: tuple[int, ...]) -> list[Any]:
    """What comes of a start and three rounds."""
    blobs, draw = Blobs(folder / "blobs", folder / "spool"), np.random.default_rng(1)
    write_pack(folder / "start", {"params": draw.standard_normal(plan.layout.size)})
    found: list[Any] = [closing.begun(plan, Key.seed(0), folder / "start", blobs)]
    for round_ in range(3):
        rows = [draw.standard_normal(plan.message.size).astype(np.float32) for _ in ages]
        paths = tuple(folder / f"answer {i}" for i in range(len(rows)))
        for path, row in zip(paths, rows, strict=True):
            write_answer(path, np.abs(row))
        before: Stored = found[-1] if round_ == 0 else found[-1][0]
        held = blobs.sources((before.state, before.offer))
        what = Sum(plan, held[0], held[1], paths, ages, Key.seed(2), round_)
        found.append(closing.closed(what, blobs))
    assert not list((folder / "blobs" / "new").iterdir())
    return found


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("width", [3, 1000])
def test_pieces_have_the_bytes_of_the_whole(
    name: str, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = federation(algorithm=ALGORITHMS[name]).plan()
    found = []
    for one in (0, width):
        (tmp_path / str(one)).mkdir()
        large(plan, monkeypatch, one)
        found.append(closings(plan, tmp_path / str(one), (0, 0, 0)))
    assert found[0] == found[1]


def test_old_answers_count_less_in_pieces_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = federation(algorithm=tacit.fedbuff(lr=0.1), **BUFFERED).plan()
    found = []
    for width in (0, 3):
        (tmp_path / str(width)).mkdir()
        large(plan, monkeypatch, width)
        found.append(closings(plan, tmp_path / str(width), (0, 2)))
    assert found[0] == found[1]


def test_a_model_that_is_not_finite_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = federation(algorithm=tacit.fedavg(lr=0.1, server_lr=1e308)).plan()
    large(plan, monkeypatch, 3)
    with pytest.raises(tacit.TacitError) as raised:
        closings(plan, tmp_path, (0, 0, 0))
    assert raised.value.code == "round.model-not-finite"
    assert not list((tmp_path / "blobs" / "new").iterdir())


def test_a_start_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    plan = federation().plan()
    for wrong in (np.zeros(3), np.zeros(plan.layout.size, np.int64), {"a": 1.0}):
        write_pack(tmp_path / "start", {"params": wrong})
        with pytest.raises(tacit.TacitError) as raised:
            closing.uploaded(plan, tmp_path / "start")
        assert raised.value.code == "deploy.start"
    good = np.arange(plan.layout.size, dtype=float)
    write_pack(tmp_path / "start", {"params": good})
    part = closing.uploaded(plan, tmp_path / "start")
    assert part.read(0, part.size).tobytes() == good.tobytes()
    assert read_pack(tmp_path / "start")["params"].tobytes() == good.tobytes()
