from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from tacit.base.errors import TacitError
from tacit.deploy.identity.keys import Identity
from tacit.deploy.wire.signing import Claimed, Head, check, parse, signed

SEED = bytes(range(32))
ME = Identity.from_seed(SEED)
BODY = b'{"wait":25.0}'
HEAD = Head("POST", "/v1/work", "after=3&wait=1%202", hashlib.sha256(BODY).digest())
HEADERS = signed(HEAD, ME, 1_700_000_000, "0123456789abcdef")

BASE = b"""\
"@method": POST
"@path": /v1/work
"@query": ?after=3&wait=1%202
"content-digest": sha-256=:1JC4IuP7IwkJRul3C+QHru/M7c5X/GLl5b6icWiWOeA=:
"@signature-params": ("@method" "@path" "@query" "content-digest");created=1700000000\
;nonce="0123456789abcdef";keyid="56475aa75463474c0285df5dbf2bcab7";alg="ed25519\""""


def refusal(head: Head, headers: Mapping[str, str], key: bytes = ME.public) -> str:
    try:
        check(head, parse(headers), key)
    except TacitError as refused:
        return refused.code
    return ""


def test_the_signature_is_the_standards_over_these_bytes() -> None:
    signature = Ed25519PrivateKey.from_private_bytes(SEED).sign(BASE)
    assert HEADERS["Signature"] == f"tacit=:{base64.b64encode(signature).decode()}:"
    assert f"sha-256=:{base64.b64encode(HEAD.digest).decode()}:" == HEADERS["Content-Digest"]
    assert HEADERS["Content-Digest"].encode() in BASE


def test_these_headers_are_written_on_any_machine() -> None:
    assert HEADERS["Signature"] == (
        "tacit=:+vY9Uo8JWKQjdX3gZ+ZmUZNXV5/B+YqEImoiggwjvuHr9nZ8BsH9jnv3S3SCZ3Yt75AJ6cB7qJbEMWfp7urT"
        "Aw==:"
    )
    assert HEADERS["Signature-Input"] == f"tacit={BASE.decode().rpartition(': ')[2]}"
    assert refusal(HEAD, HEADERS) == ""


def test_without_a_query_the_standard_signs_a_question_mark() -> None:
    head = Head("GET", "/", "", hashlib.sha256(b"").digest())
    headers = signed(head, ME, 0, "n")
    base = (
        '"@method": GET\n"@path": /\n"@query": ?\n'
        f'"content-digest": {headers["Content-Digest"]}\n'
        f'"@signature-params": {headers["Signature-Input"].removeprefix("tacit=")}'
    )
    claimed = parse(headers)
    assert claimed.signature == ME.sign(base.encode())
    assert (claimed.created, claimed.nonce, claimed.keyid) == (0, "n", ME.id)


@pytest.mark.parametrize(
    "head",
    [
        replace(HEAD, method="PUT"),
        replace(HEAD, path="/v1/works"),
        replace(HEAD, query=""),
        replace(HEAD, query="after=3&wait=1 2".replace(" ", "%21")),
    ],
)
def test_another_request_is_not_the_signed_one(head: Head) -> None:
    assert refusal(head, HEADERS) == "request.signature"


def test_another_body_is_not_the_signed_one() -> None:
    other = replace(HEAD, digest=hashlib.sha256(b"other").digest())
    assert refusal(other, HEADERS) == "request.digest"
    forged = {**HEADERS, "Content-Digest": signed(other, ME, 1, "n")["Content-Digest"]}
    assert refusal(other, forged) == "request.signature"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("created=1700000000", "created=1700000001"),
        ("0123456789abcdef", "0123456789abcdeg"),
        (ME.id, "0" * 32),
    ],
)
def test_other_parameters_are_not_the_signed_ones(old: str, new: str) -> None:
    altered = HEADERS["Signature-Input"].replace(old, new)
    assert altered != HEADERS["Signature-Input"]
    assert refusal(HEAD, {**HEADERS, "Signature-Input": altered}) == "request.signature"


def test_another_key_did_not_sign() -> None:
    other = Identity.from_seed(bytes(32))
    assert refusal(HEAD, HEADERS, other.public) == "request.signature"
    assert refusal(HEAD, HEADERS, b"short") == "request.signature"
    by_other = signed(HEAD, other, 1_700_000_000, "0123456789abcdef")
    assert refusal(HEAD, {**HEADERS, "Signature": by_other["Signature"]}) == "request.signature"


@given(st.integers(0, 63), st.integers(1, 255))
def test_no_altered_signature_passes(place: int, change: int) -> None:
    claimed = parse(HEADERS)
    raw = bytearray(claimed.signature)
    raw[place] ^= change
    with pytest.raises(TacitError) as refused:
        check(HEAD, replace(claimed, signature=bytes(raw)), ME.public)
    assert refused.value.code == "request.signature"


@pytest.mark.parametrize("name", list(HEADERS))
def test_a_missing_header_is_named(name: str) -> None:
    with pytest.raises(TacitError, match=name) as refused:
        parse({key: value for key, value in HEADERS.items() if key != name})
    assert refused.value.code == "request.unsigned"


def test_names_of_headers_have_no_case() -> None:
    assert parse({key.lower(): value for key, value in HEADERS.items()}) == parse(HEADERS)
    assert parse({key.upper(): value for key, value in HEADERS.items()}) == parse(HEADERS)


