"""The commands of a federation's members where there is nobody to talk to: words and statuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tacit.deploy.client.home import Coordinator, Home, coordinator_text
from tacit.deploy.identity.keys import Identity
from tests.cli.scenes import refused, said, small


@pytest.fixture
def member(place: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A researcher whose coordinator is gone: nothing listens at its address."""
    monkeypatch.setenv("TACIT_HOME", str(place / "tacit"))
    home = Home(place / "tacit" / "members" / "ada")
    home.folder.mkdir(parents=True)
    identity = Identity.create(home.key)
    known = Coordinator("https://127.0.0.1:9", identity.id, "ada", "researcher", "", "")
    home.coordinator.write_text(coordinator_text(known), "utf-8")
    return home


@pytest.mark.parametrize(
    "words",
    [
        ("client",),
        ("client", "log"),
        ("client", "show"),
        ("client", "leave", "run"),
        ("peers", "list"),
        ("peers", "approve", "east"),
        ("peers", "remove", "east"),
        ("data", "list"),
    ],
)
def test_a_home_that_is_not_there(member: Home, place: Path, words: tuple[str, ...]) -> None:
    error = refused(*words, "--home", place / "nowhere")
    assert error["code"] == "client.home-missing" and "nowhere" in error["cause"]
    assert not (place / "nowhere").exists()
    assert refused(*words)["code"] == "client.which-home"


def test_an_address_without_a_membership(member: Home, place: Path) -> None:
    small(place)
    for words in (
        ("run", "app.toml"),
        ("runs", "list"),
        ("runs", "logs", "x"),
        ("members", "list"),
    ):
        error = refused(*words, "--on", "https://127.0.0.1:8")
        assert error["code"] == "client.no-membership"
        assert "https://127.0.0.1:8" in error["cause"] and "tacit join" in error["remedy"]


@pytest.mark.parametrize("text", ["hello", "tacit-invite-", "tacit-invite-e30", "x" * 5000])
def test_what_is_no_invitation(member: Home, text: str) -> None:
    assert refused("join", text)["code"].startswith("invitation.")


def test_nothing_is_approved_unasked(member: Home, place: Path) -> None:
    home = place / "tacit" / "clients" / "north"
    home.mkdir(parents=True)
    Identity.create(home / "key")
    text = member.coordinator.read_text("utf-8")
    (home / "coordinator.toml").write_text(text, "utf-8")
    (home / "policy.toml").write_text("code = []\n", "utf-8")
    told = said("approve", small(place))
    assert told == {"code": [], "approved": []}
    assert said("client", "show")["runs"] == []
    assert refused("client", "leave", "other")["code"] == "client.not-in-run"
