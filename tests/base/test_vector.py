from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.base.vector import Kind, Layout, Tensor

shapes = st.lists(st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=5)


@given(shapes, st.integers(0, 2**32 - 1))
def test_pack_and_unpack_are_inverse(found: list[tuple[int, ...]], seed: int) -> None:
    layout = Layout(tuple(Tensor(f"t{i}", shape) for i, shape in enumerate(found)))
    draw = np.random.default_rng(seed)
    arrays = {t.name: draw.normal(size=t.shape) for t in layout.tensors}
    back = layout.unpack(layout.pack(arrays))
    assert all(np.array_equal(arrays[name], back[name]) for name in arrays)


def test_views_write_through() -> None:
    layout = Layout((Tensor("a", (2,)), Tensor("b", (1, 2))))
    vector = np.zeros(4)
    layout.unpack(vector)["b"][...] = 5.0
    assert vector.tolist() == [0, 0, 5, 5]


def test_trained_come_before_buffers_and_names_are_distinct() -> None:
    with pytest.raises(ValueError, match="before buffers"):
        Layout((Tensor("mean", (2,), Kind.BUFFER), Tensor("weight", (2,))))
    with pytest.raises(ValueError, match="distinct"):
        Layout((Tensor("a", (2,)), Tensor("a", (3,))))


def test_digest_tells_layouts_apart() -> None:
    tensors = (Tensor("a", (2, 3)),)
    assert Layout(tensors).digest != Layout((Tensor("a", (3, 2)),)).digest
    assert Layout(tensors).digest != Layout(tensors, "float32").digest
