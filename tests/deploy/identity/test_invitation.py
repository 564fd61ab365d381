from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tacit.base.errors import TacitError
from tacit.deploy.identity.invitation import PREFIX, Invitation, parse
from tacit.deploy.wire.messages import Role

CODE = "c0ffee-c0ffee-c0ffee12"
GIVEN = Invitation(
    "https://fl.example.org:8443", "SHA256:" + "Ab0+/" * 8 + "xyz", CODE, Role.CLIENT, "Bonn"
)
TEXT = GIVEN.text()
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def packed(facts: Any) -> str:
    body = facts if isinstance(facts, bytes) else json.dumps(facts).encode()
    raw = body + hashlib.sha256(body).digest()[:4]
    return PREFIX + base64.urlsafe_b64encode(raw).decode().rstrip("=")


FACTS = {
    "url": GIVEN.url,
    "fingerprint": GIVEN.fingerprint,
    "code": CODE,
    "role": "client",
    "name": "Bonn",
}


def code_of(text: str) -> str:
    with pytest.raises(TacitError) as refused:
        parse(text)
    assert CODE not in str(refused.value)
    return refused.value.code


def test_an_invitation_is_one_line_that_reads_back() -> None:
    assert TEXT.startswith("tacit-invite-")
    assert set(TEXT) <= set(LETTERS)
    assert parse(TEXT) == GIVEN
    assert parse(packed(FACTS)) == GIVEN
    assert replace(GIVEN, name=None, fingerprint="") == parse(
        replace(GIVEN, name=None, fingerprint="").text()
    )


@given(
    st.integers(1, 65535), st.sampled_from(list(Role)), st.from_regex(r"\A[A-Za-z0-9_-]{16,100}\Z")
)
def test_every_invitation_reads_back(port: int, role: Role, code: str) -> None:
    made = replace(GIVEN, url=f"https://192.0.2.7:{port}", role=role, code=code)
    assert parse(made.text()) == made


@given(st.integers(0, len(TEXT) - 1), st.sampled_from(LETTERS))
def test_every_typo_is_found(place: int, letter: str) -> None:
    assume(letter != TEXT[place])
    assert code_of(TEXT[:place] + letter + TEXT[place + 1 :]) == "invitation.malformed"
    assert code_of(TEXT[:place] + TEXT[place + 1 :]) == "invitation.malformed"


@given(st.integers(0, len(TEXT) - 1))
def test_half_an_invitation_is_none(length: int) -> None:
    assert code_of(TEXT[:length]) == "invitation.malformed"


@given(st.text())
def test_any_text_is_refused_in_plain_words(text: str) -> None:
    assert code_of(text) == code_of(PREFIX + text) == "invitation.malformed"


def test_a_text_that_a_mail_program_broke_is_whole() -> None:
    assert parse(f"  {TEXT[:50]}\n{TEXT[50:90]}\r\n  {TEXT[90:]}\n") == GIVEN


@pytest.mark.parametrize(
    "change",
    [
        {"url": "http://fl.example.org"},
        {"url": "https://"},
        {"url": "https://user:word@host"},
        {"url": "https://host:99999"},
        {"url": "https://host/?x=1"},
        {"url": "https://" + "h" * 500},
        {"url": "https://[::1"},
        {"fingerprint": "SHA256:short"},
        {"fingerprint": None},
        {"code": "short"},
        {"code": "has a space in it, see"},
        {"role": "king"},
        {"name": "two\nlines"},
        {"name": ""},
    ],
)
def test_a_checksum_alone_makes_no_invitation(change: dict[str, Any]) -> None:
    assert code_of(packed({**FACTS, **change})) == "invitation.malformed"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b"[" * 3000, b"1" * 5000])
def test_a_body_of_another_form_is_refused(body: bytes) -> None:
    assert code_of(packed(body)) == "invitation.malformed"


def test_an_endless_text_is_refused() -> None:
    assert code_of(packed({**FACTS, "more": "x" * 8000})) == "invitation.malformed"


def test_the_code_is_not_shown() -> None:
    assert CODE not in repr(GIVEN) + str(GIVEN) + f"{GIVEN}"
    assert GIVEN.url in repr(GIVEN)
