"""What settings of algorithms must be; each refusal names the setting."""

from __future__ import annotations

import numpy as np

from tacit.base.errors import TacitError


def positive(name: str, value: float) -> None:
    """Refuse a setting that is not a positive, finite number."""
    if not (np.isfinite(value) and value > 0):
        raise TacitError("task.setting", name=name, value=value, rule="a positive number")


def not_negative(name: str, value: float) -> None:
    """Refuse a setting that is negative or not finite."""
    if not (np.isfinite(value) and value >= 0):
        raise TacitError("task.setting", name=name, value=value, rule="zero or more")


def fraction(name: str, value: float) -> None:
    """Refuse a setting that is not in [0, 1)."""
    if not 0 <= value < 1:
        raise TacitError("task.setting", name=name, value=value, rule="in [0, 1)")


def part(name: str, value: float) -> None:
    """Refuse a setting that is not in [0, 1]."""
    if not 0 <= value <= 1:
        raise TacitError("task.setting", name=name, value=value, rule="in [0, 1]")


def whole(name: str, value: int, least: int) -> None:
    """Refuse a setting that is less than a whole number."""
    if value < least:
        rule = f"a whole number from {least}"
        raise TacitError("task.setting", name=name, value=value, rule=rule)
