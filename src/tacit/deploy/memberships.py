"""Where the folders of coordinators, clients and members are: under TACIT_HOME, or ~/.tacit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tacit.base.errors import TacitError
from tacit.base.nearest import did_you_mean
from tacit.deploy.client.home import Home, read_coordinator


def tacit_home() -> Path:
    """The folder of everything that is kept between commands."""
    return Path(os.environ.get("TACIT_HOME", "~/.tacit")).expanduser()


def coordinator_folder(given: Path | None) -> Path:
    """Where a coordinator of this machine keeps its things."""
    return given or tacit_home() / "coordinator"


def operator_home(folder: Path) -> Home:
    """The first operator's key and the coordinator's address, beside the coordinator."""
    return Home(folder / "operator")


def member_home(role: str, name: str) -> Home:
    """Where `tacit join` makes a home: data owners apart from everybody else."""
    kind = "clients" if role == "client" else "members"
    return Home(tacit_home() / kind / name)


def client_home(given: Path | None) -> Home:
    """The home that was named, or the only client of this machine; it is there."""
    if given is not None:
        home = Home(given)
        home.check()
        return home
    found = sorted((tacit_home() / "clients").glob("*/coordinator.toml"))
    if len(found) != 1:
        names = ", ".join(file.parent.name for file in found) or "none"
        raise TacitError("client.which-home", folder=tacit_home() / "clients", names=names)
    return Home(found[0].parent)


def remote_home(on: str | None) -> Home:
    """The membership with which to call a coordinator: by its URL, a home's name, or a folder."""
    known = {home.folder: read_coordinator(home) for home in _members()}
    if on is None:
        if len(known) == 1:
            return Home(next(iter(known)))
        told = ", ".join(sorted({one.url for one in known.values()})) or "none"
        raise TacitError("client.which-coordinator", known=told)
    if Path(on).is_dir() and (Path(on) / "coordinator.toml").is_file():
        return Home(Path(on))
    wanted = on.rstrip("/")
    fits = [folder for folder, one in known.items() if wanted in (one.url, folder.name)]
    if not fits:
        names = [one.url for one in known.values()]
        hint = did_you_mean(wanted, names)
        raise TacitError("client.no-membership", on=on, hint=hint)
    return Home(min(fits, key=lambda folder: known[folder].role == "operator"))


def _members() -> Iterator[Home]:
    """Homes of researchers, operators and auditors."""
    for file in sorted((tacit_home() / "members").glob("*/coordinator.toml")):
        yield Home(file.parent)
    operator = operator_home(coordinator_folder(None))
    if operator.coordinator.is_file():
        yield operator
