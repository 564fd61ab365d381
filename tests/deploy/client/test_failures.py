from __future__ import annotations

import re
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tacit
from tacit.base.errors import TacitError
from tacit.deploy.client.failures import environment, redacted, told
from tacit.deploy.client.runner import TurnFailed
from tacit.learn.code import user_code
from tacit.plan.federation import Federation

PLAIN = Federation(
    tacit.numpy.logistic_regression(),
    clients=4,
    algorithm=tacit.fedavg(lr=0.1),
    data=tacit.arrays((3,), classes=2),
)
NOISED = PLAIN.replace(protect=tacit.central_dp(epsilon=4.0, delta=1e-5, clip=1.0))


def caught(name: str, message: str) -> BaseException:
    """An exception of that class, raised a few calls deep."""

    def inner() -> None:
        raise type(name, (Exception,), {})(message)

    try:
        inner()
    except Exception as error:  # noqa: BLE001  # of whatever class it is
        return error
    raise AssertionError


@given(st.text(min_size=12), st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,59}", fullmatch=True))
def test_messages_never_leave_and_plain_names_do(message: str, name: str) -> None:
    found = redacted(caught(name, message))
    assert found.error == name
    lines = found.traceback.splitlines()
    assert lines[0] == name
    assert all(re.fullmatch(r"  [\w/?]+(\.py)?:\d+ in [\w<>]+", line) for line in lines[1:])
    assert lines[1].endswith("in inner")


@pytest.mark.parametrize("name", ["Patient 17", "naïve", "x" * 61, "a.b", "", "1st"])
def test_a_name_that_is_no_plain_identifier_stays(name: str) -> None:
    found = redacted(caught(name, ""))
    assert found.error == "Exception"
    assert found.traceback.splitlines()[0] == "Exception"


def test_code_that_lies_about_its_file_and_names_says_nothing() -> None:
    secret = "Mrs_Smith_has_diabetes"
    code = compile("def f():\n    1 / 0\nf()", f"/home/{secret}.py", "exec")
    f = next(one for one in code.co_consts if isinstance(one, types.CodeType))
    forged = f.replace(co_name="Mrs Smith, 17 Elm Street")
    function = types.FunctionType(forged, {"__name__": secret, "__builtins__": __builtins__})
    with pytest.raises(ZeroDivisionError) as caught:
        function()
    found = redacted(caught.value)
    assert "Smith" not in found.traceback
    assert found.traceback.splitlines()[1] == "  ?:2 in ?"


def test_a_wrapped_error_has_the_class_of_what_was_raised_and_paths_are_relative() -> None:
    with pytest.raises(TacitError) as caught, user_code("m:f", "called"):
        raise LookupError("the diagnosis of row 9")
    found = redacted(caught.value)
    assert found.error == "LookupError"
    assert "TacitError [task.code-fails]" in found.traceback
    assert "  tacit/learn/code.py:" in found.traceback
    assert "diagnosis" not in found.traceback
    assert str(Path(__file__).parents[3]) not in found.traceback


def test_an_endless_traceback_is_cut() -> None:
    def down(depth: int) -> None:
        if depth:
            down(depth - 1)
        raise ValueError

    with pytest.raises(ValueError) as caught:  # noqa: PT011
        down(500)
    assert len(redacted(caught.value).traceback) < 8100


def test_the_environment_is_a_digest_that_does_not_change() -> None:
    assert re.fullmatch("[0-9a-f]{64}", environment())
    environment.cache_clear()
    assert environment() == redacted(ValueError()).environment


def test_under_a_promise_of_dp_every_failure_looks_the_same() -> None:
    failures = [
        TurnFailed("data", "data.not-finite", error="TacitError", traceback="x", reason="row 3"),
        TurnFailed("resources", "worker.memory", environment="e"),
        TurnFailed("answer", "round.update-not-finite", error="TacitError"),
    ]
    seen = {str(vars(told(failure, NOISED.plan()))) for failure in failures}
    assert len(seen) == 1
    assert "client.turn-failed" in seen.pop()
    assert {str(vars(told(failure, None))) for failure in failures} == {
        str(vars(told(failures[0], NOISED.plan())))
    }


def test_otherwise_the_failure_is_told_without_its_reason() -> None:
    failure = TurnFailed(
        "data", "data.not-finite", error="E", traceback="t", environment="v", reason="row 3"
    )
    found = told(failure, PLAIN.plan())
    assert (found.phase, found.code, found.error) == ("data", "data.not-finite", "E")
    assert (found.traceback, found.environment, found.reason) == ("t", "v", "")
