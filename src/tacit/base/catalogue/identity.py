"""Errors of identity: keys, certificates, invitations."""

from __future__ import annotations

from tacit.base.catalogue.entry import Entry

IDENTITY: dict[str, Entry] = {
    "identity.no-key": Entry(
        "There is no key file {path}.",
        "Join with an invitation, which makes the key; or restore the file from its backup.",
    ),
    "identity.key-exists": Entry(
        "There is a key file {path} already; it is never overwritten.",
        "Go on with that identity, or choose another folder for a new one.",
    ),
    "identity.key-file": Entry(
        "The key file {path} holds no {kind} key: {why}.",
        "Restore it from its backup, or remove it and join again with a new invitation.",
    ),
    "identity.key-rights": Entry(
        "The key file {path} is open to other users of this machine (mode {mode}).",
        "Say `chmod 600 {path}`. If somebody may have read it, have the member revoked and join "
        "again.",
    ),
    "identity.host": Entry(
        "{host!r} is neither a host name nor an IP address.",
        "Give the names and addresses by which clients reach this machine, such as "
        "fl.example.org or 192.0.2.7.",
    ),
    "identity.certificate-file": Entry(
        "{path} holds no certificate that tacit can use: {why}.",
        "Restore the coordinator's folder of certificates from its backup.",
    ),
    "identity.authority-key": Entry(
        "The folder {folder} has the authority's certificate, but not the key to it.",
        "Restore authority.key from its backup. Without it, remove authority.pem: a new authority "
        "is made then, and every client needs a new invitation.",
    ),
    "identity.authority-expired": Entry(
        "The authority in {folder} can certify no longer: it expires on {end}.",
        "Remove authority.pem and authority.key there, and invite all clients again.",
    ),
    "identity.fingerprint": Entry(
        "The coordinator at {host}:{port} shows the fingerprint {found}, not {expected}.",
        "Ask its operator over another channel. Was the coordinator set up anew, you need a new "
        "invitation; otherwise somebody between pretends to be it.",
    ),
    "identity.untrusted": Entry(
        "The certificate of the coordinator at {host}:{port} is not valid: {why}.",
        "Use the address that the certificate names (`tacit serve --host` adds one), and check "
        "both machines' clocks.",
    ),
    "invitation.malformed": Entry(
        "This is no invitation: {why}.",
        "Copy the whole text again, from `tacit-invite-` to its end.",
    ),
    "invitation.unknown": Entry(
        "The coordinator knows no such invitation.",
        "Copy the whole invitation again, or ask the operator for a new one.",
    ),
    "invitation.used": Entry(
        "This invitation has been used already.",
        "Ask the operator for a new one: each is good for one member. Was it not you who used it, "
        "have that member revoked.",
    ),
    "invitation.expired": Entry(
        "This invitation has expired.",
        "Ask the operator for a new one.",
    ),
}
