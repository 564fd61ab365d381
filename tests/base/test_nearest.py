from __future__ import annotations

from tacit.base.nearest import did_you_mean


def test_a_hint_is_given_only_when_a_name_is_near() -> None:
    assert did_you_mean("modle", ["model", "loss"]) == "Did you mean 'model'? "
    assert did_you_mean("xyz", ["model", "loss"]) == ""
    assert did_you_mean("model", []) == ""
