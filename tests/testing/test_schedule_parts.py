"""Processes that die, disks that forget, and schedules that shrink."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from tacit.testing.disk import Disks
from tacit.testing.node import Death, Node
from tacit.testing.schedule import FAULTS, Fault, Schedule, schedule_of, shrunk
from tacit.testing.virtual_time import VirtualLoop


@pytest.fixture
def disks(tmp_path: Path) -> Disks:
    loop = VirtualLoop()
    loop.close()
    made = Disks(tmp_path)
    node = Node("one", tmp_path / "one", loop)
    node.folder.mkdir()
    made.add(node)
    node.born()
    return made


def test_a_process_dies_at_its_operation_and_does_nothing_more(disks: Disks) -> None:
    node = disks.nodes["one"]
    first, second = node.folder / "first", node.folder / "second"
    node.arm(1, 0.0, power=False)
    with disks:
        first.write_bytes(b"1")
        with pytest.raises(Death):
            second.write_bytes(b"2")
        with pytest.raises(Death):
            first.unlink()
        with pytest.raises(Death):
            first.read_bytes()
    assert first.exists()
    assert not second.exists()


def test_a_power_cut_forgets_what_was_not_flushed(disks: Disks) -> None:
    node, found = disks.nodes["one"], set()
    for seed in range(40):
        with disks:
            (node.folder / "made").write_bytes(b"abcd")
            (node.folder / "made").rename(node.folder / "named")
            disks.cut(node, random.Random(seed))  # noqa: S311
        names = sorted(path.name for path in node.folder.iterdir())
        found.add((*names, *((node.folder / name).read_bytes() for name in names)))
        for name in names:
            (node.folder / name).unlink()
    assert () in found
    assert ("named", b"abcd") in found
    assert ("named", b"ab") in found


def test_a_power_cut_keeps_what_was_flushed(disks: Disks) -> None:
    node = disks.nodes["one"]
    for seed in range(20):
        with disks:
            with (node.folder / "made").open("wb") as file:
                file.write(b"abcd")
                file.flush()
                os.fsync(file.fileno())
            folder = os.open(node.folder, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
            disks.cut(node, random.Random(seed))  # noqa: S311
        assert (node.folder / "made").read_bytes() == b"abcd"


def test_a_full_disk_takes_nothing_new(disks: Disks) -> None:
    node = disks.nodes["one"]
    node.full = float("inf")
    with disks, pytest.raises(OSError, match="No space"):
        (node.folder / "made").write_bytes(b"abcd")
    assert not (node.folder / "made").exists()


def test_files_of_others_are_left_alone(disks: Disks, tmp_path: Path) -> None:
    disks.nodes["one"].die()
    with disks:
        (tmp_path / "other").write_bytes(b"1")
        (tmp_path / "other").unlink()
    assert not (tmp_path / "other").exists()


def test_a_number_is_a_schedule() -> None:
    found = [schedule_of(seed) for seed in range(300)]
    assert found == [schedule_of(seed) for seed in range(300)]
    assert {fault.what for one in found for fault in one.faults} == set(FAULTS)
    for one in found[:20]:
        names = {"Schedule": Schedule, "Fault": Fault}
        assert eval(one.literal, names) == one  # noqa: S307


def test_a_failing_schedule_shrinks_to_what_fails() -> None:
    big = replace(schedule_of(5), faults=tuple(Fault(n, "kill", 0, 9, 30.0) for n in range(8)))

    def fails(one: Schedule) -> bool:
        return any(fault.at >= 3 and fault.amount >= 2 for fault in one.faults)

    small = shrunk(big, fails)
    assert fails(small)
    assert len(small.faults) == 1
    assert small.faults[0][3:] == (2, 0.0)
