"""What a folded run asks for is what the machine had asked for and was not given."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tacit.round.events import Answered, Ask, Close, Closed, Draw, Event, Failed, Finish, Opened
from tacit.round.machine import Rules, begin, fold, step
from tacit.round.pending import pending

SYNCHRONOUS = Rules(rounds=4, target=3, quorum=2)
BUFFERED = Rules(rounds=4, target=2, quorum=1, concurrency=3)
CLIENTS = st.integers(0, 4)


def test_a_new_run_draws() -> None:
    run, effects = begin(SYNCHRONOUS)
    assert pending(run) == effects == (Draw(0),)


def test_who_was_heard_is_not_asked_again() -> None:
    events: tuple[Event, ...] = (Opened(0, (0, 1, 2)), Answered(0, 1, "a"), Failed(0, 2, "x.y"))
    assert pending(fold(SYNCHRONOUS, events[:1])) == (Ask(0, 0), Ask(0, 1), Ask(0, 2))
    assert pending(fold(SYNCHRONOUS, events[:2])) == (Ask(0, 0), Ask(0, 2))
    assert pending(fold(SYNCHRONOUS, events)) == (Ask(0, 0),)


def test_a_full_round_waits_for_its_closing() -> None:
    events = (Opened(0, (0, 1)), Answered(0, 1, "a"), Answered(0, 0, "b"))
    assert pending(fold(SYNCHRONOUS, events)) == (Close(0, (0, 1)),)
    assert pending(fold(SYNCHRONOUS, (*events, Closed(0, "m")))) == (Draw(1),)


def test_buffered_clients_keep_the_round_that_they_were_asked_with() -> None:
    events: tuple[Event, ...]
    events = (Opened(0, (0, 1, 2)), Answered(0, 0, "a"), Answered(0, 1, "b"))
    assert pending(fold(BUFFERED, events)) == (Ask(0, 2), Close(0, (0, 1)))
    events = (*events, Closed(0, "m"), Opened(1, (3, 4)))
    assert pending(fold(BUFFERED, events)) == (Ask(0, 2), Ask(1, 3), Ask(1, 4))


@given(st.lists(st.tuples(st.sampled_from(["answer", "fail"]), CLIENTS), max_size=40))
def test_doing_what_is_pending_ends_every_run(happenings: list[tuple[str, int]]) -> None:
    run, _ = begin(SYNCHRONOUS)
    told = iter(happenings)
    for _ in range(200):
        wanted = pending(run)
        if not wanted:
            break
        effect = wanted[0]
        event: Event
        match effect:
            case Draw(round=round_):
                event = Opened(round_, (0, 1, 2, 3, 4))
            case Close(round=round_):
                event = Closed(round_, "m")
            case Ask(round=round_, client=client):
                kind, _ = next(told, ("answer", 0))
                done = Answered(round_, client, "a"), Failed(round_, client, "x.y")
                event = done[kind == "fail"]
            case _:
                raise AssertionError(effect)
        run, effects = step(run, event)
        assert set(effects) - set(pending(run)) <= {e for e in effects if _told(e)}
    assert run.over
    assert pending(run) == ()


def _told(effect: object) -> bool:
    """Outcomes are told once; they ask for nothing."""
    return isinstance(effect, Finish) or type(effect).__name__ in ("Include", "Discard")
