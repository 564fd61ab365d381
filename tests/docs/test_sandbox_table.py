"""What the page for owners says of the sandbox is what the sandbox says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tacit.deploy.client.sandbox import Fences, report

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "own-your-data.md"

PLATFORMS = [Fences(7, ""), Fences(0, ""), Fences(0, "Linux alone has it")]
"""The columns of the table."""

ROWS = {
    "limits of memory, time, open files": "limits of",
    "no network": "the network",
    "no new processes": "new processes",
    "files: only the data set, Python, system libraries": "files",
    "other processes of the user cannot be signalled": "other processes",
}
"""How a line of the report begins behind "on: " or "off: "."""


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_table_is_what_the_sandbox_reports(row: str) -> None:
    (line,) = (
        line for line in PAGE.read_text("utf-8").splitlines() if line.startswith(f"| {row} |")
    )
    cells = [cell.strip() for cell in line.strip("|").split("|")][1:]
    for said, fences in zip(cells, PLATFORMS, strict=True):
        (told,) = (
            one for one in report(offered=fences) if one.split(": ", 1)[1].startswith(ROWS[row])
        )
        assert told.startswith("on: ") == (said == "yes")
