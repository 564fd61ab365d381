"""Order rules that several stages share; each refusal says why and what to do."""

from __future__ import annotations

from tacit.base.errors import Unsound
from tacit.protect.form import Form, Place


def at_client(form: Form, stage: str) -> None:
    """The stage works on single answers, before they are summed."""
    if form.place is not Place.CLIENT:
        raise Unsound("chain.after-sum", stage=stage)


def at_total(form: Form, stage: str) -> None:
    """The stage works on the opened sum."""
    if form.place is Place.CLIENT:
        raise Unsound("chain.before-sum", stage=stage)
    if form.place is Place.MEAN:
        raise Unsound("chain.after-mean", stage=stage)


def before_noise(form: Form, stage: str) -> None:
    """The stage would rescale or cut the noise."""
    if form.noise:
        raise Unsound("chain.after-noise", stage=stage)


def before_rounding(form: Form, stage: str) -> None:
    """The stage needs real numbers."""
    if not form.real:
        raise Unsound("chain.after-rounding", stage=stage)
