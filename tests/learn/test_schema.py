from __future__ import annotations

import math
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.plain import digest, from_plain, to_plain
from tacit.learn.column import Column, Label
from tacit.learn.contract import DataContract
from tacit.learn.examples import Examples
from tacit.learn.mock import mock, mock_table
from tacit.learn.schema import Schema, scaled
from tacit.learn.schema_toml import schema_from_toml, schema_to_toml
from tests.learn.strategies import schemas

AGE = Column("age", unit="years", low=20, high=60)
SUGAR = Column("sugar", unit="mg/dl", low=50, high=250, missing="fill", flag=True)
PAIN = Column("pain", "category", categories=("none", "typical", "atypical"))
SEX = Column("sex", "binary", categories=("female", "male"), missing="drop")
GRADE = Label("grade", above=0, low=0, high=4)
SCHEMA = Schema((AGE, SUGAR, PAIN, SEX), GRADE)

TABLE: dict[str, list[Any]] = {
    "age": ["20", "60", "40", " 50 "],
    "sugar": ["100", "", None, "250"],
    "pain": ["none", "typical", "atypical", "none"],
    "sex": ["female", "male", None, "male"],
    "grade": ["0", "1", "2", "4"],
}


def refusal(make: Any, *args: Any, **settings: Any) -> TacitError:
    with pytest.raises(TacitError) as caught:
        make(*args, **settings)
    assert caught.value.remedy
    return caught.value


def changed(**columns: list[Any]) -> dict[str, list[Any]]:
    return {**TABLE, **columns}


def test_encoding_is_the_formula_of_the_docstrings() -> None:
    assert SCHEMA.feature_names == (
        "age",
        "sugar",
        "sugar missing",
        "pain=typical",
        "pain=atypical",
        "sex=male",
    )
    x, y = SCHEMA.encode(TABLE, "a")
    expected = [
        [(20 - 20) / 40 * 2 - 1, (100 - 50) / 200 * 2 - 1, 0, 0, 0, 0],
        [(60 - 20) / 40 * 2 - 1, (150 - 50) / 200 * 2 - 1, 1, 1, 0, 1],
        [(50 - 20) / 40 * 2 - 1, (250 - 50) / 200 * 2 - 1, 0, 0, 0, 1],
    ]
    np.testing.assert_allclose(x, expected, rtol=0, atol=1e-15)
    assert x.dtype == np.float64
    assert y.tolist() == [0, 1, 1]
    assert y.dtype == np.int64


def test_every_level_has_a_feature_without_drop_first_but_a_binary_never_has_two() -> None:
    schema = Schema((PAIN, SEX), GRADE, drop_first=False)
    assert schema.feature_names == ("pain=none", "pain=typical", "pain=atypical", "sex=male")
    x, _ = schema.encode(TABLE, "a")
    assert x.tolist() == [[1, 0, 0, 0], [0, 1, 0, 1], [1, 0, 0, 1]]


def test_classes_are_numbered_in_the_order_of_the_schema() -> None:
    schema = Schema((AGE,), Label("pain", classes=("none", "typical", "atypical")))
    assert schema.classes == 3
    assert schema.encode(TABLE, "a").y.tolist() == [0, 1, 2, 0]


def test_a_regression_target_is_scaled_and_can_be_read_in_its_unit() -> None:
    schema = Schema((PAIN,), Label("age", low=20, high=60, unit="years"))
    assert schema.classes == 0
    y = schema.encode(TABLE, "a").y
    np.testing.assert_allclose(y, [-1, 1, 0, 0.5], atol=1e-15)
    np.testing.assert_allclose(schema.in_unit(y), [20, 60, 40, 50])


def test_a_number_is_filled_with_the_constant_or_the_middle_of_its_range() -> None:
    assert SUGAR.constant == 150
    assert replace(SUGAR, fill=60).constant == 60
    assert replace(PAIN, missing="fill", fill="typical").constant == 1


