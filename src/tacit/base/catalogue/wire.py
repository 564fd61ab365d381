"""Errors of the wire: packs, requests, signatures."""

from __future__ import annotations

from tacit.base.catalogue.entry import Entry

WIRE: dict[str, Entry] = {
    "wire.pack": Entry(
        "{name} is no pack of arrays that tacit reads: {why}.",
        "Transfer the file again; if it stays so, both sides need the same release of tacit.",
    ),
    "wire.not-packable": Entry(
        "A tree cannot be packed: {why}.",
        "Keep numbers, texts and arrays of plain numbers in nested dictionaries, lists and tuples.",
    ),
    "wire.answer": Entry(
        "The answer holds {found}; expected is {expected}.",
        "Answer with the vector that the plan describes; both sides need the same release of "
        "tacit.",
    ),
    "wire.not-finite": Entry(
        "The answer is {value} at coordinate {place}.",
        "Bound the update (a clip), or lower the learning rate; look for NaN in the site's data.",
    ),
    "wire.cannot-read": Entry(
        "{path} cannot be read: {why}.",
        "Give this user the right to read it, or restore it from the backup.",
    ),
    "wire.unreachable": Entry(
        "No coordinator answers at {host}:{port}: {why}.",
        "Check the address, that `tacit serve` runs there, and that firewalls let this machine "
        "reach the port.",
    ),
    "request.unsigned": Entry(
        "The request has no {header} header.",
        "Sign every request with the member's key, as tacit's own client does.",
    ),
    "request.malformed": Entry(
        "The request's {part} is not what this coordinator reads: {why}.",
        "Use the same release of tacit on both sides.",
    ),
    "request.signature": Entry(
        "The request's signature is not one of member {keyid} over this request.",
        "Use the key that was enrolled, and a connection on which nothing rewrites requests.",
    ),
    "request.digest": Entry(
        "The body that arrived is not the one that was signed: its SHA-256 differs.",
        "Send the request again; if it happens again, something on the way changes bodies.",
    ),
    "request.clock": Entry(
        "The request is dated {skew:+.0f} seconds from the coordinator's clock.",
        "Set this machine's clock (NTP), or use tacit's own client, which goes by the "
        "coordinator's.",
    ),
    "request.stale": Entry(
        "The request was signed before what the coordinator remembers of requests.",
        "Sign the request anew and send it again, as tacit's own client does.",
    ),
    "request.replayed": Entry(
        "The coordinator has already received this very request.",
        "Sign every request anew. If nobody sent it twice, somebody recorded and repeated it.",
    ),
}
