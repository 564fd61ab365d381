"""Many keys at once are the keys that one derives singly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tacit.base.key import Key
from tacit.protect.keys import Keys


@given(st.integers(0, 2**32), st.lists(st.integers(0, 10**9)), st.text(max_size=9))
def test_names_below_numbers_are_derived_as_a_key_derives_them(
    seed: int, numbers: list[int], name: str
) -> None:
    start = Key.seed(seed) / "client"
    keys = Keys.below(start, numbers)
    assert list(keys) == [start / number for number in numbers]
    assert list(keys / name) == [start / number / name for number in numbers]


def test_keys_that_are_there_stay_as_they_are() -> None:
    held = (Key.seed(1), Key.seed(2))
    assert tuple(Keys.of(held)) == held
    keys = Keys.of(held)
    assert Keys.of(keys) is keys


def test_fresh_keys_stay_fresh() -> None:
    fresh = Key.fresh()
    assert not any(key.seeded for key in Keys.below(fresh, [1, 2]) / "name")
    assert not Keys.of((fresh,)).seeded
    assert Keys.of((Key.seed(0),)).seeded
