"""Time to accuracy as a table and a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tacit
from tacit.record.time_to import Reached, time_to, times_to


def data() -> dict[str, tuple[Any, Any]]:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(6, 40, 3))
    return {f"site-{i}": (x[i], (x[i] @ [1.0, -2.0, 0.5] > 0).astype(int)) for i in range(6)}


def run(**devices: float) -> tacit.Run:
    federation = tacit.Federation(
        task=tacit.numpy.logistic_regression(),
        clients=6,
        data=tacit.arrays(shape=(3,), classes=2),
        algorithm=tacit.fedavg(lr=0.05, batch=0),
        rounds=25,
    )
    made = tacit.devices.lognormal(spread=0.0, **devices)  # type: ignore[arg-type]  # no seed here
    return tacit.simulate(federation, data(), test=data(), devices=made)


def test_the_first_round_that_reaches_a_level() -> None:
    found = run()
    scores = [row["test_accuracy"] for row in found.history]
    level = scores[10]
    first = next(i for i, score in enumerate(scores) if score >= level)
    row = found.history[first]
    assert time_to(found, level) == Reached(row["seconds"], first + 1, row["bytes"])
    assert time_to(found, 1.1) is None
    losses = [row["test_loss"] for row in found.history]
    reached = time_to(found, losses[7], "test_loss")
    assert reached is not None and reached.round == 8


def test_the_table_says_seconds_and_rounds(tmp_path: Path) -> None:
    table = times_to({"fast": run(step=0.1), "slow <b>": run(step=10.0)}, [0.6, 1.1])
    lines = str(table).splitlines()
    assert lines[0].split() == ["seconds", "to", "test_accuracy", "0.6", "1.1"]
    assert lines[1].startswith("fast") and lines[1].endswith("never")
    fast, slow = (time_to(one, 0.6) for one in table.runs.values())
    assert fast is not None and slow is not None
    assert fast.round == slow.round and fast.seconds < slow.seconds
    assert f"{slow.seconds:.4g} ({slow.round})" in lines[2]
    assert "<b>" not in table._repr_html_()
    figure = table.plot(tmp_path / "time.svg")
    assert [line.get_label() for line in figure.axes[0].lines] == ["fast", "slow <b>"]
    assert (tmp_path / "time.svg").stat().st_size > 0
    assert list(figure.axes[0].lines[1].get_xdata()) == pytest.approx(  # type: ignore[arg-type]  # an array
        [row["seconds"] for row in table.runs["slow <b>"].history]
    )
