"""Tricks of those who have no part in a run; the coordinator must refuse every one of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from tacit.deploy.client.transport import Request
from tacit.deploy.identity.keys import Identity
from tacit.deploy.wire.signing import Head, signed
from tacit.testing.furniture import NAMES, RUN, identity_of
from tacit.testing.network import Message, Network

ANSWER: Final = b"\x00" * 200
OUTSIDER: Final = identity_of("oscar")
VICTIM: Final = identity_of(NAMES[0])
NOBODY: Final = Identity.from_seed(b"?" * 32)


async def trick(network: Network, number: int, wrong: Callable[[str], None]) -> None:
    """Try one trick; anything but a refusal (4xx), or nobody there (503), is wrong."""
    message = _tricks(network, number)
    if message is None:
        return
    reply = await network.strange(message)
    if reply is not None and not (400 <= reply.status < 500 or reply.status in (503, 507)):
        path = f"{message.request.method} {message.request.path}"
        wrong(f"a stranger's {path} (trick {number}) was answered with {reply.status}")


def _tricks(network: Network, number: int) -> Message | None:
    """The nine tricks; two of them need something to imitate."""
    query = f"digest={hashlib.sha256(ANSWER).hexdigest()}&size={len(ANSWER)}&offset=0"
    answer = Request("PUT", f"/v1/runs/{RUN}/rounds/0/answer", query, ANSWER)
    failure = b'{"phase":"policy","code":"policy.refused"}'
    failed = Request("POST", f"/v1/runs/{RUN}/rounds/0/failure", body=failure)
    poll = _by(network, OUTSIDER, Request("POST", "/v1/work", body=b'{"wait":0}'))
    tricks = [
        Message("stranger", answer, ANSWER, {}),
        _by(network, NOBODY, answer),
        _by(network, OUTSIDER, answer),
        _by(network, OUTSIDER, Request("GET", f"/v1/runs/{RUN}")),
        _by(network, OUTSIDER, failed),
        poll._replace(content=b'{"wait":1}'),
        _forged(_by(network, NOBODY, failed)),
        *_imitations(network.last),
    ]
    number %= 9
    return tricks[number] if number < len(tricks) else None


def _imitations(last: Message | None) -> tuple[Message, ...]:
    """What somebody else said, about something else or with another content."""
    if last is None or not last.content:
        return ()
    moved = Request(last.request.method, "/v1/peers", last.request.query)
    other = bytes([last.content[0] ^ 1]) + last.content[1:]
    return (
        last._replace(sender="stranger", request=moved),
        last._replace(sender="stranger", content=other),
    )


def _forged(message: Message) -> Message:
    """Signed by nobody, in a client's name."""
    claimed = message.headers["Signature-Input"].replace(NOBODY.id, VICTIM.id)
    return message._replace(headers={**message.headers, "Signature-Input": claimed})


def _by(network: Network, who: Identity, request: Request) -> Message:
    """Correctly signed, by somebody."""
    body = request.body if isinstance(request.body, bytes) else b""
    head = Head(request.method, request.path, request.query, hashlib.sha256(body).digest())
    created = int(network.host.clock.now())
    headers = signed(head, who, created, network.chance.randbytes(16).hex())
    return Message("stranger", request, body, headers)
