"""What members sign for others to check later: that they asked for a run, joined it, know a peer.

A coordinator passes these on and cannot make them. Texts are UTF-8 and name their purpose first, so
that no signature means anything else.
"""

from __future__ import annotations

import base64
import binascii

from tacit.deploy.identity.keys import member_id, verified


def submission_text(run: str, digest: str, dataset: str, seed: int | None, name: str) -> bytes:
    """What a researcher signs to ask for a run; `digest` is the federation's."""
    rehearsal = "" if seed is None else str(seed)
    return f"tacit submission 1\n{run}\n{digest}\n{dataset}\n{rehearsal}\n{name}".encode()


def joining_text(run: str, digest: str, member: str, dataset: str) -> bytes:
    """What a client signs when it joins a run; `digest` is the federation's."""
    return f"tacit joining 1\n{run}\n{digest}\n{member}\n{dataset}".encode()


def vouch_text(peer: str, name: str) -> bytes:
    """What a client signs to say that the member `peer` is who its name says."""
    return f"tacit vouch 1\n{peer}\n{name}".encode()


def signed_by(key: bytes, text: bytes, signature: str) -> bool:
    """Whether the base64 signature of `text` is the key's."""
    return len(key) == 32 and verified(key, decoded(signature), text)


def stated_by(member: str, key: str, text: bytes, signature: str) -> bool:
    """Whether the member with that id, whose public key is `key` (base64), signed `text`."""
    public = decoded(key)
    return len(public) == 32 and member_id(public) == member and signed_by(public, text, signature)


def decoded(text: str) -> bytes:
    """Bytes from base64; empty where it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def encoded(data: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(data).decode()
