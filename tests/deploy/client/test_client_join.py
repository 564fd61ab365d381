"""Joining: all of it or nothing, once, and never over another client's key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from tacit.base.errors import TacitError
from tacit.deploy.client.home import Home, read_coordinator
from tacit.deploy.client.join import join
from tacit.deploy.client.owner import OwnerPolicy, read_policy
from tacit.deploy.client.transport import Refused, Request, Response, Wire
from tacit.deploy.identity.invitation import Invitation
from tacit.deploy.identity.keys import Identity, member_id
from tacit.deploy.wire import messages as wire
from tacit.deploy.wire.signing import Head, check, parse
from tacit.deploy.wire.statements import decoded
from tests.deploy.client.test_client_transport import says
from tests.deploy.client.virtual import START, VirtualClock, played

INVITATION = Invitation(
    "https://coordinator:8443", "SHA256:" + "a" * 43, "c" * 22, wire.Role.CLIENT, "clinic"
)


@dataclass
class Door:
    """Enrols whoever has the code, and the same key again."""

    role: wire.Role = wire.Role.CLIENT
    loses: int = 0
    refuses: bool = False
    keys: list[str] = field(default_factory=list)

    async def exchange(
        self, request: Request, content: bytes, headers: Mapping[str, str]
    ) -> Response:
        body = msgspec.json.decode(content, type=wire.Enrolment)
        key, claimed = decoded(body.public_key), parse(headers)
        check(Head("POST", "/v1/enrol", "", claimed.digest), claimed, key)
        self.keys.append(body.public_key)
        if len(self.keys) <= self.loses:
            raise ConnectionResetError
        if self.refuses or len(set(self.keys)) > 1:
            return says(403, "invitation.used")(request, content, headers)
        enrolled = wire.Enrolled(member_id(key), body.name, self.role, START)
        return Response(200, {}, wire.encode(enrolled))

    async def close(self) -> None:
        """Nothing is open."""

    async def reach(self, invitation: Invitation) -> tuple[str, Wire]:
        return "PEM\nof the authority", self


def joined(home: Home, door: Door, text: str = "", name: str = "") -> str:
    text = text or INVITATION.text()
    return played(join(text, home, VirtualClock(), os.urandom, name=name, reach=door.reach)).name


def test_a_home_with_everything_in_it(tmp_path: Path) -> None:
    home = Home(tmp_path / "clinic")
    assert joined(home, Door()) == "clinic"
    known = read_coordinator(home)
    assert (known.url, known.authority) == (INVITATION.url, "PEM\nof the authority")
    assert known.id == Identity.load(home.key).id and known.role == "client"
    assert read_policy(home) == OwnerPolicy()
    assert [entry.name for entry in tmp_path.iterdir()] == ["clinic"]
    assert "invitation" not in {entry.name for entry in home.folder.iterdir()}


def test_researchers_have_no_policy(tmp_path: Path) -> None:
    home = Home(tmp_path / "ada")
    joined(home, Door(wire.Role.RESEARCHER))
    assert read_coordinator(home).role == "researcher" and not home.policy.exists()
    with pytest.raises(TacitError) as refused:
        home.check()
    assert refused.value.code == "client.home-missing"


def test_joining_twice_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "clinic")
    joined(home, Door())
    before = home.key.read_bytes()
    with pytest.raises(TacitError) as refused:
        joined(home, Door())
    assert refused.value.code == "client.home-taken" and home.key.read_bytes() == before


def test_a_refused_invitation_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        joined(Home(tmp_path / "clinic"), Door(refuses=True))
    assert refused.value.code == "invitation.used" and not any(tmp_path.iterdir())


def test_a_lost_reply_joins_again_with_the_same_key(tmp_path: Path) -> None:
    home, door = Home(tmp_path / "clinic"), Door(loses=6)
    with pytest.raises(TacitError) as lost:
        joined(home, door)
    assert lost.value.code == "client.unreachable" and not home.folder.exists()
    joined(home, door)
    assert len(set(door.keys)) == 1 and len(door.keys) == 7
    assert [entry.name for entry in tmp_path.iterdir()] == ["clinic"]


def test_a_name_is_needed_where_the_invitation_has_none(tmp_path: Path) -> None:
    text = Invitation(INVITATION.url, "", "c" * 22, wire.Role.CLIENT).text()
    with pytest.raises(TacitError) as refused:
        joined(Home(tmp_path / "a"), Door(), text)
    assert refused.value.code == "client.no-name" and not any(tmp_path.iterdir())
    assert joined(Home(tmp_path / "a"), Door(), text, "lab") == "lab"


def test_a_text_that_is_no_invitation(tmp_path: Path) -> None:
    with pytest.raises(TacitError) as refused:
        joined(Home(tmp_path / "a"), Door(), INVITATION.text()[:-3])
    assert refused.value.code == "invitation.malformed"
