"""Names that people cannot tell apart: an operator reads names, and trusts who is behind them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from tacit.deploy.store.members import Member


def unlike(name: str, others: Iterable[Member]) -> str:
    """What is wrong with a new member's name beside these others; empty if nothing is.

    Letters are of one script, visible and composed (Unicode NFKC), spaces stand alone between
    words, and no other name differs in case alone. Whole words of another script that resemble
    ours (UTS 39, whole-script confusables) are not found.
    """
    if name != unicodedata.normalize("NFKC", name) or name != " ".join(name.split()):
        return "it has characters or spaces that another name could hide behind"
    if any("FILLER" in unicodedata.name(letter, "FILLER") for letter in name):
        return "it has letters that cannot be seen"
    if len(scripts := {_script(letter) for letter in name if letter.isalpha()}) > 1:
        return f"it mixes {' and '.join(sorted(scripts))} letters"
    folded = name.casefold()
    same = next((one.name for one in others if one.name != name and _like(one, folded)), "")
    return f"it reads like {same}" if same else ""


def _like(other: Member, folded: str) -> bool:
    return unicodedata.normalize("NFKC", other.name).casefold() == folded


def _script(letter: str) -> str:
    """The script of a letter, as the first word of its name says."""
    found = unicodedata.name(letter).partition(" ")[0].capitalize()
    return "Han" if found in _JAPANESE else found


_JAPANESE = {"Cjk", "Hiragana", "Katakana", "Katakana-hiragana"}
"""Written together in ordinary words."""
