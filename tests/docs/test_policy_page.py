"""The page about the owner's policy has every setting that there is."""

from __future__ import annotations

from dataclasses import fields

import pytest

from docs.reference.generate import policy_page
from tacit.deploy.client.owner import Cap, Limits, OwnerPolicy

SETTINGS = [one.name for kind in (OwnerPolicy, Limits, Cap) for one in fields(kind)]


@pytest.mark.parametrize("name", [one for one in SETTINGS if one not in ("limits", "epsilon")])
def test_a_setting_has_its_line(name: str) -> None:
    assert policy_page().count(f"| `{name}` | ") == 1


def test_the_tables_have_their_lines() -> None:
    page = policy_page()
    assert "| `[limits]` | | " in page
    assert "| `[epsilon.heart]` | | " in page
