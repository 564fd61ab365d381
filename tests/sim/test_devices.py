"""Devices on the virtual clock: times by formula, presence by trace, and files that name a line."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tacit
from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.learn.examples import as_clients
from tacit.round.events import Opened
from tacit.sim.devices import Device, local_steps
from tacit.sim.faults import Fault
from tacit.sim.trace import Spell, Trace
from tests.sim import checkpoint_case as case
from tests.sim.population import Synthetic
from tests.sim.population import federation as population

COUNT = 5


def data() -> dict[str, tuple[Any, Any]]:
    draw = np.random.default_rng(3)
    return {
        f"site-{i}": (draw.normal(size=(6 + 3 * i, 4)), draw.integers(0, 2, 6 + 3 * i))
        for i in range(COUNT)
    }


def federation(**changes: Any) -> tacit.Federation:
    base = tacit.Federation(
        task=tacit.numpy.logistic_regression(),
        clients=COUNT,
        data=tacit.arrays(shape=(4,), classes=2),
        algorithm=tacit.fedavg(lr=0.1, batch=4, epochs=2),
        rounds=3,
    )
    return base.replace(**changes)


def written(folder: Path, text: str, name: str = "file.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_round_lasts_as_long_as_its_slowest_device() -> None:
    alike = tacit.devices.lognormal(step=0.5, down=100.0, up=50.0, latency=0.25, spread=0.0)
    run = tacit.simulate(federation(), data(), devices=alike)
    cost = run.plan.cost
    steps = 2 * -(-(6 + 3 * (COUNT - 1)) // 4)
    expected = 2 * 0.25 + cost.down / 100 + cost.up / 50 + steps * 0.5
    assert [row["seconds"] for row in run.history] == pytest.approx(
        [expected, 2 * expected, 3 * expected]
    )
    calm = tacit.simulate(federation(), data())
    assert run.model.params.tobytes() == calm.model.params.tobytes()


def test_faults_come_on_top() -> None:
    alike = tacit.devices.lognormal(spread=0.0)
    plain = tacit.simulate(federation(rounds=1), data(), devices=alike)
    late = tacit.simulate(
        federation(rounds=1), data(), devices=alike, faults=lambda r, c: Fault(delay=7.0)
    )
    assert late.history[0]["seconds"] == pytest.approx(plain.history[0]["seconds"] + 7.0)


@pytest.mark.parametrize(
    ("settings_", "records", "steps"),
    [
        (tacit.fedavg(lr=0.1, batch=10, epochs=3), 25, 9),
        (tacit.fedavg(lr=0.1, batch=10, steps=7), 25, 7),
        (tacit.fedavg(lr=0.1, batch=0), 25, 1),
        (tacit.fedsgd(lr=0.1), 25, 1),
        (tacit.fedavg(lr=0.1), 0, 1),
        (tacit.ditto(lr=0.1, batch=10, epochs=1, own_epochs=2), 25, 9),
    ],
)
def test_local_steps_follow_from_the_settings(settings_: Any, records: int, steps: int) -> None:
    assert local_steps(settings_, records) == steps


def test_speeds_spread_lognormally_by_index_alone() -> None:
    law = tacit.devices.lognormal(step=0.05, spread=0.7, slow=0.2, factor=10.0, seed=4).law
    clean = tacit.devices.lognormal(step=0.05, spread=0.7, seed=4).law
    some = [law.device(i, "") for i in range(3000)]
    plain = np.array([clean.device(i, "") for i in range(3000)])
    logs = np.log(plain[:, :3] / [0.05, 1e6, 2.5e5])
    assert abs(logs.mean()) < 4 * 0.7 / np.sqrt(9000)
    assert logs.std() == pytest.approx(0.7, rel=0.05)
    slow = np.array([device.step for device in some]) / plain[:, 0]
    assert set(np.round(slow, 9)) == {1.0, 10.0}
    assert np.mean(slow > 5) == pytest.approx(0.2, abs=0.03)
    assert law.device(999_999, "") == law.device(999_999, "other")


def test_dropouts_have_their_probability_and_need_a_quorum() -> None:
    weak = tacit.devices.lognormal(dropout=0.3)
    run = tacit.simulate(federation(quorum=1, rounds=200, patience=9), data(), devices=weak)
    lost = np.mean([row["failed"] for row in run.history]) / COUNT
    assert lost == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 1000))
    with pytest.raises(TacitError, match="Too few"):
        tacit.simulate(federation(), data(), devices=tacit.devices.lognormal(dropout=1.0))


def test_devices_from_a_file(tmp_path: Path) -> None:
    lines = [f"site-{i},{0.1 * (i + 1)},1000,500,0.5,0" for i in range(COUNT)]
    path = written(tmp_path, "\n".join(["client,step,down,up,latency,dropout", *lines]))
    listed = tacit.devices.from_csv(path)
    assert listed.law.device(1, "site-1") == Device(0.2, 1000, 500, 0.5, 0)
    run = tacit.simulate(federation(), data(), devices=listed)
    assert run.history[0]["seconds"] == pytest.approx(
        1 + 0.5 * 10 + run.plan.cost.down / 1000 + run.plan.cost.up / 500
    )


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("client,step,down\na,1,2\n", 1, "the columns are client,step,down,up,latency,dropout"),
        ("", 1, "not nothing"),
        ("client,step,down,up,speed\n", 1, "client,step,down,up,speed"),
        ("client,step,down,up\na,1,2,3\nb,1,x,3\n", 3, "down is 'x', not a number"),
        ("client,step,down,up\na,1,2\n", 2, "up is None, not a number"),
        ("client,step,down,up\na,1,0,3\n", 2, "down and up more than 0"),
        ("client,step,down,up\na,1,nan,3\n", 2, "down is 'nan'"),
        ("client,step,down,up\na,1,2,3\na,1,2,3\n", 3, "has a line already"),
        ("client,step,down,up\n ,1,2,3\n", 2, "no name"),
        ("client,step,down,up,latency,dropout\na,1,2,3,0,2\n", 2, "a probability"),
    ],
)
def test_a_file_of_devices_is_refused_by_line(
    tmp_path: Path, text: str, line: int, problem: str
) -> None:
    with pytest.raises(TacitError) as caught:
        tacit.devices.from_csv(written(tmp_path, text))
    assert caught.value.code == "run.csv-line"
    assert f"line {line}: " in caught.value.cause and problem in caught.value.cause


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("client,start,end\nsite-0,0,5\nsite-1,5,5\n", 3, "no time of presence"),
        ("client,start,end\nsite-0,-1,5\n", 2, "no time of presence"),
        ("client,start,end\nsite-0,0,200\n", 2, "the period"),
        ("client,start\n", 1, "the columns are client,start,end"),
        ("client,start,end\nsite-O,0,5\n", 2, "no client is called 'site-O'"),
    ],
)
def test_a_trace_is_refused_by_line(tmp_path: Path, text: str, line: int, problem: str) -> None:
    path, plan = written(tmp_path, text), federation().plan()
    with pytest.raises(TacitError) as caught:
        tacit.devices.lognormal().during(path, 100).at(plan, as_clients(data()), Key.seed(0))
    assert caught.value.code == "run.csv-line"
    assert f"line {line}: " in caught.value.cause and problem in caught.value.cause


def test_a_file_that_is_not_there_and_a_client_without_a_line_are_named(tmp_path: Path) -> None:
    with pytest.raises(TacitError, match=r"nothing\.csv, line 1: No such file"):
        tacit.devices.from_csv(tmp_path / "nothing.csv")
    short = written(tmp_path, "client,step,down,up\nsite-0,1,2,3\n")
    with pytest.raises(TacitError, match="Client site-1 has no line in"):
        tacit.simulate(federation(), data(), devices=tacit.devices.from_csv(short))


spells = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 99), st.integers(1, 100)).filter(
        lambda one: one[1] < one[2]
    ),
    max_size=12,
)


def traced(found: list[tuple[int, int, int]], period: float) -> Trace:
    lines = [Spell(f"site-{c}", start, end, 0) for c, start, end in found]
    return Trace.of(lines, period, as_clients(data()), "trace.csv")


def there(found: list[tuple[int, int, int]], client: int, now: float, period: float) -> bool:
    phase = now % period if period else now
    return any(c == client and start <= phase < end for c, start, end in found)


@given(spells, st.sampled_from([0.0, 100.0]), st.integers(0, 350), st.integers(1, 5))
def test_a_trace_against_its_definition(
    found: list[tuple[int, int, int]], period: float, now: int, needed: int
) -> None:
    trace = traced(found, period)
    present = [c for c in range(COUNT) if there(found, c, now, period)]
    assert trace.present(now).tolist() == present
    for client in range(COUNT):
        end = trace.until(client, now)
        gone = [t for t in range(now, now + 250) if not there(found, client, t, period)]
        assert end == (gone[0] if gone else np.inf)
    enough = [
        t
        for t in range(now, 1000)
        if sum(there(found, c, t, period) for c in range(COUNT)) >= needed
    ]
    if enough:
        assert trace.moment(now, needed) == enough[0]
    else:
        with pytest.raises(TacitError) as caught:
            trace.moment(now, needed)
        assert caught.value.code == "run.nobody-there"


@given(st.floats(0.1, 1e3), st.floats(0, 1e6), st.floats(0.01, 0.98))
def test_no_rounding_makes_a_moment_come_too_early(period: float, now: float, part: float) -> None:
    start, end = part * period, (part + 0.015) * period
    trace = Trace.of([Spell("site-2", start, end, 0)], period, as_clients(data()), "trace.csv")
    assert trace.present(trace.moment(now, 1)).tolist() == [2]


def test_only_who_is_there_is_asked_and_the_clock_waits_for_a_quorum(tmp_path: Path) -> None:
    text = "client,start,end\nsite-0,0,1e9\nsite-1,500,1e9\nsite-2,800,1e9\n"
    quick = tacit.devices.lognormal(step=1.0, spread=0.0, latency=0.0)
    there = quick.during(written(tmp_path, text))
    run = tacit.simulate(
        federation(cohort=tacit.fixed(2), quorum=2, rounds=80), data(), devices=there
    )
    opened = [event for event in run.outcome.journal if isinstance(event, Opened)]
    assert run.history[0]["seconds"] == pytest.approx(500 + 2 * 3, abs=1.0)
    assert set(opened[0].cohort) == {0, 1}
    assert {c for event in opened for c in event.cohort} == {0, 1, 2}
    with pytest.raises(TacitError, match="never has 5 clients"):
        tacit.simulate(federation(), data(), devices=there)


def test_who_goes_before_the_answer_is_sent_has_dropped_out(tmp_path: Path) -> None:
    text = "client,start,end\n" + "".join(
        f"site-{i},0,{1 if i == 2 else 1000}\n" for i in range(COUNT)
    )
    slow = tacit.devices.lognormal(step=1.0, spread=0.0).during(written(tmp_path, text))
    run = tacit.simulate(federation(quorum=4, rounds=1), data(), devices=slow)
    assert run.history[0]["failed"] == 1 and run.history[0]["answers"] == 4


def poisson(protect: Any, **changes: Any) -> tacit.Federation:
    return federation(cohort=tacit.poisson(0.5), quorum=1, protect=protect, **changes)


def test_coins_are_tossed_for_all_and_the_absent_left_out(tmp_path: Path) -> None:
    text = "client,start,end\n" + "".join(f"site-{i},0,1e9\n" for i in range(3))
    devices = tacit.devices.lognormal().during(written(tmp_path, text))
    plan, clients, key = poisson(tacit.plain()).plan(), as_clients(data()), Key.seed(0)
    fleet = devices.at(plan, clients, key)
    for k in range(20):
        all_ = plan.federation.cohort.draw(COUNT, key / k)
        assert fleet.cohort(key / k, 0.0) == tuple(c for c in all_ if c < 3)


def test_a_trace_is_refused_where_sampling_of_clients_is_claimed(tmp_path: Path) -> None:
    text = "client,start,end\nsite-0,0,1e9\n"
    traced = tacit.devices.lognormal().during(written(tmp_path, text))
    claiming = poisson(tacit.central_dp(epsilon=5.0, delta=1e-5, clip=1.0))
    with pytest.raises(TacitError) as caught:
        tacit.simulate(claiming, data(), devices=traced)
    assert caught.value.code == "run.trace-amplification"
    assert tacit.simulate(claiming, data(), devices=tacit.devices.lognormal()).history


@pytest.mark.parametrize(
    "wrong",
    [{"step": -1}, {"down": 0}, {"up": -5}, {"dropout": 1.5}, {"slow": -0.1}, {"spread": np.inf}],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(TacitError) as caught:
        tacit.devices.lognormal(**wrong)  # type: ignore[arg-type]  # a table of cases
    assert caught.value.code == "task.setting" and next(iter(wrong)) in caught.value.cause


@settings(max_examples=10)
@given(st.integers(0, 10))
def test_a_run_with_devices_resumes_to_the_same_bits(seed: int) -> None:
    slow = tacit.devices.lognormal(step=2.0, dropout=0.1, slow=0.3, seed=seed)
    described = case.federation(deadline=40.0, cohort=tacit.fixed(4, spare=3))
    arguments: dict[str, Any] = {"federation": described, "devices": slow, "faults": calm}
    with TemporaryDirectory() as folder:
        with pytest.raises(ZeroDivisionError):
            case.simulate(
                Path(folder), progress=lambda row: 1 // int(row["round"] < 6), **arguments
            )
        again = case.simulate(Path(folder), **arguments)
        other = {**arguments, "devices": tacit.devices.lognormal(step=3.0)}
        with pytest.raises(TacitError, match="other devices"):
            case.simulate(Path(folder), **other)
    whole = case.simulate(None, **arguments)
    assert again.model.params.tobytes() == whole.model.params.tobytes()
    assert again.history == whole.history


def calm(round_: int, client: int) -> Fault:
    return Fault()


def test_a_million_devices_are_known_by_index() -> None:
    run = tacit.simulate(
        population(1_000_000, tacit.fixed(5)),
        Synthetic(1_000_000),
        devices=tacit.devices.lognormal(),
    )
    assert run.history[-1]["seconds"] > run.history[0]["seconds"] > 0
