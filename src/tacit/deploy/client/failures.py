"""What may be told of a failure: where in the code and of which class, never a value.

Messages of exceptions quote data, so none leaves. Names come from code, and code can name things
after what it read; so a name that is no plain identifier of a usual length is left out too.
"""

from __future__ import annotations

import hashlib
import platform
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from types import CodeType, FrameType
from typing import NamedTuple

from tacit.base.errors import TacitError
from tacit.deploy.client.runner import Phase, TurnFailed
from tacit.plan.build import Plan

LONGEST_TRACEBACK = 8000
_MOST_CAUSES, _MOST_FRAMES = 5, 40

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,59}", re.ASCII)
_INNER = ("<module>", "<lambda>", "<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>")
_PACKAGES = ("tacit", "numpy", "msgspec", "torch", "scikit-learn", "pandas", "pyarrow", "xgboost")


class Redacted(NamedTuple):
    """An exception's class, where it came from, and a digest of what was installed."""

    error: str
    traceback: str
    environment: str


def redacted(error: BaseException) -> Redacted:
    """What another may know of a failure: no messages, values, source lines or paths.

    An error that wraps what user code raised has the class of what was raised.
    """
    told = [part for one in _causes(error) for part in _told(one)]
    text = "\n".join(told)
    if len(text) > LONGEST_TRACEBACK:
        text = text[:LONGEST_TRACEBACK].rpartition("\n")[0] + "\n..."
    return Redacted(_class(origin(error)), text, environment())


def origin(error: BaseException) -> BaseException:
    """What user code raised, behind the error that names it."""
    wrapped = isinstance(error, TacitError) and error.__cause__ is not None
    return error.__cause__ if wrapped and error.__cause__ is not None else error


@cache
def environment() -> str:
    """SHA-256 (hex) of Python, the platform and the packages that compute."""
    python = (sys.version, platform.platform(), platform.machine())
    versions = sorted(f"{name} {_version(name)}" for name in _PACKAGES)
    return hashlib.sha256("\n".join((*python, *versions)).encode()).hexdigest()


def told(failure: TurnFailed, plan: Plan | None) -> TurnFailed:
    """What of a failure may leave. Under a DP plan that is one fixed code, whatever went wrong.

    What went wrong depends on the records, and a promise of DP covers all that leaves. Without a
    plan nothing is known of its promises, and the same holds.
    """
    if plan is not None and plan.form.noise is None:
        return TurnFailed(
            failure.phase,
            failure.code,
            error=failure.error,
            traceback=failure.traceback,
            environment=failure.environment,
        )
    fixed: Phase = "code"
    return TurnFailed(fixed, "client.turn-failed")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "-"


def _causes(error: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if one is None:
            return
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _told(error: BaseException) -> Iterator[str]:
    yield _class(error) + (f" [{error.code}]" if isinstance(error, TacitError) else "")
    at, frames = error.__traceback__, []
    while at is not None:
        frames.append(f"  {_module(at.tb_frame)}:{at.tb_lineno} in {_function(at.tb_frame.f_code)}")
        at = at.tb_next
    # The innermost say most.
    yield from reversed(frames[-_MOST_FRAMES:])


def _class(error: BaseException) -> str:
    name = type(error).__name__
    return name if _NAME.fullmatch(name) else "Exception"


def _function(code: CodeType) -> str:
    known = code.co_name in _INNER or _NAME.fullmatch(code.co_name)
    return code.co_name if known else "?"


def _module(frame: FrameType) -> str:
    """`package/module.py`, of a module that really was imported from the frame's file."""
    name = frame.f_globals.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    file = getattr(module, "__file__", None)
    if not isinstance(name, str) or file != frame.f_code.co_filename:
        return "?"
    parts = name.split(".")
    if not all(_NAME.fullmatch(part) for part in parts):
        return "?"
    package = Path(file).name == "__init__.py"
    return "/".join(parts) + ("/__init__.py" if package else ".py")
