"""`tacit serve`: what a coordinator is called when nobody says it."""

from __future__ import annotations

import socket

import pytest

from tacit.cli.serve import EVERYWHERE, _names


@pytest.mark.parametrize("host", EVERYWHERE)
def test_a_coordinator_on_all_networks_is_called_by_its_host_name(host: str) -> None:
    assert _names(host) == (socket.gethostname(), "localhost")


def test_one_on_a_named_host_is_called_by_that() -> None:
    assert _names("10.0.0.7") == ()
