"""Where user code is found."""

from __future__ import annotations

import sys
from pathlib import Path


def let_import(description: Path) -> None:
    """Let user code be imported from beside the description, and from the current folder."""
    for folder in (Path.cwd(), description.parent.resolve()):
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        sys.path.insert(0, str(folder))
