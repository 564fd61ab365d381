"""Runs benchmarks: `python -m benchmarks.run [name ...]`, each in a process of its own.

A file `bench_*.py` lists its benchmarks in `NAMES`: name -> function without arguments, which ends
with `common.report`.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable

from benchmarks.common import HERE


def found() -> dict[str, str]:
    """Every benchmark's name and the module that has it."""
    modules = [f"benchmarks.{path.stem}" for path in sorted(HERE.glob("bench_*.py"))]
    return {name: module for module in modules for name in _names(module)}


def _names(module: str) -> dict[str, Callable[[], None]]:
    names: dict[str, Callable[[], None]] = importlib.import_module(module).NAMES
    return names


def main(wanted: list[str]) -> int:
    """Run one benchmark here, or several one after the other; the exit status says if all ran."""
    known = found()
    if unknown := [name for name in wanted if name not in known]:
        print(f"No benchmark is called {', '.join(unknown)}. There are: {', '.join(known)}")
        return 2
    if len(wanted) == 1:
        _names(known[wanted[0]])[wanted[0]]()
        return 0
    failed = [name for name in wanted or known if not _alone(name)]
    if failed:
        print(f"Did not finish: {', '.join(failed)}")
    return 1 if failed else 0


def _alone(name: str) -> bool:
    return (
        subprocess.run([sys.executable, "-m", "benchmarks.run", name], check=False).returncode == 0
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
