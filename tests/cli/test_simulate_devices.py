"""`tacit simulate --devices --trace`: the rounds of a run take virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest

import tacit as api
from tacit.record.stored import load_run
from tests.cli.scenes import refused, said, small, tacit

DEVICES = """\
client,step,down,up
north,1,1e6,1e6
east,2,1e6,1e6
south,5,1e6,1e6
"""

NIGHTS = """\
client,start,end
north,0,50
east,0,50
south,20,50
"""


def files(place: Path) -> Path:
    (place / "devices.csv").write_text(DEVICES)
    (place / "nights.csv").write_text(NIGHTS)
    return small(place)


def seconds(folder: str) -> list[float]:
    return [row["seconds"] for row in load_run(folder).history]


def test_a_round_takes_as_long_as_its_slowest_device(place: Path) -> None:
    """One local step of 20 records in a batch of 32, and some hundred bytes at 1 MB/s."""
    path = files(place)
    answer = said("simulate", "--devices", "devices.csv", "--name", "one")
    assert seconds(answer["folder"]) == pytest.approx([5.0, 10.0], abs=0.01)
    app = api.Federation.load(path)
    devices = api.devices.from_csv("devices.csv")
    held = {name: ([[0.0, 1.0]] * 20, [0, 1] * 10) for name in ("north", "east", "south")}
    run = api.simulate(app, held, devices=devices)
    assert [row["seconds"] for row in run.history] == seconds(answer["folder"])


def test_without_devices_time_stands_still(place: Path) -> None:
    files(place)
    assert seconds(said("simulate", "--name", "one")["folder"]) == [0.0, 0.0]


def test_a_trace_says_who_is_there_and_may_repeat(place: Path) -> None:
    """The quorum is all three, who are there together from 20 to 50 s."""
    files(place)
    words = ("simulate", "--devices", "devices.csv", "--trace", "nights.csv")
    once = said(*words, "--name", "one")
    assert seconds(once["folder"]) == pytest.approx([25.0, 30.0], abs=0.01)
    (place / "app.toml").write_text(
        (place / "app.toml").read_text().replace("rounds = 2", "rounds = 7")
    )
    again = said(*words, "--period", "100", "--name", "two")
    assert seconds(again["folder"])[-1] > 100
    assert "nobody" in refused(*words, "--name", "three")["code"]


def test_a_trace_alone_is_not_understood(place: Path) -> None:
    files(place)
    result = tacit("simulate", "--trace", "nights.csv")
    assert result.exit_code == 2
    assert "--trace needs --devices" in result.stderr


def test_a_line_that_makes_no_sense_is_named_before_anything_runs(place: Path) -> None:
    files(place)
    (place / "devices.csv").write_text(DEVICES.replace("east,2", "east,soon"))
    error = refused("simulate", "--devices", "devices.csv")
    assert error["code"] == "run.csv-line"
    assert "devices.csv" in error["cause"] and "3" in error["cause"]
    (place / "devices.csv").write_text(DEVICES.replace("south", "west"))
    assert refused("simulate", "--devices", "devices.csv")["code"] == "run.device-missing"
    assert not Path("runs").exists()
