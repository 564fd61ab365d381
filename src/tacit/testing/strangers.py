"""Tricks of those who have no part in a run; the coordinator must refuse every one of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from tacit.deploy.client.transport import Request
from tacit.deploy.identity.keys import Identity
from tacit.deploy.wire.signing import Head, signed
from tacit.testing.network import Message, Network

RUN: Final = "ab" * 16
ANSWER: Final = b"\x00" * 200
OUTSIDER: Final = Identity.from_seed(hashlib.sha256(b"oscar").digest())
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
    digest = hashlib.sha256(ANSWER).hexdigest()
    query = f"digest={digest}&size={len(ANSWER)}&offset=0"
    answer = Request("PUT", f"/v1/runs/{RUN}/rounds/0/answer", query, ANSWER)
    poll = Request("POST", "/v1/work", body=b'{"wait":0}')
    last = network.last
    match number % 8:
        case 0:
            return Message("stranger", answer, ANSWER, {})
        case 1:
            return _by(network, NOBODY, answer)
        case 2:
            return _by(network, OUTSIDER, answer)
        case 3:
            return _by(network, OUTSIDER, Request("GET", f"/v1/runs/{RUN}"))
        case 4:
            failure = b'{"phase":"policy","code":"policy.refused"}'
            path = f"/v1/runs/{RUN}/rounds/0/failure"
            return _by(network, OUTSIDER, Request("POST", path, body=failure))
        case 5:
            named = _by(network, OUTSIDER, poll)
            return named._replace(content=b'{"wait":1}')
        case 6 if last is not None:  # what somebody else said, about something else
            moved = Request(last.request.method, "/v1/peers", last.request.query)
            return last._replace(sender="stranger", request=moved)
        case 7 if last is not None and last.content:
            torn = bytes([last.content[0] ^ 1]) + last.content[1:]
            return last._replace(sender="stranger", content=torn)
    return None


def _by(network: Network, who: Identity, request: Request) -> Message:
    """Correctly signed, by somebody."""
    body = request.body if isinstance(request.body, bytes) else b""
    head = Head(request.method, request.path, request.query, hashlib.sha256(body).digest())
    created = int(network.host.clock.now())
    headers = signed(head, who, created, network.chance.randbytes(16).hex())
    return Message("stranger", request, body, headers)
