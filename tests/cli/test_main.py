from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tacit import __version__
from tacit.base.errors import TacitError
from tacit.cli.main import VERBS, main
from tacit.cli.output import json_option
from tests.cli.scenes import process, small, tacit


def test_help_names_every_command_and_loads_none_of_them() -> None:
    script = (
        "import sys\n"
        "from tacit.cli.main import main\n"
        "main(['--help'], prog_name='tacit', standalone_mode=False)\n"
        "heavy = {'numpy', 'rich', 'msgspec', 'tacit.cli.output'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    for name, (_, line) in VERBS.items():
        assert f"  {name}" in done.stdout
        assert line in done.stdout


def test_importing_tacit_loads_nothing_heavy() -> None:
    script = "import sys, tacit; sys.exit('numpy' in sys.modules or 'click' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def leaves(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        yield from leaves(child, f"{path} {name}")


def test_every_command_is_there_with_help_and_json() -> None:
    found = dict(leaves(main, "tacit"))
    assert {path.split()[1] for path in found} == set(VERBS)
    for path, command in found.items():
        assert command.help, path
        options = {name for parameter in command.params for name in parameter.opts}
        assert "--json" in options, path


@pytest.mark.parametrize("module", ["tacit", "tacit.cli.main"])
def test_both_modules_are_the_command(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"tacit {__version__}\n")


def test_a_misspelt_command_is_a_usage_error_with_the_nearest_name() -> None:
    result = tacit("simulat")
    assert result.exit_code == 2
    assert "no command 'simulat'. Did you mean 'simulate'?" in result.stderr
    assert tacit("simulate", "--sede", "1").exit_code == 2


@click.command()
@click.option("--how", default="known")
@json_option
def failing(how: str, as_json: bool) -> None:
    """Fail in some way."""
    if how == "stopped":
        raise KeyboardInterrupt
    if how == "bug":
        raise RuntimeError("a bug")
    raise TacitError("data.empty", client="[bold]Zurich[/bold]")


@pytest.fixture
def with_failing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERBS, "failing", (f"{__name__}:failing", "Fail."))


@pytest.mark.usefixtures("with_failing")
def test_an_error_names_cause_and_remedy_on_stderr_and_ends_with_1() -> None:
    result = tacit("failing")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "error  Client [bold]Zurich[/bold] has no examples.\n"
        "remedy Leave the client out of the federation, or give it at least one record.\n"
        "[data.empty]\n"
    )


@pytest.mark.usefixtures("with_failing")
def test_with_json_an_error_is_one_object_on_stdout() -> None:
    result = tacit("failing", "--json")
    assert result.exit_code == 1
    assert result.stderr == ""
    assert json.loads(result.stdout) == {
        "error": {
            "code": "data.empty",
            "cause": "Client [bold]Zurich[/bold] has no examples.",
            "remedy": "Leave the client out of the federation, or give it at least one record.",
        }
    }


@pytest.mark.usefixtures("with_failing")
def test_ctrl_c_ends_with_130() -> None:
    result = tacit("failing", "--how", "stopped")
    assert (result.exit_code, result.stderr) == (130, "Stopped. Nothing was saved.\n")


@pytest.mark.usefixtures("with_failing")
def test_a_bug_is_not_swallowed() -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        CliRunner().invoke(main, ["failing", "--how", "bug"], catch_exceptions=False)


def test_a_reader_that_goes_away_is_no_accident(tmp_path: Path) -> None:
    small(tmp_path)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "tacit", "check"],
            cwd=tmp_path,
            stdout=closed,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "")


def test_errors_reach_the_shell(tmp_path: Path) -> None:
    done = process("check", folder=tmp_path)
    assert done.returncode == 1
    assert "app.toml cannot be read" in done.stderr
    assert "tacit new" in done.stderr
