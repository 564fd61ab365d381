"""Optional packages: imported when first used, with an error that names the extra to install."""

from __future__ import annotations

import importlib
from typing import Any

from tacit.base.errors import TacitError

_EXTRAS = {
    "torch": "torch",
    "sklearn": "sklearn",
    "dp_accounting": "dp",
    "matplotlib": "plot",
    "pandas": "pandas",
    "pyarrow": "arrow",
    "ray": "ray",
}

DEPLOY = (
    "alembic", "cryptography", "fsspec", "granian", "httpx", "prometheus_client", "psutil",
    "psycopg", "sqlalchemy", "starlette", "structlog",
)  # fmt: skip
"""Packages of the extra "deploy"; `tacit.deploy` imports them plainly."""


def optional(module: str, feature: str) -> Any:
    """Import `module`, or raise `task.missing-extra` naming what needs it and how to get it."""
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] != package:
            raise
        raise TacitError(
            "task.missing-extra", feature=feature, package=package, extra=_EXTRAS[package]
        ) from missing


def load_deployment(module: str, feature: str) -> Any:
    """Import a module that needs the extra "deploy", or raise `task.missing-extra`."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package not in DEPLOY:
            raise
        raise TacitError(
            "task.missing-extra", feature=feature, package=package, extra="deploy"
        ) from missing
