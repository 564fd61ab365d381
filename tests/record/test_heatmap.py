from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tacit
from tacit.base.errors import TacitError
from tacit.record.heatmap import heatmap

CLIENTS = {"North": ([[1.0]] * 4, [0, 0, 0, 1]), "South": ([[1.0]] * 200, [1] * 199 + [2])}


def bars(axes: Any) -> list[float]:
    return [bar.get_width() for bar in axes.patches]


def test_rows_are_clients_columns_classes_and_bars_records() -> None:
    shares, records = heatmap(CLIENTS).axes
    (image,) = shares.get_images()
    assert np.array_equal(np.asarray(image.get_array()), [[0.75, 0.25, 0], [0, 0.995, 0.005]])
    assert [label.get_text() for label in shares.get_xticklabels()] == ["0", "1", "2"]
    assert [label.get_text() for label in shares.get_yticklabels()] == ["North", "South"]
    assert bars(records) == [4, 200]
    low, high = shares.get_ylim()
    assert low > high, "the first client is on top"


def test_small_maps_have_numbers_in_their_cells_and_large_ones_a_scale() -> None:
    shares, _ = heatmap(CLIENTS).axes
    assert [text.get_text() for text in shares.texts] == ["75", "25", "100", "<1"]
    many = [([[1.0]] * 4, [0, 1, 2, 3])] * 100
    large, _, scale = heatmap(many).axes
    assert not large.texts
    assert large.get_ylabel() == "100 clients"
    assert scale.get_yticklabels()


def test_without_classes_only_records_are_drawn() -> None:
    (axes,) = heatmap({"North": ([[1.0]], [0.5]), "South": ([[1.0]] * 3, [0.5] * 3)}).axes
    assert bars(axes) == [1, 3]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["North", "South"]


def test_a_summary_is_drawn_and_saved(tmp_path: Path) -> None:
    held = tacit.data.summary(CLIENTS)
    heatmap(held, tmp_path / "held.png")
    assert (tmp_path / "held.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(TacitError) as caught:
        heatmap(held, tmp_path / "held.bmp")
    assert caught.value.code == "task.setting"
