"""The page for operators names every metric that there is, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from tacit.deploy.coordinator.metrics import Metrics

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "operate.md"


def test_the_page_has_all_metrics() -> None:
    text = Metrics().text().decode()
    kinds = dict(re.findall(r"^# TYPE (tacit_\w+) (\w+)$", text, re.MULTILINE))
    there = {name for name in kinds if not name.endswith("_created")}
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `tacit_")]
    shown = {name for row in rows for name in re.findall(r"`(tacit_\w+)`", row)}
    assert shown == there