def test_clamp_moves_numbers_to_the_nearer_end() -> None:
    schema = Schema((replace(AGE, outside="clamp"),), GRADE)
    x, _ = schema.encode(changed(age=["19", "-5", "61", "1e300"]), "a")
    assert x.ravel().tolist() == [-1, -1, 1, 1]


def test_binary_columns_are_0_and_1_by_default_and_take_truth_values() -> None:
    schema = Schema((Column("smoker", "binary"),), GRADE)
    for cells in (["0", "1"], [0, 1], [0.0, 1.0], [False, True], np.array([False, True])):
        table = {"smoker": cells, "grade": [0, 1]}
        assert schema.encode(table, "a").x.tolist() == [[0], [1]]


@pytest.mark.parametrize("whole", [True, False])
def test_a_data_frame_is_a_table(whole: bool) -> None:
    frame = pd.DataFrame(
        {
            "age": pd.array([20, None, 40], dtype="Int64"),
            "sugar": [np.nan, 100.0, 200.0],
            "pain": pd.Categorical(["none", "typical", "none"]),
            "sex": ["male", None, "female"],
            "grade": [0, 1, 2],
        }
    )
    schema = replace(SCHEMA, columns=(replace(AGE, missing="fill", flag=True), *SCHEMA.columns[1:]))
    x, y = schema.encode(frame if whole else {name: frame[name] for name in frame}, "a")
    assert x[:, :4].tolist() == [[-1, 0, 0, 1], [0, 0, 0.5, 0]]
    assert y.tolist() == [0, 1]


def test_a_schema_is_a_data_contract_and_checks_examples() -> None:
    contract: DataContract = SCHEMA
    good = SCHEMA.encode(TABLE, "north")
    contract.check("north", good)
    assert (contract.shape, contract.classes) == ((6,), 2)
    for feature, value in ((0, 1.01), (0, -1.01), (2, -0.5), (5, 2.0)):
        x = good.x.copy()
        x[1, feature] = value
        error = refusal(contract.check, "north", Examples(x, good.y))
        assert error.code == "data.scaled"
        assert error.facts["client"] == "north"
        assert error.facts["column"] == SCHEMA.feature_names[feature]
        assert (error.facts["rows"], str(value) in str(error)) == (1, False)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda x, y: Examples(x[:0], y[:0]), "data.empty"),
        (lambda x, y: Examples(x[:, 1:], y), "data.shape"),
        (lambda x, y: Examples(np.where(x == 1, np.nan, x), y), "data.not-finite"),
        (lambda x, y: Examples(x, y + 1), "data.label-range"),
        (lambda x, y: Examples(x, y - 1), "data.label-range"),
    ],
)
def test_bad_examples_are_refused_in_the_name_of_their_client(spoil: Any, code: str) -> None:
    error = refusal(SCHEMA.check, "north", spoil(*SCHEMA.encode(TABLE, "north")))
    assert (error.code, error.facts["client"]) == (code, "north")


SECRET = "98765"


@pytest.mark.parametrize(
    ("table", "code", "column"),
    [
        (changed(age=["20", SECRET, "40", "50"]), "data.outside", "age"),
        (changed(age=["20", SECRET + " y", "40", "50"]), "data.not-a-number", "age"),
        (changed(age=["20", "nan", "40", "50"]), "data.not-a-number", "age"),
        (changed(age=["20", "inf", "40", "50"]), "data.not-a-number", "age"),
        (changed(age=["20", "1_0", "40", "50"]), "data.not-a-number", "age"),
        (changed(age=["20", "3,5", "40", "50"]), "data.not-a-number", "age"),
        (changed(age=[20.0, np.inf, 40.0, 50.0]), "data.not-a-number", "age"),
        (changed(age=["20", "", "40", "50"]), "data.missing", "age"),
        (changed(age=[20.0, math.nan, 40.0, 50.0]), "data.missing", "age"),
        (changed(pain=["none", SECRET, "none", "none"]), "data.unknown-category", "pain"),
        (changed(grade=["0", "5", "1", "1"]), "data.outside", "grade"),
        (changed(grade=["0", "", "1", "1"]), "data.missing", "grade"),
        (changed(age=["20", "60"]), "data.column-lengths", "sugar"),
        ({k: v for k, v in TABLE.items() if k != "pain"}, "data.missing-column", "pain"),
    ],
)
def test_encode_names_client_column_and_rows_but_shows_no_cell(
    table: dict[str, list[Any]], code: str, column: str
) -> None:
    error = refusal(SCHEMA.encode, table, "north")
    assert (error.code, error.facts["client"], error.facts["column"]) == (code, "north", column)
    assert error.facts.get("rows", 1) == 1
    assert "north" in error.cause
    assert SECRET not in str(error) + repr(error.facts)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301  # our own bytes


