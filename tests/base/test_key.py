from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tacit.base.key import Key


def test_a_name_gives_the_same_stream_whatever_was_drawn_before() -> None:
    key = Key.seed(7)
    first = (key / "noise" / 3).words(4)
    (key / "other").words(1000)
    assert np.array_equal(first, (Key.seed(7) / "noise" / 3).words(4))


def test_golden_stream() -> None:
    key = Key.seed(0) / "round" / 3 / "noise"
    assert key.secret.hex()[:32] == "e8e0fac51f6566f5995211a65168f976"


@given(st.integers(), st.integers())
def test_different_seeds_give_different_streams(a: int, b: int) -> None:
    same = np.array_equal(Key.seed(a).words(2), Key.seed(b).words(2))
    assert same == (a == b)


def test_a_number_and_its_text_are_different_names() -> None:
    key = Key.seed(0)
    assert (key / 1).secret != (key / "1").secret


def test_fresh_words_never_repeat_and_the_secret_is_not_shown() -> None:
    key = Key.fresh()
    assert not np.array_equal(key.words(4), key.words(4))
    assert key.secret.hex() not in repr(key) and str(key.secret) not in repr(key)
