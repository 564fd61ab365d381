"""A mapping that grows, beside plain dicts that are copied."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.round.grown import Grown

steps = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5), st.integers(0, 99)))


@given(steps)
def test_every_version_stays_what_it_was(changes: list[tuple[int, int, int]]) -> None:
    """Each change grows some earlier version, not only the newest."""
    found: list[Grown[int]] = [Grown()]
    expected: list[dict[int, int]] = [{}]
    for which, key, value in changes:
        before = which % len(found)
        found.append(found[before].grown(key, value))
        expected.append({**expected[before], key: value})
    for version, held in zip(found, expected, strict=True):
        assert version == held and list(version) == list(held)
        assert len(version) == len(held)
        assert all((key in version) == (key in held) for key in range(6))
        assert Grown.of(held) == version


def test_what_a_newer_version_has_is_not_in_an_older_one() -> None:
    old: Grown[str] = Grown()
    new = old.grown(3, "x")
    assert new[3] == "x" and 3 not in old
    with pytest.raises(KeyError):
        old[3]
    assert repr(new) == "{3: 'x'}"


def test_growing_the_newest_version_copies_nothing() -> None:
    first = Grown[int]().grown(1, 1)
    assert first.grown(2, 2).store is first.store
    assert first.grown(3, 3).store is not first.store