@pytest.mark.parametrize(
    "table",
    [{name: [] for name in TABLE}, changed(sex=[None] * 4)],
)
def test_a_client_without_a_usable_row_is_refused(table: dict[str, list[Any]]) -> None:
    error = refusal(SCHEMA.encode, table, "north")
    assert (error.code, error.facts["client"]) == ("data.no-usable-rows", "north")


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"name": ""}, "name"),
        ({"name": " age"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"kind": "numbr"}, "kind"),
        ({"missing": "ignore"}, "missing"),
        ({"outside": "drop"}, "outside"),
        ({"low": None}, "low"),
        ({"high": None}, "high"),
        ({"low": 60, "high": 60}, "high"),
        ({"low": 61}, "high"),
        ({"low": math.nan}, "low"),
        ({"high": math.inf}, "high"),
        ({"low": -1.5e308, "high": 1.5e308}, "high"),
        ({"low": "20"}, "low"),
        ({"low": True}, "low"),
        ({"categories": ("a", "b")}, "categories"),
        ({"fill": 30.0}, "fill"),
        ({"flag": True}, "flag"),
        ({"missing": "fill", "fill": 70.0}, "fill"),
        ({"missing": "fill", "fill": "30"}, "fill"),
    ],
)
def test_a_number_refuses_settings_that_mean_nothing(
    settings: dict[str, Any], setting: str
) -> None:
    error = refusal(Column, **{"name": "age", "low": 20, "high": 60, **settings})
    assert error.code in {"data.setting", "data.contradiction"}
    assert error.facts["name"] == setting
    assert settings.get("name", "age") == error.facts["column"]


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"categories": ()}, "categories"),
        ({"categories": ("a",)}, "categories"),
        ({"categories": ["a", "b"]}, "categories"),
        ({"categories": ("a", "a")}, "categories"),
        ({"categories": ("a", "b ")}, "categories"),
        ({"categories": ("a", 1)}, "categories"),
        ({"kind": "binary", "categories": ("a", "b", "c")}, "categories"),
        ({"low": 0.0}, "low"),
        ({"high": 0.0}, "high"),
        ({"outside": "clamp"}, "outside"),
        ({"missing": "fill"}, "fill"),
        ({"missing": "fill", "fill": "d"}, "fill"),
        ({"missing": "drop", "fill": "a"}, "fill"),
    ],
)
def test_a_category_refuses_settings_that_mean_nothing(
    settings: dict[str, Any], setting: str
) -> None:
    given = {"name": "pain", "kind": "category", "categories": ("a", "b", "c"), **settings}
    error = refusal(Column, **given)
    assert error.code in {"data.setting", "data.contradiction"}
    assert (error.facts["column"], error.facts["name"]) == ("pain", setting)


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"classes": ("a",)}, "classes"),
        ({"classes": ("a", "b"), "above": 1.0}, "above"),
        ({"classes": ("a", "b"), "low": 1.0}, "low"),
        ({}, "low"),
        ({"low": 0.0}, "high"),
        ({"low": 0.0, "high": 4.0, "above": 4.0}, "above"),
        ({"low": 0.0, "high": 4.0, "above": -1.0}, "above"),
        ({"low": 0.0, "high": 4.0, "missing": "fill"}, "missing"),
    ],
)
def test_a_label_refuses_settings_that_mean_nothing(settings: dict[str, Any], setting: str) -> None:
    error = refusal(Label, "grade", **settings)
    assert (error.facts["column"], error.facts["name"]) == ("grade", setting)


