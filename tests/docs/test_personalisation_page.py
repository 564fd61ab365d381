"""The page's figures are those that were measured."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.common import RESULTS
from benchmarks.personal_table import measured_on, table

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "personalisation.md"


def test_the_page_shows_the_table_that_was_measured() -> None:
    page = PAGE.read_text("utf-8")
    assert table() in page
    assert measured_on() in page


def test_both_files_hold_the_same_figures_of_five_seeds() -> None:
    with (RESULTS / "personalisation.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    shown = table()
    assert {row["seeds"] for row in rows} == {"5"}
    for row in rows:
        assert f"{float(row['mean']):.3f}" in shown and f"{float(row['worst']):.3f}" in shown
