"""The JSON part against its own document: whatever the schema allows, and much that it does not.

Cases come from schemathesis. They are signed as members sign, and sent to the application in this
process: no answer is a 5xx, and each is what the document says of its route.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from tacit.deploy.coordinator.api import ROUTES, Route
from tacit.deploy.coordinator.openapi import openapi
from tacit.deploy.wire.messages import Role
from tests.deploy.coordinator.scene import World
from tests.deploy.edge.attacker import NAMES, RUN, deployed, virtual

DOCUMENT = openapi(ROUTES)
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
HOLDS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
CASES = [
    pytest.param(route, form, id=f"{form.value} {route.method} {route.path}")
    for route in ROUTES
    for form in schemathesis.GenerationMode
    if form == "positive" or route.at or route.query or route.takes not in (None, bytes)
]
"""A route that takes nothing cannot be asked wrongly."""


def test_the_document_validates() -> None:
    SCHEMA.validate()
    assert len(list(SCHEMA.get_all_operations())) == len(ROUTES)


def test_patterns_are_of_the_dialect_that_documents_use() -> None:
    r"""ECMA-262 knows no `\Z`: another language's client would refuse every name."""
    patterns = list(_patterns(DOCUMENT))
    assert patterns
    assert not [one for one in patterns if r"\Z" in one or r"\A" in one]


@pytest.mark.parametrize(("route", "form"), CASES)
def test_no_case_breaks_a_route(
    route: Route, form: schemathesis.GenerationMode, tmp_path_factory: pytest.TempPathFactory
) -> None:
    operation = SCHEMA[route.path][route.method]
    roles = sorted(route.roles or {Role.CLIENT})
    folder = tmp_path_factory.mktemp("edge")
    with virtual() as runner:
        world = runner.run(deployed(folder))

        @settings(
            max_examples=12,
            derandomize=True,
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=form), st.sampled_from(roles), st.booleans())
        def attempt(case: schemathesis.Case[Any], role: Role, real: bool) -> None:
            if real and "run" in (case.path_parameters or {}):
                case.path_parameters["run"] = RUN
            found = runner.run(_sent(world, case, NAMES[role]))
            case.validate_response(found, checks=HOLDS)

        attempt()


async def _sent(world: World, case: schemathesis.Case[Any], who: str) -> httpx.Response:
    """The case as its transport would put it on the wire, signed by a member."""
    wanted = case.as_transport_kwargs(base_url="https://coordinator")
    for unknown in set(wanted) - {"method", "url", "headers", "params", "data", "json", "files"}:
        del wanted[unknown]
    request = requests.Request(**wanted).prepare()
    assert request.url is not None
    parts = urlsplit(request.url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    raw: Any = request.body or b""
    raw = raw.encode() if isinstance(raw, str) else raw
    found = await world.ask(who, str(request.method), target, raw)
    sent = httpx.Request(str(request.method), request.url, content=raw)
    said = httpx.Response(found.status, headers=found.headers, content=found.body, request=sent)
    said.elapsed = timedelta(0)
    return said


def _patterns(node: Any) -> Any:
    if isinstance(node, dict):
        if isinstance(node.get("pattern"), str):
            yield node["pattern"]
        for held in node.values():
            yield from _patterns(held)
    elif isinstance(node, list):
        for held in node:
            yield from _patterns(held)
