"""The document describes the table of routes, all of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tacit.base.catalogue import CATALOGUE
from tacit.deploy.coordinator.api import ROUTES
from tacit.deploy.coordinator.openapi import openapi
from tacit.deploy.coordinator.refusals import STATUS
from tests.deploy.coordinator.scene import World

DOCUMENT = openapi(ROUTES)


def test_each_route_is_there_with_its_refusals() -> None:
    for route in ROUTES:
        found = DOCUMENT["paths"][route.path][route.method.lower()]
        assert found["summary"] == route.says
        assert {"200", "405", "500", "503"} <= set(found["responses"])
        assert bool(found["security"]) == (route.roles is not None or route.own_key)
        if route.roles is not None:
            assert {"401", "403"} <= set(found["responses"])
        names = {part[1:-1] for part in route.path.split("/") if part.startswith("{")}
        assert {p["name"] for p in found["parameters"] if p["in"] == "path"} == names


def test_operations_have_names_of_their_own() -> None:
    names = [one["operationId"] for path in DOCUMENT["paths"].values() for one in path.values()]
    assert len(set(names)) == len(names) == len(ROUTES)


def test_every_reference_leads_somewhere() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    found = {ref.rpartition("/")[2] for ref in _refs(DOCUMENT)}
    assert found
    assert found <= set(schemas)


def test_it_is_served(tmp_path: Path) -> None:
    served = asyncio.run(World(tmp_path, url="sqlite://").ask(None, "GET", "/openapi.json"))
    assert served.status == 200
    assert served.json["openapi"] == "3.1.0"
    assert set(served.json["paths"]) == {route.path for route in ROUTES}


def test_statuses_are_of_codes_that_exist() -> None:
    assert set(STATUS) <= set(CATALOGUE)


def _refs(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for held in node.values() for ref in _refs(held)]
    if isinstance(node, list):
        return [ref for held in node for ref in _refs(held)]
    return []
