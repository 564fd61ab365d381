"""The table of docs/explanation/personalisation.md, from `results/personalisation.json`."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.common import RESULTS

TITLES = {
    "heart_disease": "heart disease",
    "sms_spam": "spam by length",
    "shakespeare_roles": "Shakespeare's roles",
    "mnist_skewed": "skewed MNIST",
}


def table() -> str:
    """One row a method, `mean / worst` test accuracy for each data set; the best in bold."""
    rows = _results()["rows"]
    sets = list(dict.fromkeys(row["data"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    found = {(row["method"], row["data"]): row for row in rows}
    heads = [f"{TITLES[name]} ({found[methods[0], name]['clients']} clients)" for name in sets]
    lines = [["method", *heads], ["---"] * (1 + len(sets))]
    for method in methods:
        cells = [_cell(found[method, name], rows) for name in sets]
        lines.append([method, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def measured_on() -> str:
    """Where and when."""
    about = _results()
    return f"{about['machine']}, {about['date']}"


def _cell(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Pooled training is what nobody may do, so it competes with nobody."""
    rivals = [one for one in rows if one["data"] == row["data"] and one["method"] != "pooled"]
    texts = []
    for part in ("mean", "worst"):
        text, best = f"{row[part]:.3f}", f"{max(one[part] for one in rivals):.3f}"
        texts.append(f"**{text}**" if row in rivals and text == best else text)
    return " / ".join(texts)


def _results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / "personalisation.json").read_text("utf-8"))
    return found


if __name__ == "__main__":
    print(table())
    print(measured_on())
