"""Coverage-guided fuzzing of what reads strangers' bytes, by hand and for as long as you like.

    pip install atheris
    python tests/deploy/edge/fuzz_packs.py -max_total_time=180

It ends at the first input that raises anything but a refusal, and leaves that input in a file. The
first byte chooses the reader; atheris is no dependency of anything.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

from tacit.base.errors import TacitError
from tacit.base.tree import flatten
from tacit.deploy.identity import invitation
from tacit.deploy.wire import answers, packs, signing

HEADERS = ("Content-Digest", "Signature-Input", "Signature")


def pack(raw: bytes) -> None:
    """A pack, with a header whose length is right; what is read is a tree of the bytes' size."""
    leaves = flatten(packs.read_pack(packs.MAGIC + raw), "the pack")[1]
    assert sum(leaf.nbytes for leaf in leaves) <= len(raw)


def framed(raw: bytes) -> None:
    """A pack, of which the length of the header fits."""
    header, _, rest = raw.partition(b"\0\0")
    pack(len(header).to_bytes(4, "little") + header + rest)


def answer(raw: bytes) -> None:
    """An answer of as many numbers as it says itself."""
    size = int.from_bytes(raw[1:9], "little")
    found = answers.read_answer(answers.MAGIC + raw, size)
    assert found.size == size <= len(raw)


def headers(raw: bytes) -> None:
    """Three headers, whatever is in them."""
    parts = raw.decode("latin-1").split("\n")
    found = signing.parse(dict(zip(HEADERS, parts, strict=False)))
    signing.check(signing.Head("GET", parts[-1], parts[-1], found.digest), found, b"k" * 32)


def invited(raw: bytes) -> None:
    """An invitation that somebody mistyped."""
    text = raw.decode("utf-8", "replace")
    assert invitation.parse(text).text()


READERS: tuple[Callable[[bytes], None], ...] = (pack, framed, answer, headers, invited)


def one(raw: bytes) -> None:
    """One input: refused by a code of the catalogue, or read."""
    if raw:
        try:
            READERS[raw[0] % len(READERS)](raw[1:])
        except TacitError as refused:
            assert refused.cause and refused.remedy


def main(arguments: list[str]) -> None:
    """Fuzz until something is found or the time is over."""
    atheris = importlib.import_module("atheris")
    atheris.instrument_all()
    atheris.Setup(arguments, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
