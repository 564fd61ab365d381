"""Code by name: found, digested, refused when it is not what the description means."""

from __future__ import annotations

import functools
import hashlib
import linecache
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tacit.base.errors import TacitError
from tacit.learn.code import CodeName, code_name, load, user_code

SOURCE = "def model():\n    return 1\n\n\nclass Net:\n    def __init__(self):\n        self.x = 2\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of user modules on the path; what was imported from it is forgotten after."""
    (tmp_path / "user_app.py").write_text(SOURCE, "utf-8")
    package = tmp_path / "user_pkg"
    package.mkdir()
    (package / "__init__.py").write_text("", "utf-8")
    (package / "nets.py").write_text(SOURCE, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("user_")]:
        del sys.modules[name]


def _refused(error: str, action: Callable[[], Any]) -> TacitError:
    with pytest.raises(TacitError) as refused:
        action()
    assert refused.value.code == error, refused.value
    return refused.value


def test_a_name_is_found_and_digested(folder: Path) -> None:
    named = code_name("user_app:model")
    assert named == ("user_app:model", hashlib.sha256(SOURCE.encode()).hexdigest())
    assert load(*named)() == 1
    assert code_name("user_pkg.nets:Net") == ("user_pkg.nets:Net", named.source)
    assert load("user_pkg.nets:Net.__init__").__qualname__ == "Net.__init__"


def test_a_callable_has_the_name_that_finds_it(folder: Path) -> None:
    net = load("user_pkg.nets:Net")
    assert code_name(net) == code_name("user_pkg.nets:Net")
    assert load(*code_name(net)) is net


@pytest.mark.parametrize("newline", [b"\r\n", b"\r"])
def test_a_digest_does_not_depend_on_newlines(folder: Path, newline: bytes) -> None:
    before = code_name("user_app:model")
    (folder / "user_app.py").write_bytes(SOURCE.encode().replace(b"\n", newline))
    assert code_name("user_app:model") == before


def test_changed_code_is_refused_before_it_runs(folder: Path) -> None:
    named = CodeName("user_app:model", code_name("user_pkg.nets:model").source)
    trap = "raise SystemExit('ran')\n"
    (folder / "user_app.py").write_text(SOURCE + trap, "utf-8")
    error = _refused("task.code-changed", lambda: load(*named))
    assert named.source[:12] in error.cause
    assert "user_app" not in sys.modules
    assert "approved" in error.remedy


def test_a_missing_module_names_its_neighbour(folder: Path) -> None:
    error = _refused("task.code-no-module", lambda: load("user_ap:model"))
    assert "Did you mean 'user_app'?" in error.remedy
    assert "PYTHONPATH" in error.remedy
    error = _refused("task.code-no-module", lambda: load("user_pkg.net:model"))
    assert "Did you mean 'user_pkg.nets'?" in error.remedy
    _refused("task.code-no-module", lambda: load("user_app.inner:model"))
    _refused("task.code-no-module", lambda: load("zzz_qqq.inner:model", "0" * 64))


def test_a_missing_function_names_its_neighbour(folder: Path) -> None:
    error = _refused("task.code-no-function", lambda: load("user_app:modle"))
    assert "Did you mean 'model'?" in error.remedy
    error = _refused("task.code-no-function", lambda: code_name("user_app:Net.forwards"))
    assert "Net.forwards" in error.cause


@pytest.mark.parametrize(
    "name", ["", "model", ":", "a:", ":b", "a b:c", "a:b:c", "a/b:c", "a..b:c"]
)
def test_what_is_not_a_name(name: str) -> None:
    _refused("task.code-name", lambda: code_name(name))
    _refused("task.code-name", lambda: load(name, "0" * 64))


