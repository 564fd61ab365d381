"""What the tests of the commands share: a small federation, its data, and calling `tacit`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from tacit.cli.main import main

PLAIN = {"COLUMNS": "80", "NO_COLOR": "1", "FORCE_COLOR": None, "TTY_COMPATIBLE": None}
"""The width for which the golden files are written, and no colours."""

TOML = """\
format = 1
name = "small"
clients = 3
rounds = 2

[task]
kind = "numpy"
model = "logistic_regression"

[data]
kind = "arrays"
shape = [2]
classes = 2

[algorithm]
kind = "fedavg"
lr = 0.1
"""

CODE = """\
import numpy as np


def data():
    random = np.random.default_rng(0)
    return {
        name: (random.normal(size=(20, 2)), random.integers(2, size=20))
        for name in ("north", "east", "south")
    }


def test_data():
    return data()


def nan():
    held = data()
    held["east"][0][7, 1] = np.nan
    return held


def empty():
    return data() | {"south": (np.zeros((0, 2)), np.zeros(0, int))}


def label():
    held = data()
    held["north"][1][3] = 2
    return held


def crash():
    return 1 / 0


def two():
    return dict(list(data().items())[:2])
"""


def tacit(*arguments: str | Path) -> Result:
    """Call the command in this process."""
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(main, words, prog_name="tacit", env=PLAIN, catch_exceptions=False)


def said(*arguments: str | Path, status: int = 0) -> dict[str, Any]:
    """The one JSON object that `--json` prints."""
    result = tacit(*arguments, "--json")
    assert result.exit_code == status, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def refused(*arguments: str | Path) -> dict[str, str]:
    """The error of a call that must fail: the same for people and for programs."""
    result = tacit(*arguments)
    assert result.exit_code == 1, result.output
    error: dict[str, str] = said(*arguments, status=1)["error"]
    shown = " ".join(result.stderr.split())
    assert " ".join(error["cause"].split()) in shown
    assert " ".join(error["remedy"].split()) in shown
    assert f"[{error['code']}]" in shown
    assert "Traceback" not in shown
    return error


def process(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Call the command as a user does, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tacit", *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def small(folder: Path, **changes: str) -> Path:
    """The small federation and its data, with pieces of the description replaced."""
    text = TOML
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "app.py").write_text(CODE, "utf-8")
    path = folder / "app.toml"
    path.write_text(text, "utf-8")
    return path