@pytest.mark.parametrize("name", list(HEADERS))
def test_a_header_that_came_twice_is_refused(name: str) -> None:
    pairs = [*HEADERS.items(), (name, HEADERS[name])]
    raw = [(key.lower().encode(), value.encode()) for key, value in pairs]
    assert refusal(HEAD, Headers(raw=raw[:-1])) == ""
    assert refusal(HEAD, Headers(raw=raw)) == "request.malformed"


INPUT = HEADERS["Signature-Input"]
SIGNATURE = HEADERS["Signature"]
DIGEST = HEADERS["Content-Digest"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Signature-Input", ""),
        ("Signature-Input", f"{INPUT}, other={INPUT[6:]}"),
        ("Signature-Input", f"{INPUT}, {INPUT}"),
        ("Signature-Input", INPUT.replace("tacit=", "sig1=")),
        ("Signature-Input", INPUT.replace('"@query" ', "")),
        ("Signature-Input", INPUT.replace('"@method" "@path"', '"@path" "@method"')),
        ("Signature-Input", INPUT.replace('"@query"', '"@query" "@query"')),
        ("Signature-Input", INPUT.replace('"content-digest"', '"content-digest";req')),
        ("Signature-Input", INPUT.replace("1700000000", "1700000000.0")),
        ("Signature-Input", INPUT.replace("1700000000", "-1700000000")),
        ("Signature-Input", INPUT.replace("1700000000", "01700000000")),
        ("Signature-Input", INPUT.replace("1700000000", "1" * 16)),
        ("Signature-Input", INPUT.replace("1700000000", "170000000\u0660")),
        ("Signature-Input", INPUT.replace(";alg=", ";created=1700000000;alg=")),
        ("Signature-Input", INPUT.replace(';alg="ed25519"', "")),
        ("Signature-Input", INPUT.replace("ed25519", "hmac-sha256")),
        ("Signature-Input", INPUT + ";expires=1800000000"),
        ("Signature-Input", INPUT + ";tag=x"),
        ("Signature-Input", INPUT + "\n"),
        ("Signature-Input", " " + INPUT),
        ("Signature-Input", INPUT.replace(ME.id, ME.id.upper())),
        ("Signature-Input", INPUT.replace(ME.id, ME.id[:-1])),
        ("Signature-Input", INPUT.replace("0123456789abcdef", "")),
        ("Signature-Input", INPUT.replace("0123456789abcdef", "a b")),
        ("Signature-Input", INPUT.replace("0123456789abcdef", "a" * 65)),
        ("Signature", f"{SIGNATURE}, other={SIGNATURE[6:]}"),
        ("Signature", SIGNATURE.replace("tacit=", "other=")),
        ("Signature", SIGNATURE.replace("==:", ":")),
        ("Signature", SIGNATURE + " "),
        ("Signature", "tacit=::"),
        ("Signature", "tacit=:" + "A" * 85 + "B==:"),
        ("Content-Digest", DIGEST.replace("sha-256", "sha-512")),
        ("Content-Digest", f"{DIGEST}, {DIGEST}"),
        ("Content-Digest", DIGEST.replace(":", "")),
        ("Content-Digest", "sha-256=:" + "A" * 42 + "B=:"),
    ],
)
def test_there_is_one_way_to_write_the_headers(name: str, value: str) -> None:
    assert refusal(HEAD, {**HEADERS, name: value}) == "request.malformed"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method", "post"),
        ("method", "GET\n"),
        ("path", ""),
        ("path", "*"),
        ("path", '/v1/x\n"@query": ?'),
        ("path", "/ü"),
        ("query", "a b"),
        ("query", "a\nb"),
    ],
)
def test_a_head_cannot_smuggle_lines_into_what_is_signed(name: str, value: str) -> None:
    head = Head(**{**vars(HEAD), name: value})
    assert refusal(head, HEADERS) == "request.malformed"
    with pytest.raises(TacitError):
        signed(head, ME, 1, "n")


@pytest.mark.parametrize(("created", "nonce"), [(-1, "n"), (1, ""), (1, 'n"'), (1, "n" * 65)])
def test_what_nobody_would_accept_is_not_signed(created: int, nonce: str) -> None:
    with pytest.raises(ValueError, match="nonce"):
        signed(HEAD, ME, created, nonce)


WORDS = st.sampled_from(
    ["tacit", "=", ":", ";", "(", ")", '"', "@method", "created", "nonce", "\\", ",", "sha-256"]
)
TEXTS = st.text() | st.lists(WORDS, max_size=12).map("".join)


@given(st.sampled_from(list(HEADERS)), TEXTS, st.integers(0, 200), st.integers(0, 5))
def test_no_header_breaks_the_parser(name: str, text: str, start: int, cut: int) -> None:
    value = HEADERS[name]
    for altered in (text, value[:start] + text + value[start + cut :]):
        code = refusal(HEAD, {**HEADERS, name: altered})
        assert code.startswith("request.") or altered == value


@given(st.dictionaries(st.sampled_from(list(HEADERS)) | st.text(), TEXTS))
def test_no_headers_break_the_parser(headers: dict[str, str]) -> None:
    assert refusal(HEAD, headers) in {"request.unsigned", "request.malformed"}


@given(
    st.builds(
        Head,
        st.sampled_from(["GET", "POST", "PUT"]),
        st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20).map("/".__add__),
        st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
        st.binary(min_size=32, max_size=32),
    ),
    st.integers(0, 10**15 - 1),
    st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z"),
)
def test_what_is_signed_is_accepted(head: Head, created: int, nonce: str) -> None:
    claimed = parse(signed(head, ME, created, nonce))
    check(head, claimed, ME.public)
    assert claimed == Claimed(ME.id, created, nonce, head.digest, claimed.signature)
    assert "signature" not in repr(claimed)
