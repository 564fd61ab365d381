"""How soon something happens: importing, help, a trivial job, and the demo, as whole processes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.common import HERE, median_of, python, report


def _median(runs: int, *arguments: str) -> float:
    """Median wall seconds after one run that fills the caches."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        python(*arguments, folder=here)
        return median_of(runs, lambda: python(*arguments, folder=here).seconds)


def import_tacit() -> None:
    """A whole `python -c "import tacit"`."""
    value = _median(11, "-c", "import tacit")
    numpy, bare = _median(11, "-c", "import numpy"), _median(11, "-c", "pass")
    report("import_tacit", value, "s", 0.3, import_numpy=numpy, bare_python=bare)


def cli_help() -> None:
    """A whole `tacit --help`."""
    report("cli_help", _median(11, "-m", "tacit.cli.main", "--help"), "s", 0.4)


def trivial_job() -> None:
    """Ten clients, three rounds, logistic regression: a whole script."""
    report("trivial_job", _median(7, str(HERE / "jobs" / "trivial_job.py")), "s", 2.0)


def first_round_torch() -> None:
    """Ten clients and a small torch module: a whole script that ends after its first round."""
    value = _median(7, str(HERE / "jobs" / "torch_job.py"))
    report("first_round_torch", value, "s", 3.0, import_torch=_median(7, "-c", "import torch"))


def demo() -> None:
    """A whole `tacit demo`."""
    report("demo", _median(3, "-m", "tacit.cli.main", "demo"), "s", 10.0)


NAMES = {
    "import_tacit": import_tacit,
    "cli_help": cli_help,
    "trivial_job": trivial_job,
    "first_round_torch": first_round_torch,
    "demo": demo,
}
