"""A coordinator that fills a cohort with puppets gains nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from tacit.base.errors import TacitError
from tacit.deploy.client.database import open_ledger
from tacit.deploy.client.deciding import asked_by
from tacit.deploy.client.records import Records
from tacit.deploy.client.roster import Approved, approved_in, roster_digest, vouched
from tacit.deploy.identity.keys import Identity
from tacit.deploy.wire.messages import Participant, Peer, Peers, Turn, Vouch
from tacit.deploy.wire.statements import encoded, vouch_text
from tests.deploy.client.fake import (
    PEERS,
    RUN,
    Drawing,
    agent,
    federation,
    make_home,
    over,
    participant,
    worked,
)
from tests.deploy.client.test_client_agent import fake_for
from tests.deploy.client.virtual import played

DIGEST = "d" * 64
PUPPET = Identity.from_seed(b"p" * 32)


def approved(who: Identity, name: str = "peer") -> Approved:
    return Approved(who.id, who.public, name, 0.0)


ROSTER = tuple(map(approved, PEERS))
HONEST = tuple(participant(who, place, DIGEST) for place, who in enumerate(PEERS))


def count(participants: tuple[Participant, ...], run: str = RUN) -> int:
    return len(approved_in(run, DIGEST, range(3), participants, ROSTER))


def test_honest_members_count() -> None:
    assert count(HONEST) == 3
    assert len(approved_in(RUN, DIGEST, (0, 1), HONEST, ROSTER)) == 2


def test_other_names_change_nothing() -> None:
    assert count(tuple(replace(one, name="puppet") for one in HONEST)) == 3


def test_puppets_do_not_count_whatever_they_are_called() -> None:
    named = replace(participant(PUPPET, 2, DIGEST), name="peer 2")
    assert count((*HONEST[:2], named)) == 2


def test_a_puppet_under_an_approved_id_does_not_count() -> None:
    forged = replace(participant(PUPPET, 2, DIGEST), member=PEERS[2].id)
    assert count((*HONEST[:2], forged)) == 2
    swapped = replace(HONEST[2], public_key=encoded(PUPPET.public))
    assert count((*HONEST[:2], swapped)) == 2


def test_one_peer_in_many_places_counts_once() -> None:
    thrice = tuple(replace(HONEST[0], index=place) for place in range(3))
    assert count(thrice) == 1


def test_two_peers_in_one_place_count_once() -> None:
    assert count((HONEST[0], replace(HONEST[1], index=0))) == 1


def test_joinings_of_other_runs_plans_and_data_do_not_count() -> None:
    assert count(HONEST, run="cd" * 16) == 0
    other = tuple(participant(who, place, "e" * 64) for place, who in enumerate(PEERS))
    assert count(other) == 0
    assert count(tuple(replace(one, dataset="mock") for one in HONEST)) == 0
    swapped = replace(HONEST[0], signature=HONEST[1].signature)
    assert count((swapped, *HONEST[1:])) == 2


def test_an_id_belongs_to_its_key() -> None:
    with pytest.raises(TacitError) as wrong:
        Approved(PEERS[0].id, PEERS[1].public, "peer", 0.0)
    assert wrong.value.code == "policy.peer-key"


def vouch(by: Identity, peer: Identity, name: str) -> Vouch:
    return Vouch(by.id, encoded(by.sign(vouch_text(peer.id, name))))


def test_enough_approved_owners_may_vouch() -> None:
    new = Identity.from_seed(b"n" * 32)
    signed = (vouch(PEERS[0], new, "new"), vouch(PEERS[1], new, "new"))
    peer = Peer(new.id, "new", encoded(new.public), signed)
    assert [one.id for one in vouched([peer], ROSTER, 2, 0.0)] == [new.id]
    assert vouched([peer], ROSTER, 3, 0.0) == ()
    assert vouched([peer], ROSTER, 0, 0.0) == ()
    assert vouched([replace(peer, name="other")], ROSTER, 1, 0.0) == ()
    twice = replace(peer, vouches=(signed[0], signed[0]))
    assert vouched([twice], ROSTER, 2, 0.0) == ()
    strange = replace(peer, vouches=(vouch(PUPPET, new, "new"),))
    assert vouched([strange], ROSTER, 1, 0.0) == ()
    other_key = replace(peer, public_key=encoded(PUPPET.public))
    assert vouched([other_key], ROSTER, 1, 0.0) == ()


def test_the_vouched_cannot_vouch() -> None:
    friend = Approved(PUPPET.id, PUPPET.public, "friend", 0.0, vouched=True)
    new = Identity.from_seed(b"n" * 32)
    peer = Peer(new.id, "new", encoded(new.public), (vouch(PUPPET, new, "new"),))
    assert vouched([peer], [*ROSTER, friend], 1, 0.0) == ()


def test_the_digest_knows_who_is_on_the_roster() -> None:
    assert roster_digest(ROSTER) == roster_digest(reversed(ROSTER)) != roster_digest(ROSTER[:2])


def swap(turn: Turn) -> Turn:
    """Two of three peers are puppets under the peers' names and ids."""
    members = list(turn.participants)
    for place in (2, 3):
        puppet = Identity.from_seed(bytes([100 + place]) * 32)
        forged = participant(puppet, place, DIGEST)
        members[place] = replace(forged, member=members[place].member, name=members[place].name)
    return replace(turn, participants=tuple(members))


