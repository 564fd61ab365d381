from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from tacit.base.errors import TacitError
from tacit.base.plain import digest, from_plain, tagged, to_plain


@dataclass(frozen=True)
class Inner:
    name: str
    size: int = 1


@dataclass(frozen=True)
class Outer:
    kind: ClassVar[str] = "outer"

    rate: float
    mode: Literal["a", "b"] = "a"
    parts: tuple[Inner, ...] = ()
    cap: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def test_round_trip() -> None:
    value = Outer(0.1, "b", (Inner("x"), Inner("y", 2)), None, {"width": 3})
    assert from_plain(Outer, to_plain(value)) == value
    assert "cap" not in to_plain(value)


def test_a_whole_number_for_a_real_setting_is_the_same_setting() -> None:
    assert digest(to_plain(Outer(3))) == digest(to_plain(Outer(3.0)))
    assert digest(to_plain(Outer(np.float64(0.5)))) == digest(to_plain(Outer(0.5)))


@pytest.mark.parametrize(
    ("plain", "code", "words"),
    [
        ({"rate": 1, "mod": "a"}, "description.unknown", "Did you mean 'mode'?"),
        ({}, "description.missing", "'rate' is missing"),
        ({"rate": "fast"}, "description.type", "rate: Expected"),
        ({"rate": 1, "mode": "c"}, "description.type", "mode"),
        (
            {"rate": 1, "parts": [{"name": "x", "sizes": 2}]},
            "description.unknown",
            "parts[0].sizes",
        ),
        ({"rate": 1, "parts": {"name": "x"}}, "description.type", "not a list"),
        ({"rate": 1, "parts": ["x"]}, "description.type", "parts[0]: not a table"),
        ({"rate": True}, "description.type", "rate"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(plain: Any, code: str, words: str) -> None:
    with pytest.raises(TacitError) as caught:
        from_plain(Outer, plain)
    assert caught.value.code == code
    assert words in str(caught.value)


@pytest.mark.parametrize("kind", [["outer"], {}, 3, None])
def test_a_kind_that_is_no_name_is_refused(kind: Any) -> None:
    with pytest.raises(TacitError) as refused:
        tagged({"outer": Outer}, {"kind": kind, "rate": 1.0}, ("task",))
    assert refused.value.code == "description.unknown"


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(TacitError, match=r"Did you mean 'outer'\?"):
        tagged({"outer": Outer}, {"kind": "outr", "rate": 1.0}, ("task",))
    with pytest.raises(TacitError, match="'kind' is missing"):
        tagged({"outer": Outer}, {"rate": 1.0}, ("task",))
