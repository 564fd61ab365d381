"""OpenAPI 3.1 of the table of routes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, cast

import msgspec

from tacit import __version__
from tacit.deploy.coordinator.api import Route
from tacit.deploy.wire.messages import Message, Problem

T = TypeVar("T")

_REF = "#/components/schemas/{name}"
_WHY = {
    "400": "Malformed.",
    "401": "Unsigned, wrongly signed, unknown, revoked, repeated, or of another time.",
    "403": "The member's role, or its part in the run, does not allow it.",
    "404": "Not there, or not yours to see.",
    "405": "Another method.",
    "408": "The body came too slowly, or not at all.",
    "409": "In conflict with what has happened already.",
    "413": "Too large.",
    "415": "The body is compressed or otherwise encoded.",
    "416": "A range that is not there.",
    "422": "Readable, and refused for what it means.",
    "429": "Too often, or too many.",
    "500": "A failure of the coordinator; its log has the incident.",
    "503": "About to stop, or its store does not answer: repeat.",
    "507": "The disk is full.",
}
_ALWAYS = ("405", "500", "503")
_SIGNED = ("400", "401", "403", "408", "413", "415", "422", "507")


def openapi(routes: Iterable[Route]) -> dict[str, Any]:
    """The document."""
    table = tuple(routes)
    found, schemas = msgspec.json.schema_components(_messages(table), ref_template=_REF)
    del found
    schemas = _ecma(schemas)
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "tacit coordinator", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Signature",
                    "description": "RFC 9421 HTTP Message Signature, Ed25519, label `tacit`, over "
                    "@method, @path, @query and content-digest.",
                }
            },
        },
    }


def _ecma(node: T) -> T:
    r"""Patterns in the dialect of JSON Schema (ECMA-262), whose `$` is Python's `\Z`."""
    if isinstance(node, dict):
        plain = {name: _ecma(held) for name, held in node.items()}
        if isinstance(pattern := plain.get("pattern"), str):
            plain["pattern"] = pattern.replace(r"\Z", "$")
        return cast(T, plain)
    return cast(T, [_ecma(held) for held in node]) if isinstance(node, list) else node


def _messages(routes: tuple[Route, ...]) -> list[type[Message]]:
    found: dict[type[Message], None] = {Problem: None}
    for route in routes:
        for one in (route.takes, *_given(route)):
            if isinstance(one, type) and issubclass(one, Message):
                found[one] = None
    return list(found)


def _given(route: Route) -> tuple[type[Message], ...]:
    if isinstance(route.gives, str):
        return ()
    return route.gives if isinstance(route.gives, tuple) else (route.gives,)


def _operation(route: Route) -> dict[str, Any]:
    signed = route.roles is not None or route.own_key
    found: dict[str, Any] = {
        "operationId": route.handler.__module__.rpartition(".")[2] + "_" + route.handler.__name__,
        "summary": route.says,
        "parameters": [*_parameters(route.at, "path"), *_parameters(route.query, "query")],
        "responses": {"200": _success(route), **_errors(route, signed)},
        "security": [{"signature": []}] if signed else [],
    }
    if route.roles is not None:
        found["x-roles"] = sorted(route.roles)
    if route.takes is not None:
        found["requestBody"] = {"required": True, "content": _content(route.takes)}
    return found


def _content(takes: type[Any]) -> dict[str, Any]:
    if takes is bytes:
        return {"application/octet-stream": {}}
    return {"application/json": {"schema": _ref(takes)}}


def _success(route: Route) -> dict[str, Any]:
    if isinstance(route.gives, str):
        return {"description": route.says, "content": {route.gives: {}}}
    refs = [_ref(one) for one in _given(route)]
    schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
    return {"description": route.says, "content": {"application/json": {"schema": schema}}}


def _errors(route: Route, signed: bool) -> dict[str, Any]:
    codes = [*_ALWAYS, *(_SIGNED if signed else ("422",))]
    if route.at is not None:
        codes += ["404", "409"]
    elif route.takes is not None:
        codes += ["409", "429"]
    if route.gives == "application/octet-stream":
        codes.append("416")
    body = {"application/json": {"schema": _ref(Problem)}}
    return {code: {"description": _WHY[code], "content": body} for code in sorted(set(codes))}


def _ref(message: type[Any]) -> dict[str, str]:
    return {"$ref": _REF.format(name=message.__name__)}


def _parameters(message: type[Message] | None, place: str) -> list[dict[str, Any]]:
    if message is None:
        return []
    _, schemas = msgspec.json.schema_components([message], ref_template=_REF)
    found = _ecma(schemas[message.__name__])
    needed = found.get("required", [])
    return [
        {"name": name, "in": place, "required": name in needed, "schema": schema}
        for name, schema in found["properties"].items()
    ]
