"""Members, invitations and vouches, on every database."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from sqlalchemy import insert

from tacit.base.errors import TacitError
from tacit.deploy.store import invitations, members, tables, vouches
from tacit.deploy.store.database import Database
from tacit.deploy.store.invitations import Invited
from tacit.deploy.wire.messages import Role
from tests.deploy.store.conftest import Opening
from tests.deploy.store.rows import member

CODE = "ab" * 32


def invited(expires: float = 10.0, name: str | None = None, by: str = "") -> Invited:
    return Invited(CODE, Role.CLIENT, name, expires, by)


def test_a_member_is_found_by_key_and_by_name(database: Database) -> None:
    ann, bob = member(1, name="ann"), member(2, Role.AUDITOR, name="bob")
    with database.begin() as c:
        members.add(c, bob)
        members.add(c, ann)
    with database.read() as c:
        assert members.get(c, ann.id) == members.named(c, "ann") == ann
        assert members.get(c, "nobody") is members.named(c, "nobody") is None
        assert members.listed(c) == (ann, bob)
        assert members.listed(c, Role.AUDITOR) == (bob,)


@pytest.mark.parametrize(
    ("second", "code"),
    [
        (member(2, name="ann"), "store.name-taken"),
        (member(1, name="other"), "store.enrolled"),
    ],
)
def test_names_and_keys_are_given_once(
    database: Database, second: members.Member, code: str
) -> None:
    with database.begin() as c:
        members.add(c, member(1, name="ann"))
        members.revoke(c, member(1).id, 5.0)
    with pytest.raises(TacitError) as raised, database.begin() as c:
        members.add(c, second)
    assert raised.value.code == code


@pytest.mark.parametrize(
    "wrong", [{"role": "king"}, {"id": member(1).id}, {"name": "m1"}, {"public_key": None}]
)
def test_the_database_itself_refuses_what_must_not_be(
    database: Database, wrong: dict[str, object]
) -> None:
    row = {"id": "x", "name": "y", "role": "client", "public_key": b"k", "enrolled": 0.0}
    with database.begin() as c:
        members.add(c, member(1))
    with pytest.raises(TacitError) as raised, database.begin() as c:
        c.execute(insert(tables.members).values({**row, **wrong}))
    assert raised.value.code == "store.conflict"


def test_revocation_is_once_and_for_good(database: Database) -> None:
    with database.begin() as c:
        members.add(c, member(1))
        assert members.revoke(c, member(1).id, 5.0)
        assert not members.revoke(c, member(1).id, 6.0)
        assert not members.revoke(c, "nobody", 6.0)
    with database.read() as c:
        assert members.get(c, member(1).id) == replace(member(1), revoked=5.0)


def test_an_invitation_is_good_for_one(database: Database) -> None:
    with database.begin() as c:
        members.add(c, member(9, Role.OPERATOR))
        kept = invited(name="ann", by=member(9).id)
        invitations.invite(c, kept)
    with database.begin() as c:
        assert invitations.redeem(c, CODE, member(1).id, 9.0) == kept
        members.add(c, member(1))  # after the invitation that names it
    with pytest.raises(TacitError) as raised, database.begin() as c:
        invitations.redeem(c, CODE, member(2).id, 9.0)
    assert raised.value.code == "invitation.used"


def test_an_invitation_for_nobody_is_undone(database: Database) -> None:
    with database.begin() as c:
        invitations.invite(c, invited())
    with pytest.raises(TacitError) as raised, database.begin() as c:
        invitations.redeem(c, CODE, member(1).id, 9.0)
    assert raised.value.code == "store.conflict"
    with database.begin() as c:  # it is still good
        invitations.redeem(c, CODE, member(1).id, 9.0)
        members.add(c, member(1))


def test_late_and_unknown_invitations_are_told_apart(database: Database) -> None:
    with database.begin() as c:
        invitations.invite(c, invited(expires=10.0))
    for code, now, expected in [
        (CODE, 10.0, "invitation.expired"),
        ("cd" * 32, 1.0, "invitation.unknown"),
    ]:
        with pytest.raises(TacitError) as raised, database.begin() as c:
            invitations.redeem(c, code, member(1).id, now)
        assert raised.value.code == expected


def test_expired_invitations_are_forgotten_and_used_ones_kept(database: Database) -> None:
    with database.begin() as c:
        members.add(c, member(1))
        for letter, expires in [("a", 1.0), ("b", 1.0), ("c", 9.0)]:
            invitations.invite(c, Invited(letter, Role.CLIENT, None, expires))
        invitations.redeem(c, "b", member(1).id, 0.5)
        assert invitations.forget(c, 5.0) == 1
        assert invitations.redeem(c, "c", member(1).id, 2.0).expires == 9.0


def test_of_many_who_race_for_an_invitation_one_wins(shared_url: str, opening: Opening) -> None:
    databases = [opening(shared_url) for _ in range(4)]
    with databases[0].begin() as c:
        invitations.invite(c, invited())
        for number in range(4):
            members.add(c, member(number))
    together = threading.Barrier(4)
    outcomes: list[str] = []

    def race(number: int) -> None:
        together.wait()
        try:
            with databases[number].begin() as c:
                invitations.redeem(c, CODE, member(number).id, 1.0)
            outcomes.append("won")
        except TacitError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["invitation.used"] * 3 + ["won"]


def test_vouches_are_kept_by_voucher(database: Database) -> None:
    with database.begin() as c:
        for number in range(4):
            members.add(c, member(number))
        vouches.add(c, member(0).id, member(2).id, b"old")
        vouches.add(c, member(0).id, member(1).id, b"one")
        vouches.add(c, member(0).id, member(2).id, b"two")
        vouches.add(c, member(1).id, member(3).id, b"three")
    with database.begin() as c:
        expected = ((member(1).id, b"one"), (member(2).id, b"two"))
        assert vouches.of(c, member(0).id) == expected
        assert vouches.of(c, member(3).id) == ()
        third = ((member(3).id, b"three"),)
        assert vouches.every(c) == {member(0).id: expected, member(1).id: third}
        members.revoke(c, member(2).id, 1.0)
        assert vouches.of(c, member(0).id) == expected[:1]


def test_a_vouch_for_nobody_is_refused(database: Database) -> None:
    with database.begin() as c:
        members.add(c, member(1))
    with pytest.raises(TacitError) as raised, database.begin() as c:
        vouches.add(c, "nobody", member(1).id, b"s")
    assert raised.value.code == "store.conflict"
