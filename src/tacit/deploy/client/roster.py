"""The roster: peers that the owner approved, and how many of them stand in a cohort.

A coordinator chooses whom it shows. So only keys that the owner approved count (or that enough
approved peers signed for), and only where the key itself signed that it joined this very run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import final

from tacit.base.errors import TacitError
from tacit.deploy.identity.keys import member_id
from tacit.deploy.wire.messages import Participant, Peer
from tacit.deploy.wire.statements import decoded, joining_text, signed_by, vouch_text


@final
@dataclass(frozen=True)
class Approved:
    """A peer on the roster: `key` is its public key (32 bytes), `vouched` where others signed."""

    id: str
    key: bytes
    name: str
    at: float
    vouched: bool = False

    def __post_init__(self) -> None:
        if len(self.key) != 32 or member_id(self.key) != self.id:
            raise TacitError("policy.peer-key", id=self.id)


def approved_in(
    run: str,
    digest: str,
    cohort: Collection[int],
    participants: Iterable[Participant],
    roster: Iterable[Approved],
) -> frozenset[bytes]:
    """The distinct approved keys in a cohort that signed their joining of this run.

    What counts is the key on the roster: another name, index or id beside it changes nothing.
    """
    known = {peer.id: peer.key for peer in roster}
    places: set[int] = set()
    found: set[bytes] = set()
    for one in participants:
        if one.index not in cohort or one.index in places:
            continue
        places.add(one.index)
        key = decoded(one.public_key)
        text = joining_text(run, digest, one.member, one.dataset)
        if known.get(one.member) == key and signed_by(key, text, one.signature):
            found.add(key)
    return frozenset(found)


def vouched(
    peers: Iterable[Peer], roster: Iterable[Approved], needed: int, now: float
) -> tuple[Approved, ...]:
    """Peers for whom at least `needed` of the roster's own peers signed.

    Vouched peers cannot vouch in turn: otherwise one careless owner would let in a chain.
    """
    trusted = {peer.id: peer.key for peer in roster if not peer.vouched}
    found = []
    for peer in peers:
        key = decoded(peer.public_key)
        if peer.id in trusted or len(key) != 32 or member_id(key) != peer.id:
            continue
        text = vouch_text(peer.id, peer.name)
        signers = {
            vouch.by
            for vouch in peer.vouches
            if vouch.by in trusted and signed_by(trusted[vouch.by], text, vouch.signature)
        }
        if needed > 0 and len(signers) >= needed:
            found.append(Approved(peer.id, key, peer.name, now, vouched=True))
    return tuple(found)


def roster_digest(roster: Iterable[Approved]) -> str:
    """A digest of who is on the roster, whatever the order."""
    keys = sorted(peer.key.hex() + str(peer.vouched) for peer in roster)
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()
