"""`tacit run --on local`: processes of this machine, and the very bits of the simulation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tacit.record.stored import load_run
from tests.e2e.world import World, bits

pytestmark = pytest.mark.xdist_group("e2e-rehearsals")


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_a_new_app_is_rehearsed_bit_by_bit(world: World, kind: str) -> None:
    """The torch model is the researcher's own code, which every owner has to approve."""
    world.tacit("new", "hello", "--kind", kind)
    place = smaller(world.folder / "hello")
    words = ("--seed", 5, "--quiet", "--out")
    rehearsed = world.shell("run", place, "--on", "local:3", *words, world.folder / "a")
    simulated = world.shell("simulate", place, "--engine", "exact", *words, world.folder / "b")
    one, other = (load_run(done.stdout.strip()) for done in (rehearsed, simulated))
    assert bits(one.params) == bits(other.params)
    assert one.meta["seed"] == other.meta["seed"] == 5
    assert one.meta["digest"] == other.meta["digest"]
    shown = world.say("runs", "show", one.name, "--runs", world.folder / "a")
    assert shown["rounds"]["counted"] == 3 and shown["bytes"] == other.meta["bytes"]


def smaller(folder: Path) -> Path:
    """Three clients and three rounds of the app that `tacit new` made."""
    text = (folder / "app.toml").read_text("utf-8")
    for name, old, new in (("rounds", 20, 3), ("clients", 5, 3), ("quorum", 4, 3)):
        text = text.replace(f"{name} = {old} ", f"{name} = {new} ")
    (folder / "app.toml").write_text(text, "utf-8")
    code = (folder / "app.py").read_text("utf-8")
    (folder / "app.py").write_text(code.replace(', "west", "centre"', ""), "utf-8")
    return folder / "app.toml"


def test_a_rehearsal_names_what_it_lacks(world: World) -> None:
    world.tacit("new", "hello")
    place = world.folder / "hello" / "app.toml"
    # In a process of its own: this one may know another module of that name.
    done = world.shell("run", place, "--on", "local:4", "--json", status=1)
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "client.rehearsal-names"
    assert "4 clients" in error["cause"] and "data has 5" in error["cause"]