def elsewhere(turn: Turn) -> Turn:
    """The client itself is not among the members."""
    return replace(turn, participants=turn.participants[1:])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (swap, "of the 4 members of this round the owner approved 2"),
        (elsewhere, "this client is not among the members of this round"),
        (lambda turn: replace(turn, cohort=(1, 2, 3)), "this client is not among the members"),
        (lambda turn: replace(turn, index=1), "has not joined the run at that place"),
        (lambda turn: replace(turn, offer_size=1 << 40), "bytes; the plan says"),
        (lambda turn: replace(turn, round=3), "round 4 is asked for; the plan has 3"),
        (lambda turn: replace(turn, cohort=tuple(range(9))), "members that the plan of"),
    ],
)
def test_wrong_rounds_are_refused(tmp_path: Path, change: object, told: str) -> None:
    home = make_home(tmp_path)
    fake, runner = fake_for(home, change=change), Drawing(os.urandom)
    played(worked(agent(home, fake, runner), lambda: bool(fake.failures)))
    failure = fake.failures[0][1]
    assert (failure.phase, failure.code) == ("policy", "policy.refused")
    assert told in failure.reasons[0] and not runner.turns and not fake.seen


def test_vouched_peers_count_where_the_policy_says_so(tmp_path: Path) -> None:
    policy = 'researchers = ["Ada"]\nhidden_answers = false\nvouches = 1\nminimum_cohort = 4\n'
    home = make_home(tmp_path, policy)
    ledger = open_ledger(home)
    assert Records(ledger).disapprove(PEERS[2].id, 0.0, "gone.")
    ledger.close()
    fake = fake_for(home, described=federation(quorum=4))
    signed = (vouch(PEERS[0], PEERS[2], "peer 2"),)
    fake.peers = Peers((Peer(PEERS[2].id, "peer 2", encoded(PEERS[2].public), signed),))
    played(worked(agent(home, fake, Drawing(os.urandom)), over(fake)))
    assert sorted(fake.got) == [0, 1, 2]


@pytest.mark.parametrize("forged", ["name", "dataset", "seed", "signature", "researcher_key"])
def test_a_run_that_no_researcher_signed_is_refused(tmp_path: Path, forged: str) -> None:
    home = make_home(tmp_path)
    fake, runner = fake_for(home), Drawing(os.urandom)
    true = fake.consider()
    others = {"seed": 1, "researcher_key": encoded(PUPPET.public), "signature": ""}
    false = replace(true, **{forged: others.get(forged, "other")})
    assert asked_by(true).researcher == true.researcher
    assert (asked_by(false).researcher, asked_by(false).researcher_name) == ("", "")
    fake.consider = lambda: false  # type: ignore[method-assign]  # a coordinator that lies
    played(worked(agent(home, fake, runner), lambda: bool(fake.joinings)))
    assert fake.joinings[0].decision == "refuse"
    assert "no researcher's signature stands under it" in fake.joinings[0].reasons
