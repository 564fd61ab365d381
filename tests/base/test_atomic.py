from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tacit.base.atomic import write_atomically
from tacit.base.errors import TacitError

FULL_DISK = """
import resource, sys
from pathlib import Path
from tacit.base.atomic import write_atomically
from tacit.base.errors import TacitError

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomically(Path(sys.argv[1]), "x" * 5000)
except TacitError as error:
    print(error.code)
"""


def test_text_and_bytes_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_atomically(path, "zwölf\n")
    assert path.read_bytes() == "zwölf\n".encode()
    write_atomically(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_when_no_more_bytes_fit_the_old_file_stays_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "data.cannot-write"
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(TacitError, match="No such file") as caught:
        write_atomically(tmp_path / "nowhere" / "file.txt", "x")
    assert caught.value.code == "data.cannot-write"
    assert "nowhere" in caught.value.cause
