from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import tacit
from tacit.learn.summary import Holding, Summary, summary


@given(st.lists(st.lists(st.sampled_from([0, 3, 7]), max_size=9), min_size=1, max_size=6))
def test_counts_are_those_of_the_labels(labels: list[list[int]]) -> None:
    held = summary([(np.zeros((len(y), 1)), np.array(y, np.int64)) for y in labels])
    assert held.classes == tuple(sorted({label for y in labels for label in y}))
    for row, y in zip(held.rows, labels, strict=True):
        assert row.records == len(y)
        assert row.counts == tuple(y.count(label) for label in held.classes)
        assert row.shares == tuple(y.count(label) / max(len(y), 1) for label in held.classes)
    assert held.records == sum(map(len, labels))


def test_printed_it_is_a_table_with_shares_and_a_total() -> None:
    held = summary({"North": ([[1]] * 4, [0, 0, 0, 1]), "S": ([[1]], [1])})
    assert str(held).splitlines() == [
        "client  records     0      1",
        "North         4  75 %   25 %",
        "S             1   0 %  100 %",
        "all           5  60 %   40 %",
    ]


def test_many_clients_are_counted_in_one_line() -> None:
    rows = tuple(Holding(f"client-{i}", 1, (1,)) for i in range(100))
    lines = str(Summary((0,), rows)).splitlines()
    assert len(lines) == 33
    assert lines[-2] == "... and 70 more"
    assert lines[-1].split() == ["all", "100", "100", "%"]


def test_labels_that_are_no_classes_leave_the_records() -> None:
    for labels in (np.array([0.5, 1.0]), np.zeros((2, 3), np.int64)):
        held = summary({"North": (np.zeros((2, 1)), labels)})
        assert held.classes == ()
        assert held.rows == (Holding("North", 2, ()),)
        assert str(held).splitlines()[0] == "client  records"


def test_hospitals_hold_what_their_records_say() -> None:
    held = tacit.data.summary(tacit.data.heart_disease())
    assert [row.client for row in held.rows] == ["Cleveland", "Budapest", "Zurich", "Long Beach"]
    assert held.classes == (0, 1)
    assert all(sum(row.counts) == row.records for row in held.rows)
