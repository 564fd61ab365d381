"""`tacit new`: a folder with a federation that runs as it is, offline."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path
from string import Template

import click

from tacit.cli.output import bullets, console, json_option, print_json
from tacit.record.whole_folder import whole_folder

SCAFFOLD = files("tacit.cli") / "scaffold"

NUMPY, TORCH = "numpy", "torch"

FILES = {
    "app.toml": "the description: task, data contract, algorithm, rounds, protections",
    "app.py": "data() and test_data(): what the clients hold in a simulation",
    "model.py": "the model, which clients run",
    "policy.toml": "what a data owner may demand",
    "README.md": "how to go on",
}
"""What the folder holds; model.py only for PyTorch."""


@click.command("new")
@click.argument("folder", metavar="NAME", type=click.Path(path_type=Path))
@click.option(
    "--kind",
    type=click.Choice([NUMPY, TORCH]),
    default=NUMPY,
    show_default=True,
    help="A model of tacit's own in numpy, or one of yours in PyTorch.",
)
@json_option
def new(folder: Path, kind: str, as_json: bool) -> None:
    """Make the folder NAME with a federation that runs as it is, offline."""
    texts = scaffold(Path(folder.name).name, kind)
    with whole_folder(folder) as place:
        for name, text in texts.items():
            (place / name).write_text(text, "utf-8", newline="\n")
    following = [f"cd {folder}", "tacit check", "tacit simulate"]
    if as_json:
        print_json({"folder": str(folder), "files": list(texts), "next": following})
        return
    screen = console()
    screen.print(f"{folder} is ready:")
    bullets(screen, [f"{name}: {FILES[name]}" for name in texts])
    screen.print("Go on with:")
    bullets(screen, following, "$")


def scaffold(title: str, kind: str) -> dict[str, str]:
    """The texts of the folder's files by name."""
    texts = {"app.py": _template("app.py")}
    if kind == TORCH:
        texts["model.py"] = _template("model.py")
    digest = hashlib.sha256(texts.get("model.py", "").encode()).hexdigest()
    code = json.dumps(f"model:model sha256:{digest}") if kind == TORCH else ""
    name = re.sub(r"[\"\\\x00-\x1f\x7f]", "", title)
    task = _template(f"{kind}_task.toml", digest=digest).rstrip()
    texts["app.toml"] = _template("app.toml", name=name, task=task)
    texts["policy.toml"] = _template("policy.toml", code=code)
    texts["README.md"] = _template("README.md", name=name, files=_listing({*texts, "README.md"}))
    return {name: texts[name] for name in FILES if name in texts}


def _template(file: str, /, **places: str) -> str:
    return Template((SCAFFOLD / f"{file}.tmpl").read_text("utf-8")).substitute(places)


def _listing(names: set[str]) -> str:
    return "\n".join(f"- `{name}`: {text}" for name, text in FILES.items() if name in names)