def test_a_misspelt_word_gets_the_nearest_one() -> None:
    assert "Did you mean 'number'?" in str(refusal(Column, "age", "numbr", low=0, high=1))


def test_a_name_stands_for_one_column_and_the_label_is_not_a_feature() -> None:
    for columns in ((AGE, AGE), (AGE, Column("grade", low=0, high=4))):
        error = refusal(Schema, columns, GRADE)
        assert error.code == "data.contradiction"
        assert error.facts["column"] in {"age", "grade"}
    assert refusal(Schema, (), GRADE).facts["name"] == "columns"


def test_whole_numbers_and_floats_make_one_schema_with_one_digest() -> None:
    other = Schema((replace(AGE, low=20.0, high=60.0),), replace(GRADE, above=0.0))
    assert digest(to_plain(Schema((AGE,), GRADE))) == digest(to_plain(other))
    loaded = schema_from_toml(schema_to_toml(other))
    assert digest(to_plain(loaded)) == digest(to_plain(other))


@given(schemas())
def test_plain_data_and_toml_lose_nothing(schema: Schema) -> None:
    assert from_plain(Schema, to_plain(schema)) == schema
    assert schema_from_toml(schema_to_toml(schema)) == schema


@given(schemas(), st.integers(1, 20), st.integers(0, 9))
def test_what_is_encoded_keeps_the_contract(schema: Schema, rows: int, seed: int) -> None:
    examples = mock(schema, rows, Key.seed(seed))
    schema.check("a", examples)
    assert examples.count == rows
    assert len(schema.feature_names) == examples.x.shape[1]
    one_record_more = schema.encode(
        {n: cells + cells[:1] for n, cells in mock_table(schema, rows, Key.seed(seed)).items()}, "a"
    )
    # No statistic of the table is used: a record more or less moves no other record's features.
    np.testing.assert_array_equal(one_record_more.x[:rows], examples.x)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.lists(st.floats(-1e6, 1e6), max_size=20))
def test_scaling_is_monotone_and_stays_inside(a: float, b: float, values: list[float]) -> None:
    low, high = min(a, b), max(a, b) + 1e-3
    inside = np.sort(np.clip([low, high, *values], low, high))
    found = scaled(inside, low, high)
    assert (found[0], found[-1]) == (-1, 1)
    assert (np.diff(found) >= 0).all()


def test_a_schema_file_names_the_line_of_a_mistake() -> None:
    text = schema_to_toml(SCHEMA)
    line = text.splitlines().index('kind = "binary"') + 1
    for old, new, said in (
        ('kind = "binary"', 'knid = "binary"', "'kind'"),
        ('kind = "binary"', 'kind = "binery"', "Did you mean 'binary'"),
        ('kind = "binary"', "kind = 2", "str"),
    ):
        error = refusal(schema_from_toml, text.replace(old, new), "s.toml")
        assert error.code.startswith("description.")
        assert (error.facts["file"], error.facts["line"]) == ("s.toml", line)
        assert said in str(error)


def test_a_mistake_in_a_federation_file_is_named_at_its_line_too() -> None:
    held = schema_to_toml(SCHEMA).replace("[[columns]]", "[[data.columns]]")
    text = "rounds = 3\n[data]\n" + held.replace("[label]", "[data.label]")
    assert schema_from_toml(text) == SCHEMA
    error = refusal(schema_from_toml, text.replace("above", "abov"))
    assert text.splitlines()[error.facts["line"] - 1].startswith("above")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("columns = [", "description.syntax"),
        ("rounds = 3", "data.no-schema"),
        ('[data]\nkind = "arrays"\nshape = [3]', "data.no-schema"),
        ("[[columns]]\nname = 'a'\nlow = 0\nhigh = 1", "data.no-schema"),
    ],
)
def test_what_is_not_a_schema_file_says_so(text: str, code: str) -> None:
    assert refusal(schema_from_toml, text, "s.toml").code == code