def test_what_has_no_name() -> None:
    def inner() -> None:
        pass

    nameless: list[Any] = [functools.partial(print), 3, object()]
    for target in nameless:
        _refused("task.code-not-named", functools.partial(code_name, target))
    local: list[Any] = [inner, lambda: None]
    for target in local:
        error = _refused("task.code-local", functools.partial(code_name, target))
        assert "top of a module" in error.remedy


def test_a_value_is_not_a_function(folder: Path) -> None:
    (folder / "user_value.py").write_text("model = 3\n", "utf-8")
    error = _refused("task.code-not-named", lambda: load("user_value:model"))
    assert "int" in error.cause


def test_code_without_source_is_refused() -> None:
    _refused("task.code-no-source", lambda: code_name("math:sqrt"))
    _refused("task.code-no-source", lambda: code_name("sys:exit"))


def test_a_module_that_fails_on_import_is_named(folder: Path) -> None:
    (folder / "user_bad.py").write_text("import user_missing\n", "utf-8")
    error = _refused("task.code-fails", lambda: load("user_bad:model"))
    assert "user_bad:model" in error.cause
    assert "user_missing" in error.cause
    assert isinstance(error.__cause__, ModuleNotFoundError)


def _cell(text: str, name: str) -> ModuleType:
    """A module without a file whose source is known line by line, as a notebook's is."""
    module = ModuleType("user_notebook")
    lines = text.splitlines(keepends=True)
    linecache.cache[name] = (len(text), None, lines, name)
    sys.modules["user_notebook"] = module
    exec(compile(text, name, "exec"), vars(module))
    return module


def test_notebook_code_is_remembered_with_its_cell(folder: Path) -> None:
    first = _cell(SOURCE, "<cell 1>")
    named = [code_name(first.model), code_name(first.Net)]
    assert named[0] == ("user_notebook:model", hashlib.sha256(SOURCE.encode()).hexdigest())
    assert named[0].source == named[1].source
    second = _cell(SOURCE.replace("1", "5"), "<cell 2>")
    again = code_name(second.model)
    assert again.source != named[0].source
    del sys.modules["user_notebook"]
    assert load(*named[0])() == 1
    assert load(*again)() == 5
    assert load(*named[1]) is first.Net


def test_a_class_whose_cell_is_unknown_is_refused() -> None:
    module = _cell("class Empty:\n    pass\n", "<cell 3>")
    _refused("task.code-no-source", lambda: code_name(module.Empty))
    del sys.modules["user_notebook"]


SCRIPT = """
import sys
from tacit.base.errors import TacitError
from tacit.learn import code

def model():
    return 4

if len(sys.argv) == 1:
    named = code.code_name(model)
    code._REMEMBERED.clear()
    print(named.name, code.load(*named)(), named.source)
else:
    try:
        code.load("__main__:model", sys.argv[1])
    except TacitError as error:
        print(error.code)
"""


def test_a_script_is_its_own_module(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, "utf-8")
    source = hashlib.sha256(SCRIPT.encode()).hexdigest()
    for arguments, expected in (([], f"__main__:model 4 {source}"), (["0"], "task.code-main")):
        done = subprocess.run(
            [sys.executable, str(script), *arguments], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == expected


def test_a_script_that_another_process_runs_is_refused() -> None:
    error = _refused("task.code-main", lambda: load("__main__:nothing_of_the_kind", "0" * 64))
    assert "module:function" in error.remedy


def test_errors_of_user_code_keep_their_cause() -> None:
    def fail(error: BaseException) -> None:
        with user_code("app:model", "run"):
            raise error

    refused = _refused("task.code-fails", lambda: fail(ValueError("no such size")))
    assert "ValueError: no such size" in refused.cause
    bare = _refused("task.code-fails", lambda: fail(RuntimeError()))
    assert "RuntimeError" in bare.cause
    ours = TacitError("task.no-shape")
    with pytest.raises(TacitError) as same:
        fail(ours)
    assert same.value is ours
    with pytest.raises(KeyboardInterrupt):
        fail(KeyboardInterrupt())
