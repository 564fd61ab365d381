"""Buffered rounds under any order of events: each answer is summed once, with its own version."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tacit.round.buffered import room, taken
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

RULES = Rules(rounds=3, target=2, quorum=2, concurrency=3)

rounds, clients = st.integers(0, 4), st.integers(0, 6)
events = st.one_of(
    st.builds(Opened, rounds, st.lists(clients, max_size=5).map(tuple)),
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


def test_arrivals_make_a_round_and_the_rest_goes_on() -> None:
    run, done = play([Opened(0, (5, 1, 3)), Answered(0, 3, "x")])
    assert done == [Draw(0), Ask(0, 5), Ask(0, 1), Ask(0, 3), Draw(0)]
    assert room(run) == 1 and taken(run) == {1, 3, 5}
    run, effects = step(run, Opened(0, (2,)))
    assert effects == (Ask(0, 2),)
    run, effects = step(run, Answered(0, 2, "y"))
    assert effects == (Close(0, (2, 3)),)
    run, effects = step(run, Answered(0, 1, "z"))
    assert effects == () and run.phase is Phase.CLOSING
    run, effects = step(run, Closed(0, "m"))
    assert effects == (Include(0, 2), Include(0, 3), Draw(1))
    assert run.versions == {1: 0} and run.busy == {5: 0}
    run, effects = step(run, Opened(1, (2, 3)))
    assert effects == (Ask(1, 2), Ask(1, 3))
    run, effects = step(run, Answered(0, 5, "late, but counted"))
    assert effects == (Close(1, (1, 5)),)
    run, effects = step(run, Closed(1, "n"))
    assert effects == (Include(0, 1), Include(0, 5), Draw(2))


def test_whoever_waits_or_failed_is_not_asked_again_with_this_model() -> None:
    journal: list[Event] = [Opened(0, (0, 1, 2)), Answered(0, 0, "x"), Failed(0, 1, "round.lost")]
    run, _ = play(journal)
    _, effects = step(run, Opened(0, (0, 1, 2, 4, 4, 5, 6)))
    assert effects == (Ask(0, 4), Ask(0, 5))


def test_repeats_second_answers_and_strangers() -> None:
    run, _ = play([Opened(0, (0, 1, 2)), Answered(0, 0, "x")])
    assert step(run, Answered(0, 0, "x")) == (run, ())
    assert step(run, Answered(0, 0, "y"))[1] == (Discard(0, 0, "round.answered-twice"),)
    assert step(run, Answered(0, 6, "y"))[1] == (Discard(0, 6, "round.foreign"),)
    run, _ = play([Opened(0, (0, 1, 2)), *(Answered(0, c, "x") for c in (0, 1)), Closed(0, "m")])
    assert step(run, Answered(0, 0, "x"))[1] == (Discard(0, 0, "round.late"),)


def test_when_nobody_can_come_any_more_the_run_ends() -> None:
    journal: list[Event] = [Opened(0, (0, 1)), Answered(0, 0, "x"), Failed(0, 1, "round.lost")]
    run, done = play([*journal, Opened(0, ())], replace(RULES, patience=1))
    assert run.phase is Phase.FAILED
    assert done[-2:] == [Discard(0, 0, "round.quorum"), Finish("round.quorum")]


def test_a_round_to_which_nobody_can_come_is_given_up_and_the_buffer_stays() -> None:
    journal: list[Event] = [Opened(0, (0, 1)), Answered(0, 0, "x"), Failed(0, 1, "round.lost")]
    run, done = play([*journal, Opened(0, ())])
    assert done[-1] == Draw(1) and run.missed == 1 and run.versions == {0: 0}
    _, done = play([*journal, Opened(0, ()), Opened(1, (1,)), Answered(1, 1, "y")])
    assert done[-1] == Close(1, (0, 1))
    run, done = play([*journal, Opened(0, ()), Opened(1, ()), Opened(2, ())])
    assert run.phase is Phase.FAILED and done[-1] == Finish("round.quorum")


def test_a_stop_ends_everything() -> None:
    run, done = play([Opened(0, (0, 1)), Stopped("operator"), Answered(0, 0, "x")])
    assert run.phase is Phase.FAILED and done[-1] == Finish("run.stopped")


@given(st.lists(events, max_size=50), st.integers(1, 4), st.integers(1, 4))
def test_any_order_of_any_events(journal: list[Event], target: int, concurrency: int) -> None:
    rules = Rules(rounds=3, target=target, quorum=1, concurrency=concurrency)
    run, _ = begin(rules)
    asked: list[tuple[int, int]] = []
    included: list[tuple[int, int]] = []
    closed: list[int] = []
    for event in journal:
        run, effects = step(run, event)
        for effect in effects:
            match effect:
                case Ask(round=version, client=client):
                    assert version == run.round
                    asked.append((version, client))
                case Close(round=version, included=inside):
                    closed.append(version)
                    assert len(inside) == target == len(set(inside))
                    assert list(inside) == sorted(inside)
                    assert all(run.versions[client] <= version for client in inside)
                case Include(round=version, client=client):
                    included.append((version, client))
                case Draw(round=version):
                    assert version == run.round < rules.rounds
        assert len(run.busy) <= concurrency
        assert not set(run.busy) & set(run.answered)
        assert set(run.versions) == set(run.answered)
    assert len(set(asked)) == len(asked), "a client is asked once with one model"
    assert len(set(included)) == len(included) and set(included) <= set(asked)
    assert closed == sorted(set(closed)), "a model is made once"


@given(st.lists(events, max_size=40))
def test_the_state_is_the_fold_of_the_journal_also_from_disk(journal: list[Event]) -> None:
    run, _ = play(journal)
    assert fold(RULES, [event_from_plain(event_to_plain(e)) for e in journal]) == run


@given(st.permutations(range(3)), st.lists(st.integers(0, 2), min_size=3, max_size=9))
def test_a_run_with_enough_clients_always_ends(order: list[int], fates: list[int]) -> None:
    """A driver that answers every effect: some fail, all others arrive in some order."""
    rules = Rules(rounds=3, target=2, quorum=2, concurrency=3)
    run, effects = begin(rules)
    queue: list[Event] = []
    waiting = list(effects)
    while waiting or queue:
        for effect in waiting:
            match effect:
                case Draw(round=version):
                    free = [c for c in range(20) if c not in taken(run)][: room(run)]
                    queue.append(Opened(version, tuple(free)))
                case Ask(round=version, client=client):
                    fails = fates[client % len(fates)] == 2 and client < 6
                    lost, heard = Failed(version, client, "x"), Answered(version, client, "x")
                    queue.insert(len(queue) // (1 + order[client % 3]), lost if fails else heard)
                case Close(round=version):
                    queue.insert(0, Closed(version, "m"))
        waiting = []
        if queue:
            run, found = step(run, queue.pop(0))
            waiting = list(found)
    assert run.phase is Phase.DONE
