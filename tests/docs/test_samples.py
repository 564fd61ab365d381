"""Every sample in the README and under docs/ runs as it is printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tests.docs.samples import blocks, commands, run_page

ROOT = Path(__file__).parents[2]


def _pages() -> Iterator[ParameterSet]:
    """Every page with something to run; marked where a block needs PyTorch."""
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        texts = [block.text for block in blocks(page.read_text("utf-8"))]
        torch = any("import torch" in text or "tacit.torch" in text for text in texts)
        if texts:
            name = str(page.relative_to(ROOT))
            yield pytest.param(page, id=name, marks=[pytest.mark.torch] if torch else [])


@pytest.mark.parametrize("page", list(_pages()))
def test_page_runs_as_printed(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _run(page.read_text("utf-8"), tmp_path, monkeypatch, page)


def _run(
    text: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    page: Path = Path("sample.md"),
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    run_page(text, page, folder)


def test_blocks_share_a_namespace_and_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = """
```python
# file: helper_of_a_page.py
def double(x):
    return 2 * x
```
```toml
# file: settings/app.toml
rounds = 3
```
```python
import tomllib
from pathlib import Path
from helper_of_a_page import double
four = double(2)
```
Text between.
```python
rounds = tomllib.loads(Path("settings/app.toml").read_text())["rounds"]
Path("out.txt").write_text(f"{four} {rounds}")
```
"""
    _run(page, tmp_path, monkeypatch)
    assert (tmp_path / "out.txt").read_text() == "4 3"


def test_a_sample_that_fails_is_reported_at_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        _run("Text.\n\n```python\nx = 1\n1 / 0\n```\n", tmp_path, monkeypatch)
    assert caught.traceback[-1].lineno + 1 == 5


def test_a_command_must_end_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run("```console\n$ python -c 'exit(3)'  # exit 3\nprinted\n```\n", tmp_path, monkeypatch)
    with pytest.raises(AssertionError, match="ended with 3, the page says 0"):
        _run("```console\n$ python -c 'exit(3)'\n```\n", tmp_path, monkeypatch)


def test_a_block_is_left_out_only_with_a_reason() -> None:
    block = "```python\n1 / 0\n```\n"
    assert not list(blocks(f"<!-- not run: needs two machines -->\n\n{block}"))
    assert len(list(blocks(f"<!-- not run: needs two machines -->\n{block}{block}"))) == 1
    with pytest.raises(ValueError, match="needs a reason"):
        list(blocks(f"<!-- not run -->\n{block}"))


def test_unknown_commands_are_refused_and_common_ones_left_to_the_reader() -> None:
    (known,) = blocks("```bash\nmake demo\npip install tacit\n# a comment\n```\n")
    assert not list(commands(known))
    (unknown,) = blocks("```bash\ncurl example.org\n```\n")
    with pytest.raises(ValueError, match="curl"):
        list(commands(unknown))


def test_a_long_command_may_go_on_in_the_next_line() -> None:
    (block,) = blocks("```console\n$ tacit check \\\n    app.toml\nfine\n```\n")
    ((arguments, status),) = commands(block)
    assert (arguments[2:], status) == (["tacit.cli.main", "check", "app.toml"], 0)
