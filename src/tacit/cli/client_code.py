"""Which code a client runs: found by loading, in a fresh process, what a client loads.

`python -m tacit.cli.client_code app.toml` rebuilds the plan, imports a client's turn and its
owner's policy, and lists every module that this needed.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, final

import tacit
from tacit.cli.paths import let_import
from tacit.plan.federation import Federation

NEEDED = ("tacit.plan.policy", "tacit.round.turn")
"""What a client loads beside the plan."""


@final
@dataclass(frozen=True)
class Module:
    """One file of Python: its name, its length, and the digest of its bytes."""

    name: str
    lines: int
    sha256: str


@final
@dataclass(frozen=True)
class ClientCode:
    """tacit's modules, the user's own, the code that the description names, and packages."""

    modules: tuple[Module, ...]
    own: tuple[Module, ...]
    named: tuple[str, ...]
    packages: Mapping[str, str]

    def plain(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def client_code(description: Path) -> ClientCode:
    """List the code in a fresh process, where nothing else has been imported."""
    home = str(Path(tacit.__file__).parents[1])
    paths = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(  # noqa: S603  # this interpreter, a module of our own
        [sys.executable, "-m", __name__, str(description)],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        check=True,
        encoding="utf-8",
    )
    found = json.loads(done.stdout)
    return ClientCode(
        tuple(Module(**one) for one in found["modules"]),
        tuple(Module(**one) for one in found["own"]),
        tuple(found["named"]),
        found["packages"],
    )


def listed(modules: Iterable[ModuleType], named: str) -> ClientCode:
    """Sort loaded modules into tacit's, the user's own, and packages.

    What starts with an underscore was loaded by the installer's hooks, not by a client.
    """
    files = {module.__name__: _file(module) for module in modules}
    ours = {name for name in files if name.partition(".")[0] == "tacit"}
    tops = importlib.metadata.packages_distributions()
    packaged = {n for n in files if n.partition(".")[0] in tops and not n.startswith("_")} - ours
    own = [n for n in files if n not in ours | packaged and _is_own(n, files[n])]
    return ClientCode(
        tuple(_module(name, files[name]) for name in sorted(ours) if not _is_tool(name)),
        tuple(_module(name, files[name]) for name in sorted(own)),
        tuple(filter(None, named.split(", "))),
        _versions({name.partition(".")[0] for name in packaged}, tops),
    )


def _file(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file) if file and file.endswith(".py") else None


def _is_tool(name: str) -> bool:
    """This listing itself and what only it needs."""
    return name.startswith("tacit.cli")


def _is_own(name: str, file: Path | None) -> bool:
    outside = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sys.base_prefix)
    return name != "__main__" and file is not None and not str(file).startswith(outside)


def _module(name: str, file: Path | None) -> Module:
    content = file.read_bytes() if file else b""
    return Module(name, content.count(b"\n"), hashlib.sha256(content).hexdigest())


def _versions(tops: Iterable[str], known: Mapping[str, list[str]]) -> dict[str, str]:
    names = {known[top][0] for top in tops}
    return {name: importlib.metadata.version(name) for name in sorted(names, key=str.lower)}


def main(arguments: list[str]) -> None:
    """Load what a client loads, and print what that was."""
    description = Path(arguments[0])
    let_import(description)
    plan = Federation.load(description).plan()
    for name in NEEDED:
        importlib.import_module(name)
    found = listed(tuple(sys.modules.values()), plan.federation.task.code)
    print(json.dumps(found.plain()))  # noqa: T201  # read by `client_code`


if __name__ == "__main__":
    main(sys.argv[1:])
