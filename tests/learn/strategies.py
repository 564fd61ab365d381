"""Schemas of any kind, for properties that must hold for all of them."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from tacit.learn.column import Column, Label
from tacit.learn.schema import Schema

texts = (
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.just(" "), max_size=8)
    .map(str.strip)
    .filter(lambda text: text.isprintable() and bool(text))
)
levels = st.lists(texts, min_size=2, max_size=5, unique=True).map(tuple)
finite = st.floats(allow_nan=False, allow_infinity=False)
ranges = (
    st.tuples(finite, finite)
    .map(sorted)
    .filter(lambda ends: ends[0] < ends[1] and math.isfinite(ends[1] - ends[0]))
    .map(tuple)
)
MISSING = st.sampled_from(["refuse", "drop", "fill"])


@st.composite
def columns(draw: st.DrawFn, name: str) -> Column:
    kind = draw(st.sampled_from(["number", "category", "binary"]))
    missing = draw(MISSING)
    flag = missing == "fill" and draw(st.booleans())
    if kind == "number":
        low, high = draw(ranges)
        fill = draw(st.none() | st.floats(low, high)) if missing == "fill" else None
        outside = draw(st.sampled_from(["refuse", "clamp"]))
        return Column(name, "number", draw(texts), low, high, (), missing, fill, flag, outside)
    found = draw(levels) if kind == "category" else draw(levels)[:2]
    chosen = draw(st.sampled_from(found)) if missing == "fill" else None
    return Column(name, kind, categories=found, missing=missing, fill=chosen, flag=flag)


@st.composite
def labels(draw: st.DrawFn, name: str) -> Label:
    missing = draw(st.sampled_from(["refuse", "drop"]))
    if draw(st.booleans()):
        return Label(name, draw(levels), missing=missing)
    low, high = draw(ranges)
    above = draw(st.none() | st.floats(low, high, exclude_max=True))
    return Label(name, (), above, low, high, draw(texts), missing)


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    names = draw(st.lists(texts, min_size=2, max_size=5, unique=True))
    held = tuple(draw(columns(name)) for name in names[1:])
    return Schema(held, draw(labels(names[0])), draw(st.booleans()))
