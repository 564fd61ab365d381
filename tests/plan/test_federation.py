"""The description: lossless in TOML, the same digest everywhere, and precise about typos."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tacit
from tacit.plan.federation import from_plain
from tacit.plan.kinds import PARTS

HEART = tacit.data.heart_disease().schema


def federation(**changes: Any) -> tacit.Federation:
    base = tacit.Federation(
        task=tacit.numpy.mlp((8, 4), l2=0.01),
        clients=4,
        data=tacit.arrays(shape=(1, 28, 28), classes=10),
        algorithm=tacit.fedadam(lr=0.1, server_lr=0.3),
        protect=tacit.distributed_dp(epsilon=3, delta=1e-5, clip=1),
        rounds=20,
        cohort=tacit.fixed(3, spare=1),
        metrics=("loss",),
    )
    return base.replace(**changes)


recipes = st.sampled_from(
    [
        tacit.plain(),
        tacit.record_dp(1.5, 1e-6, 0.7, 0.2),
        tacit.central_dp(2.0, 1e-5, 1.0),
        tacit.local_dp(8.0, 1e-5, 1.0),
        tacit.secure_average(1.0, cap=20.0),
        (
            tacit.top_k(0.01),
            tacit.clip(2.0, per_layer=True),
            tacit.plain_sum(),
            tacit.mean(over=3.5),
        ),
    ]
)
settings_ = st.fixed_dictionaries(
    {
        "protect": recipes,
        "rounds": st.integers(1, 10**6),
        "quorum": st.integers(0, 4),
        "deadline": st.floats(0, 1e9),
        "name": st.text(max_size=20),
        "data": st.sampled_from([HEART, tacit.arrays((3,), 2, low=-1.0, high=1.0)]),
        "cohort": st.sampled_from([tacit.everyone(), tacit.poisson(0.25), tacit.fixed(2)]),
        "algorithm": st.builds(tacit.fedavg, lr=st.floats(1e-9, 1e3), batch=st.integers(0, 99)),
    }
)


@given(settings_)
@settings(max_examples=60)
def test_toml_round_trip_loses_nothing(changes: dict[str, Any]) -> None:
    described = federation(**changes)
    back = tacit.Federation.from_toml(described.to_toml())
    assert back == described
    assert back.digest == described.digest


VALUES = {"float": 0.25, "int": 3, "tuple[str, ...]": ("weight0", "bias*")}


@pytest.mark.parametrize("kind", PARTS["algorithm"])
def test_every_algorithm_survives_toml(kind: str) -> None:
    """With a value of its type in every setting that has no default, and in every other float."""
    cls = PARTS["algorithm"][kind]
    given = {
        field.name: VALUES[str(field.type)]
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING or field.type == "float"
    }
    described = federation(algorithm=cls(**given))
    back = tacit.Federation.from_toml(described.to_toml())
    assert back.algorithm == described.algorithm
    assert back.digest == described.digest
    assert back.algorithm.source and back.algorithm.build().start(np.zeros(3))["params"].size == 3


@pytest.mark.parametrize(
    "task", [tacit.statistics.pca(2), tacit.statistics.kmeans(3, low=-1), tacit.statistics.ridge(1)]
)
def test_closed_forms_survive_toml(task: Any) -> None:
    described = federation(task=task)
    back = tacit.Federation.from_toml(described.to_toml())
    assert back.task == task and back.digest == described.digest


def test_the_digest_is_the_same_in_any_process_and_hash_seed() -> None:
    script = (
        "import tacit; print(tacit.Federation(task=tacit.numpy.mlp((8, 4)), clients=4,"
        "data=tacit.arrays((3,), 2), algorithm=tacit.fedavg(lr=0.1), rounds=3).digest)"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert found == {"2261d6ee4aaa828e3c15babdc0add510af4d6ea6eee89b58b725bc94797767c6\n"}


def test_whole_and_real_numbers_name_the_same_federation() -> None:
    one = federation(protect=tacit.distributed_dp(epsilon=3, delta=1e-5, clip=1))
    two = federation(protect=tacit.distributed_dp(epsilon=3.0, delta=1e-5, clip=1.0))
    assert one.digest == two.digest
    assert one.digest != federation(rounds=21).digest


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("rounds = 20", "ruonds = 20", ["line 3", "'ruonds'", "Did you mean 'rounds'?"]),
        ('kind = "fedadam"', 'kind = "fedadm"', ["'fedadm'", "Did you mean 'fedadam'?"]),
        ("norm = 1.0", "nrom = 1.0", ["protect[0]", "Did you mean 'norm'?"]),
        ("norm = 1.0", "norm = -1.0", ["norm is -1.0", "a positive number"]),
        ('where = "share"', 'where = "shore"', ["protect[2].where"]),
        ("rounds = 20", 'rounds = "many"', ["line 3", "Expected `int`"]),
        ("rounds = 20", "rounds = 0", ["line 3", "rounds is 0"]),
        ("rounds = 20", "rounds = ", ["not valid TOML", "line 3"]),
        ("format = 1", "format = 9", ["format 9", "line 1"]),
        ('kind = "numpy"', "", ["'kind' is missing"]),
        ("clients = 4", "clients = 4\nextra = true", ["'extra'"]),
    ],
)
def test_a_typo_is_found_at_its_line(old: str, new: str, words: list[str]) -> None:
    text = federation().to_toml()
    assert old in text
    with pytest.raises(tacit.TacitError) as caught:
        tacit.Federation.from_toml(text.replace(old, new, 1), "app.toml")
    message = str(caught.value)
    assert "app.toml" in message and all(word in message for word in words), message


def test_a_value_out_of_range_is_placed_at_the_line_where_it_stands() -> None:
    text = federation().to_toml()
    line = next(i for i, row in enumerate(text.splitlines(), 1) if row.startswith("norm"))
    with pytest.raises(tacit.TacitError, match=f"app.toml, line {line}:"):
        tacit.Federation.from_toml(text.replace("norm = 1.0", "norm = -1.0"), "app.toml")


@pytest.mark.parametrize(
    "plain", [{}, {"protect": 3}, {"task": []}, {"protect": [3]}, {"data": {"kind": "arrays"}}]
)
def test_plain_data_that_is_no_description_is_refused(plain: dict[str, Any]) -> None:
    with pytest.raises(tacit.TacitError) as caught:
        from_plain(plain)
    assert caught.value.code.startswith("description.")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Any) -> None:
    with pytest.raises(tacit.TacitError, match="No such file"):
        tacit.Federation.load(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(tacit.TacitError, match="not UTF-8"):
        tacit.Federation.load(tmp_path / "bytes.toml")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"clients": 0}, "task.setting"),
        ({"quorum": 5}, "description.quorum"),
        ({"metrics": ("f1",)}, "task.setting"),
        ({"deadline": -1.0}, "task.setting"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(tacit.TacitError) as caught:
        federation(**changes)
    assert caught.value.code == code
