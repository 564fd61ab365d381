from __future__ import annotations

import csv
import gzip
import statistics
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest

from tacit.base.errors import TacitError
from tacit.learn import heart
from tacit.learn.contract import Arrays
from tacit.learn.examples import as_clients
from tacit.learn.heart import HOSPITALS, SHA256, bundled, heart_disease, heart_disease_flamby
from tacit.learn.schema_toml import mapping_from_toml
from tacit.learn.table import read_table

FOLDER = files("tacit.learn") / "datasets" / "heart_disease"
NAMES = ("Cleveland", "Budapest", "Zurich", "Long Beach")


def raw(hospital: str) -> list[list[str]]:
    return list(csv.reader((FOLDER / HOSPITALS[hospital][0]).read_text().splitlines()))


def test_all_920_records_of_four_hospitals_are_used() -> None:
    data = heart_disease()
    assert data.names == data.train.names == data.test.names == NAMES
    counts = [(a.count, b.count) for (_, a), (_, b) in zip(data.train, data.test, strict=True)]
    assert [a + b for a, b in counts] == [303, 294, 123, 200]
    positive = [
        int(a.y.sum() + b.y.sum()) for (_, a), (_, b) in zip(data.train, data.test, strict=True)
    ]
    assert positive == [139, 106, 115, 149]
    assert data.schema.shape == (15,) and data.schema.classes == 2
    assert as_clients(data) is data.train


def test_the_split_is_fixed_and_stratified() -> None:
    once, again = heart_disease(), heart_disease()
    for (name, train), (_, test), (_, repeated) in zip(
        once.train, once.test, again.test, strict=True
    ):
        np.testing.assert_array_equal(test.x, repeated.x)
        for label in (0, 1):
            held = int((test.y == label).sum())
            assert held == round(0.34 * (held + int((train.y == label).sum()))), name


def test_every_hospital_keeps_the_contract() -> None:
    data = heart_disease()
    for clients in (data.train, data.test):
        for name, examples in clients:
            data.schema.check(name, examples)


@pytest.mark.parametrize("hospital", NAMES)
def test_features_are_the_raw_records_scaled_by_public_ranges(hospital: str) -> None:
    """Against a second reading of the file, by position and formula."""
    data = heart_disease()
    index = NAMES.index(hospital)
    both = np.concatenate([clients.examples(index).x for clients in (data.train, data.test)])
    expected = []
    for age, sex, cp, pressure, chol, sugar, ecg, rate, angina, st, *_ in raw(hospital):
        expected.append(
            [
                (float(age) - 18) / 82 * 2 - 1,
                float(sex),
                *(float(float(cp) == kind) for kind in (2, 3, 4)),
                (130 if pressure in {"?", "0"} else float(pressure)) / 90 - 150 / 90,
                (240 if chol in {"?", "0"} else float(chol)) / 300 - 350 / 300,
                float(chol in {"?", "0"}),
                0 if sugar == "?" else float(sugar),
                *(float(ecg != "?" and float(ecg) == kind) for kind in (1, 2)),
                (140 if rate == "?" else float(rate)) / 85 - 135 / 85,
                0 if angina == "?" else float(angina),
                float(angina == "?"),
                (1 if st == "?" else float(st)) / 6 - 2 / 6,
            ]
        )
    np.testing.assert_allclose(
        sorted(map(tuple, both.round(9))), sorted(map(tuple, np.round(expected, 9))), atol=2e-9
    )


def test_the_hospitals_files_fit_their_mappings_and_differ_as_described() -> None:
    schema = heart_disease().schema
    notices = {}
    for name, (file, mapping_file) in HOSPITALS.items():
        mapping = mapping_from_toml((FOLDER / mapping_file).read_text(), mapping_file)
        with as_file(FOLDER / file) as path:
            table = read_table(path, mapping.file, name)
        assert schema.mismatches(table, mapping, name) == ()
        found = schema.notices(table, mapping, name)
        notices[name] = [(n.code, n.facts["column"]) for n in found]
        wrong = mapping_from_toml("[file]\nheader = false\nnames = " + str(list(table.names)))
        assert len(schema.mismatches(table, wrong, name)) >= 8
    assert notices == {
        "Cleveland": [],
        "Budapest": [],
        "Zurich": [
            ("data.mostly-missing", "cholesterol"),
            ("data.mostly-missing", "high_fasting_sugar"),
            ("data.nearly-one-class", "disease"),
        ],
        "Long Beach": [],
    }


