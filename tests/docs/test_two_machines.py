"""The commands of the pages about machines, each in a process of its own, over real TLS."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
from pathlib import Path

import click
import pytest

from tacit.cli.main import main
from tacit.record.stored import load_run
from tests.docs.machines import Stage, stage, swapped
from tests.docs.samples import blocks

ROOT = Path(__file__).parents[2]
PAGE, OPERATE = (ROOT / "docs" / "how-to" / f"{name}.md" for name in ("two-machines", "operate"))


def test_three_owners_and_a_researcher_do_what_the_page_says(tmp_path: Path) -> None:
    with stage(tmp_path, zurich=("basel", "geneva")) as found:
        found.play(PAGE.read_text("utf-8"))
        said = {command: told for who, command, told in found.said if who in ("ruth", "zurich")}
    assert "A new model after round 5, of 3 answers." in said["tacit runs logs heart --follow"]
    assert said["tacit client log"].count("the coordinator can read it") == 5
    (folder,) = (tmp_path / "ruth" / "runs").iterdir()
    run = load_run(folder)
    assert len(run.history) == 5
    assert {row["answers"] for row in run.history} == {3}


def test_another_machine_swaps_the_names() -> None:
    assert swapped("tacit peers approve basel geneva", "zurich", "basel") == (
        "tacit peers approve zurich geneva"
    )


def test_a_command_that_fails_is_named(tmp_path: Path) -> None:
    page = "```console\nruth$ tacit check missing.toml\n```\n"
    with pytest.raises(AssertionError, match=r"ruth\$ tacit check missing.toml"):
        Stage(tmp_path).play(page)


def test_the_commands_of_backup_and_restore(tmp_path: Path) -> None:
    _, _, section = OPERATE.read_text("utf-8").partition("## Back up and restore")
    backup, restore = (
        f"```console\n{block.text}```\n" for block in blocks(section) if "tar " in block.text
    )
    with stage(tmp_path) as found:
        found.play("```console\noperator$ tacit serve\noperator$ tacit invite zurich\n```\n")
        found.play(backup)
        found.stop(found.running.pop(), signal.SIGKILL)
        shutil.rmtree(tmp_path / "operator" / "home" / "coordinator")
        found.play(restore)
        found.play("```console\nzurich$ tacit join tacit-invite-\nzurich$ tacit peers list\n```\n")
        found.play("```console\noperator$ tacit members list\n```\n")
        assert "zurich" in found.said[-1][2]


def prompts() -> list[str]:
    """Every `machine$ tacit ...` of all pages."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    texts = (block.text for page in pages for block in blocks(page.read_text("utf-8")))
    lines = (line for text in texts for line in text.splitlines())
    found = {match[1] for line in lines if (match := re.match(r"[a-z]+\$ +(tacit .*)", line))}
    return sorted(found)


@pytest.mark.parametrize("line", prompts())
def test_a_command_that_a_page_shows_exists(line: str) -> None:
    command: click.Command = main
    rest, name = shlex.split(line, comments=True)[1:], "tacit"
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name, *rest = rest
        found = command.get_command(click.Context(command), name)
        assert found is not None, line
        command = found
    command.make_context(name, rest, resilient_parsing=True)
