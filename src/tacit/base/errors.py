"""The one exception that users meet: a code, the cause, and what to do about it."""

from __future__ import annotations

from typing import Any

from tacit.base.catalogue import CATALOGUE


class TacitError(Exception):
    """An error with a code, a cause and a remedy, all taken from `tacit.base.catalogue`.

    `facts` fill the placeholders of the catalogue's sentences and stay readable as `.facts`,
    so that a caller can act on them (`error.facts["client"]`) without parsing text.
    """

    def __init__(self, code: str, /, **facts: Any) -> None:
        entry = CATALOGUE[code]
        self.code = code
        self.facts = facts
        self.cause = entry.cause.format(**facts)
        self.remedy = entry.remedy.format(**facts)
        super().__init__(f"{self.cause}\n  remedy: {self.remedy}\n  [{code}]")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.code, self.facts)

    def named(self, **more: Any) -> TacitError:
        """The same error with more facts, for example the client at whose place it happened."""
        return type(self)(self.code, **{**self.facts, **more})

    def as_dict(self) -> dict[str, str]:
        """What `--json` prints: code, cause and remedy."""
        return {"code": self.code, "cause": self.cause, "remedy": self.remedy}


class Unsound(TacitError):
    """A chain of protections that does not do what it would claim; refused when it is built."""

    @property
    def why(self) -> str:
        """The reason in one sentence."""
        return self.cause


def _rebuild(kind: type[TacitError], code: str, facts: dict[str, Any]) -> TacitError:
    return kind(code, **facts)
