from __future__ import annotations

import pickle

from tacit.base.catalogue import CATALOGUE
from tacit.base.errors import TacitError, Unsound


def test_an_error_has_code_cause_and_remedy() -> None:
    error = TacitError("data.empty", client="Zurich")
    assert error.as_dict() == {
        "code": "data.empty",
        "cause": "Client Zurich has no examples.",
        "remedy": CATALOGUE["data.empty"].remedy,
    }
    assert "remedy:" in str(error)
    assert error.named(client="Basel").facts == {"client": "Basel"}


def test_errors_cross_process_boundaries() -> None:
    error = pickle.loads(pickle.dumps(Unsound("chain.noise-twice")))  # noqa: S301  # our own bytes
    assert isinstance(error, Unsound) and error.code == "chain.noise-twice" and error.why


def test_every_entry_says_what_to_do() -> None:
    for code, entry in CATALOGUE.items():
        assert "." in code and entry.cause and entry.remedy, code