def test_a_linear_model_learns_from_the_features() -> None:
    """Least squares on the pooled training records predicts the test records well."""
    data = heart_disease()
    (train,), (test,) = data.train.pooled().held, data.test.pooled().held
    ones = [np.ones((len(part.x), 1)) for part in (train, test)]
    w, *_ = np.linalg.lstsq(np.hstack([train.x, ones[0]]), 2.0 * train.y - 1, rcond=None)
    right = ((np.hstack([test.x, ones[1]]) @ w > 0) == test.y).mean()
    assert right > 0.78
    assert max(test.y.mean(), 1 - test.y.mean()) < 0.6


def test_flamby_s_split_has_its_sizes_and_its_standardisation() -> None:
    data = heart_disease_flamby()
    assert data.schema == Arrays(shape=(13,), classes=2)
    assert data.names == NAMES
    assert [one.count for one in data.train.held] == [199, 172, 30, 85]
    assert [one.count for one in data.test.held] == [104, 89, 16, 45]
    for clients in (data.train, data.test):
        for name, examples in clients:
            data.schema.check(name, examples)
    for name, train in data.train:
        assert np.abs(train.x.mean(axis=0)).max() < 1e-12
        # `statistics.stdev` divides by n - 1, as torch's default does.
        spread = [statistics.stdev(column) for column in train.x.T.tolist()]
        assert all(one == 0 or abs(one - 1) < 1e-12 for one in spread)
        # Zurich never recorded cholesterol.
        assert (spread[3] == 0) == (name == "Zurich")


def test_a_constant_feature_is_zero_in_the_test_records_too() -> None:
    data = heart_disease_flamby()
    zurich = NAMES.index("Zurich")
    assert not data.train.examples(zurich).x[:, 3].any()
    assert not data.test.examples(zurich).x[:, 3].any()


def test_flamby_s_rows_are_rows_of_the_hospitals_own_files() -> None:
    """Each is a row of the raw file that is complete in the columns other than 10 to 12."""
    rows = list(
        csv.DictReader(gzip.decompress(bundled("flamby_split.csv.gz")).decode().splitlines())
    )
    for center, hospital in enumerate(NAMES):
        kept = [r for r in raw(hospital) if "?" not in r[:10] + r[13:]]
        expected = sorted(
            [float(r[i]) for i in (0, 1, 3, 4, 5, 7, 8, 9)] + [float(float(r[13]) > 0)]
            for r in kept
        )
        found = sorted(
            [float(r[c]) for c in ("0", "1", "3", "4", "5", "7", "8", "9", "label")]
            for r in rows
            if int(r["center"]) == center
        )
        assert found == expected


@pytest.mark.parametrize("name", SHA256)
def test_a_corrupt_bundled_file_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for held in SHA256:
        content = bytearray((FOLDER / held).read_bytes())
        content[100] ^= held == name
        (tmp_path / held).write_bytes(content)
    for text in FOLDER.iterdir():
        if text.name.endswith(".toml"):
            (tmp_path / text.name).write_text(text.read_text())
    monkeypatch.setattr(heart, "_FOLDER", tmp_path)
    with pytest.raises(TacitError, match="SHA-256 differs") as caught:
        heart_disease_flamby() if name.endswith(".gz") else heart_disease()
    assert (caught.value.code, caught.value.facts["file"]) == ("data.corrupt", name)


def test_the_files_are_attributed() -> None:
    text = (FOLDER / "ATTRIBUTION.md").read_text()
    assert all(name in text for name in SHA256)
    assert "CC BY 4.0" in text
