"""The machine under any order of events: never a wrong sum, never two answers of one client."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tacit.round.events import (
    Answered,
    Ask,
    Close,
    Closed,
    DeadlinePassed,
    Discard,
    Draw,
    Event,
    Failed,
    Finish,
    Include,
    Opened,
    Stopped,
    event_from_plain,
    event_to_plain,
)
from tacit.round.machine import Phase, Rules, Run, begin, fold, step

RULES = Rules(rounds=3, target=2, quorum=2, patience=2)

rounds, clients = st.integers(0, 4), st.integers(0, 5)
cohorts = st.lists(clients, max_size=5).map(tuple)
events = st.one_of(
    st.builds(Opened, rounds, cohorts, st.floats(0, 10)),
    st.builds(Answered, rounds, clients, st.sampled_from(["a", "b"])),
    st.builds(Failed, rounds, clients, st.just("round.lost")),
    st.builds(DeadlinePassed, rounds),
    st.builds(Closed, rounds, st.just("m")),
)


def play(journal: list[Event], rules: Rules = RULES) -> tuple[Run, list[Any]]:
    run, effects = begin(rules)
    done = list(effects)
    for event in journal:
        run, effects = step(run, event)
        done += effects
    return run, done


def test_a_plain_round() -> None:
    run, done = play([Opened(0, (3, 1)), Answered(0, 3, "x"), Answered(0, 1, "y")])
    assert done == [Draw(0), Ask(0, 1), Ask(0, 3), Close(0, (1, 3))]
    run, effects = step(run, Closed(0, "m"))
    assert effects == (Include(0, 1), Include(0, 3), Draw(1))
    assert run.phase is Phase.DRAWING and run.model == "m"


def test_over_selection_closes_at_the_target_and_discards_the_late() -> None:
    _, done = play(
        [Opened(0, (0, 1, 2)), Answered(0, 2, "x"), Answered(0, 0, "y"), Answered(0, 1, "z")]
    )
    assert done[-2:] == [Close(0, (0, 2)), Discard(0, 1, "round.late")]


def test_a_repeat_is_nothing_and_a_second_answer_is_refused() -> None:
    _, done = play([Opened(0, (0, 1)), Answered(0, 0, "x"), Answered(0, 0, "x")])
    assert done == [Draw(0), Ask(0, 0), Ask(0, 1)]
    run, done = play([Opened(0, (0, 1)), Answered(0, 0, "x"), Answered(0, 0, "other")])
    assert done[-1] == Discard(0, 0, "round.answered-twice")
    assert run.answered == {0: "x"}


def test_the_deadline_closes_with_a_quorum_or_gives_the_round_up() -> None:
    rules = Rules(rounds=3, target=3, quorum=2, patience=2)
    opened: list[Event] = [Opened(0, (0, 1, 2)), Answered(0, 0, "x")]
    _, done = play([*opened, Answered(0, 1, "y"), DeadlinePassed(0)], rules)
    assert done[-1] == Close(0, (0, 1))
    _, done = play([*opened, DeadlinePassed(0)], rules)
    assert done[-2:] == [Discard(0, 0, "round.quorum"), Draw(1)]


def test_patience_ends_a_run_that_never_reaches_its_quorum() -> None:
    journal: list[Event] = [Opened(0, (0,)), Opened(1, (1,))]
    run, done = play(journal)
    assert run.phase is Phase.FAILED and done[-1] == Finish("round.quorum")


def test_a_stop_ends_everything() -> None:
    run, done = play([Opened(0, (0, 1)), Stopped("operator"), Answered(0, 0, "x")])
    assert run.phase is Phase.FAILED and done[-1] == Finish("run.stopped")


@given(st.lists(events, max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_any_order_of_any_events(journal: list[Event], target: int, quorum: int) -> None:
    rules = Rules(rounds=3, target=target, quorum=quorum, patience=2)
    run, effects = begin(rules)
    closed: list[int] = []
    included: set[tuple[int, int]] = set()
    for event in journal:
        before = run
        run, effects = step(run, event)
        for effect in effects:
            if isinstance(effect, Close):
                closed.append(effect.round)
                assert len(effect.included) >= quorum
                assert len(set(effect.included)) == len(effect.included)
                assert list(effect.included) == sorted(effect.included)
                assert set(effect.included) <= set(run.cohort)
                assert all(client in run.answered for client in effect.included)
            if isinstance(effect, Include):
                assert (effect.round, effect.client) not in included
                included.add((effect.round, effect.client))
                assert effect.client in before.included
        assert run.round >= before.round
    assert len(set(closed)) == len(closed), "a round is summed once"


@given(st.lists(events, max_size=30))
def test_the_state_is_the_fold_of_the_journal_also_from_disk(journal: list[Event]) -> None:
    run, _ = play(journal)
    assert fold(RULES, journal) == run
    assert fold(RULES, [event_from_plain(event_to_plain(e)) for e in journal]) == run


@given(st.lists(events, max_size=20), st.permutations(range(2)))
def test_order_of_two_answers_does_not_matter(journal: list[Event], order: list[int]) -> None:
    answers: list[Event] = [Answered(0, 0, "x"), Answered(0, 1, "y")]
    start: list[Event] = [Opened(0, (0, 1))]
    one, _ = play([*start, *answers])
    other, _ = play([*start, *(answers[i] for i in order)])
    assert one.included == other.included and dict(one.answered) == dict(other.answered)
