"""User code by name: "module:function" and the SHA-256 of the source that stands behind it.

A description never carries code. It names it, and says by digest which code was meant; a client
has its own copy of the module, reviews it, and loads it only when the digest agrees.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import inspect
import linecache
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from tacit.base.errors import TacitError
from tacit.base.nearest import did_you_mean

_REMEMBERED: dict[tuple[str, str], Callable[..., Any]] = {}


class CodeName(NamedTuple):
    """A callable by name, and the SHA-256 (hex) of its module's source with Unix newlines."""

    name: str
    source: str


def code_name(target: str | Callable[..., Any]) -> CodeName:
    """Name a callable, or look up "module:function" and digest its source.

    A callable is remembered under its name and digest for as long as the process lives, so a
    model that was defined in a notebook is found again without an import.
    """
    if isinstance(target, str):
        found = _find(target)
        return CodeName(target, _digest(target, found))
    name = _name_of(target)
    named = CodeName(name, _digest(name, target))
    _REMEMBERED[named] = target
    return named


def load(name: str, expected: str | None = None) -> Callable[..., Any]:
    """The callable behind "module:function"; code whose digest is not `expected` is never run.

    The digest covers the module's own file, not what that file imports.

    Errors: `task.code-name`, `task.code-no-module`, `task.code-no-function`,
    `task.code-no-source`, `task.code-changed`, `task.code-main`.
    """
    if expected is not None and (name, expected) in _REMEMBERED:
        return _REMEMBERED[name, expected]
    module, function = _split(name)
    if expected is not None and module == "__main__":
        return _of_script(name, function, expected)
    if expected is not None and (found := _file_digest(_source_file(name, module))) != expected:
        raise TacitError("task.code-changed", name=name, expected=expected[:12], found=found[:12])
    return _find(name)


@contextmanager
def user_code(name: str, doing: str) -> Iterator[None]:
    """Whatever the user's code raises becomes `task.code-fails`, with the original as its cause."""
    try:
        yield
    except TacitError:
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {error}".rstrip(": ")
        raise TacitError("task.code-fails", name=name, doing=doing, why=why) from error


def _of_script(name: str, function: str, expected: str) -> Callable[..., Any]:
    """A function of the script or notebook that this process runs, if it is the one meant."""
    found: Callable[..., Any] | None = getattr(sys.modules["__main__"], function, None)
    if found is None or _digest(name, found) != expected:
        raise TacitError("task.code-main", name=name)
    return found


def _split(name: str) -> tuple[str, str]:
    module, colon, function = name.partition(":")
    parts = [*module.split("."), *function.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        raise TacitError("task.code-name", name=name)
    return module, function


def _name_of(target: Any) -> str:
    module = getattr(target, "__module__", None)
    function = getattr(target, "__qualname__", None)
    if not callable(target) or module is None or function is None:
        raise TacitError("task.code-not-named", kind=type(target).__name__)
    if "<" in function:
        raise TacitError("task.code-local", name=function)
    return f"{module}:{function}"


def _find(name: str) -> Callable[..., Any]:
    module_name, function = _split(name)
    if module_name != "__main__":
        _source_file(name, module_name)
    with user_code(name, "imported"):
        module = importlib.import_module(module_name)
    try:
        found = functools.reduce(getattr, function.split("."), module)
    except AttributeError:
        hint = did_you_mean(function, _callables(module))
        raise TacitError(
            "task.code-no-function", module=module_name, function=function, hint=hint
        ) from None
    if not callable(found):
        raise TacitError("task.code-not-named", kind=f"{type(found).__name__} ({name})")
    target: Callable[..., Any] = found
    return target


def _callables(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if callable(value)]


def _source_file(name: str, module: str) -> str:
    """The module's source file, found without running the module itself."""
    spec = None
    for path in _prefixes(module):
        findable = spec is None or spec.submodule_search_locations is not None
        with user_code(name, "imported"):
            spec = importlib.util.find_spec(path) if findable else None
        if spec is None:
            raise TacitError("task.code-no-module", module=module, hint=_module_hint(path))
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise TacitError("task.code-no-source", name=name)
    return spec.origin


def _prefixes(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def _module_hint(missing: str) -> str:
    parent, _, _ = missing.rpartition(".")
    folders = getattr(sys.modules.get(parent), "__path__", []) if parent else None
    prefix = f"{parent}." if parent else ""
    return did_you_mean(missing, [found.name for found in pkgutil.iter_modules(folders, prefix)])


def _digest(name: str, target: Callable[..., Any]) -> str:
    """Of the module's file; without one (a notebook), of the cell that defines the target."""
    module = sys.modules.get(name.partition(":")[0])
    file = getattr(module, "__file__", None)
    if file is not None and file.endswith(".py"):
        return _file_digest(file)
    code = _code_of(inspect.unwrap(target))
    cell = "".join(linecache.getlines(code.co_filename)) if code else ""
    if not cell:
        raise TacitError("task.code-no-source", name=name)
    return _text_digest(cell.encode())


def _code_of(target: Any) -> CodeType | None:
    """Of a function, or of any function that a class defines: it says which cell it came from."""
    if isinstance(target, FunctionType):
        return target.__code__
    own = vars(target).values() if inspect.isclass(target) else ()
    return next((part.__code__ for part in own if isinstance(part, FunctionType)), None)


def _file_digest(file: str) -> str:
    return _text_digest(Path(file).read_bytes())


def _text_digest(text: bytes) -> str:
    unix = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return hashlib.sha256(unix).hexdigest()
