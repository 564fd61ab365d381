"""What holds for every test: one thread each, repeatable properties, and runs without PyTorch."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import final

import pytest
from hypothesis import settings

# Before any test imports numpy: the workers of one run share the cores.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

settings.register_profile("tacit", deadline=None, max_examples=50)
settings.register_profile("tacit-ci", settings.get_profile("tacit"), derandomize=True)
settings.load_profile("tacit-ci" if os.environ.get("CI") else "tacit")


@cache
def uses_torch(path: Path) -> bool:
    """Whether a module imports PyTorch, or belongs to the tests of what tacit does with it."""
    test = Path(__file__).parent in path.parents
    names = [name for node in _run(ast.parse(path.read_text("utf-8"))) for name in _imported(node)]
    return any(
        re.match(r"torch\b|tacit\.(learn\.)?torch" if test else r"torch\b", n) for n in names
    )


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below one, but for what only a type checker reads."""
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=orelse):
            children: Iterable[ast.AST] = orelse
        case _:
            children = ast.iter_child_nodes(node)
    for child in children:
        yield child
        yield from _run(child)


def _imported(node: ast.AST) -> list[str]:
    """The dotted names that a node imports or reaches through the facade."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names):
            return [f"{module}.{alias.name}" for alias in names]
        case ast.Attribute(value=ast.Name(id="tacit"), attr=name):
            return [f"tacit.{name}"]
        case ast.Call(func=ast.Name(id="optional"), args=[ast.Constant(value=str(name)), *_]):
            return [name]
    return []


@final
class WithoutTorch:
    """Leaves out what needs PyTorch, and says what that is."""

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """True for a module that cannot be imported here."""
        return (collection_path.suffix == ".py" and uses_torch(collection_path)) or None

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Deselect single tests that carry the mark."""
        marked = [item for item in items if item.get_closest_marker("torch")]
        items[:] = [item for item in items if item not in marked]
        config.hook.pytest_deselected(items=marked)

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, config: pytest.Config
    ) -> None:
        """Name the modules that did not run."""
        paths = [
            path.relative_to(config.rootpath)
            for folder in config.getini("testpaths")
            for path in sorted((config.rootpath / folder).rglob("*.py"))
            if uses_torch(path)
        ]
        terminalreporter.write_line("Left out, for they need PyTorch (TACIT_WITHOUT_TORCH=1):")
        for path in paths:
            terminalreporter.write_line(f"  {path}")


def pytest_configure(config: pytest.Config) -> None:
    """Leave PyTorch out only where it is missing and the environment says that this is meant."""
    if os.environ.get("TACIT_WITHOUT_TORCH") == "1" and find_spec("torch") is None:
        config.pluginmanager.register(WithoutTorch(), "without-torch")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of modules that need PyTorch, so that `-m torch` selects them."""
    if item.path.suffix == ".py" and uses_torch(item.path):
        item.add_marker("torch")
