"""The disks of all nodes: real files, with death, lack of room and lost flushes in between.

While a `Disks` is entered, the functions of `os` and `open` that change files below `root` belong
to the node whose folder it is; everything else passes through. After a power cut a file that was
not flushed is torn, and a name whose folder was not flushed is gone.
"""

from __future__ import annotations

import builtins
import io
import os
import random
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, final

from tacit.testing.node import Node

_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@final
class Flushes:
    """What one disk has not made durable yet."""

    def __init__(self) -> None:
        self.torn: set[str] = set()
        self.names: dict[str, str | None] = {}

    def opened(self, path: str, *, new: bool) -> None:
        """A file is about to be written."""
        self.torn.add(path)
        if new:
            self.names[path] = None

    def flushed(self, path: str) -> None:
        """A file's bytes, or a folder's names, are durable."""
        self.torn.discard(path)
        for name in [name for name in self.names if name.rpartition(os.sep)[0] == path]:
            del self.names[name]

    def moved(self, source: str, target: str, *, new: bool) -> None:
        """A file has another name."""
        if source in self.torn:
            self.torn.discard(source)
            self.torn.add(target)
        before = self.names.pop(source, source)
        if new:
            self.names[target] = before

    def removed(self, path: str) -> None:
        """A file is gone."""
        self.torn.discard(path)
        self.names.pop(path, None)

    def cut(self, chance: random.Random) -> None:
        """The power fails: of what was not flushed, some is lost."""
        for path in map(Path, sorted(self.torn)):
            if path.is_file():
                size = path.stat().st_size
                os.truncate(path, chance.choice((0, size // 2, size)))
        for name, before in reversed(tuple(self.names.items())):
            path = Path(name)
            if not path.is_file() or chance.random() < 0.5:
                continue
            if before is not None and Path(before).parent.is_dir():
                path.replace(before)
            else:
                path.unlink()
        self.torn.clear()
        self.names.clear()


@final
class Disks:
    """A context in which files below `root` belong to nodes, by the name of the first folder."""

    def __init__(self, root: Path) -> None:
        self.root = f"{root}{os.sep}"
        self.nodes: dict[str, Node] = {}
        self.flushes: dict[str, Flushes] = {}
        self.paths: dict[int, str] = {}
        self._real: dict[str, Callable[..., Any]] = {}
        self._open = io.open

    def add(self, node: Node) -> None:
        """A node whose folder lies in the root."""
        self.nodes[node.name] = node
        self.flushes[node.name] = Flushes()

    def __enter__(self) -> Disks:
        for name in ("open", "write", "fsync", "replace", "rename", "unlink", "remove", "mkdir"):
            self._real[name] = getattr(os, name)
            setattr(os, name, getattr(self, f"_{name}_file"))
        self._open = io.open
        io.open = builtins.open = self._open_stream
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)
        io.open = builtins.open = self._open

    def cut(self, node: Node, chance: random.Random) -> None:
        """The power of a node's machine fails."""
        flushes = self.flushes[node.name]
        self.__exit__(None, None, None)
        try:
            flushes.cut(chance)
        finally:
            self.__enter__()

    def _owner(self, path: Any) -> tuple[Node | None, str]:
        text = self.paths.get(path, "") if isinstance(path, int) else os.fspath(path)
        if not isinstance(text, str) or not text.startswith(self.root):
            return None, ""
        name = text[len(self.root) :].partition(os.sep)[0]
        return self.nodes.get(name), text

    def _open_file(self, path: Any, flags: int, *rest: Any, **more: Any) -> int:
        node, text = self._owner(path)
        new = self._opens(node, text, writes=bool(flags & _WRITES))
        file: int = self._real["open"](path, flags, *rest, **more)
        if node is None:
            self.paths.pop(file, None)
        else:
            self._opened(node, text, file, new)
        return file

    def _open_stream(self, file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        node, text = self._owner(file) if not isinstance(file, int) else (None, "")
        new = self._opens(node, text, writes=bool(set(mode) & set("wax+")))
        stream = self._open(file, mode, *rest, **more)
        if node is not None:
            self._opened(node, text, stream.fileno(), new)
        elif not isinstance(file, int):
            self.paths.pop(stream.fileno(), None)
        return stream

    def _opens(self, node: Node | None, text: str, *, writes: bool) -> bool | None:
        """Whether a file will be new; None where it is only read."""
        if node is None:
            return None
        if not writes:
            node.alive()
            return None
        node.operate()
        node.room(text)
        return not Path(text).exists()

    def _opened(self, node: Node, text: str, file: int, new: bool | None) -> None:
        self.paths[file] = text
        if new is not None:
            self.flushes[node.name].opened(text, new=new)

    def _write_file(self, file: int, data: Any) -> int:
        node, text = self._owner(file)
        if node is not None:
            node.operate()
            node.room(text)
        count: int = self._real["write"](file, data)
        return count

    def _fsync_file(self, file: int) -> None:
        node, text = self._owner(file)
        if node is not None:
            node.operate()
            if text in self.flushes[node.name].torn:
                node.room(text)
            self.flushes[node.name].flushed(text)
        self._real["fsync"](file)

    def _replace_file(self, source: Any, target: Any, **more: Any) -> None:
        node, text = self._owner(target)
        if node is None:
            self._real["replace"](source, target, **more)
            return
        node.operate()
        new = not Path(text).exists()
        self._real["replace"](source, target, **more)
        self.flushes[node.name].moved(os.fspath(source), text, new=new)

    _rename_file = _replace_file

    def _unlink_file(self, path: Any, **more: Any) -> None:
        node, text = self._owner(path)
        if node is not None:
            node.operate()
        self._real["unlink"](path, **more)
        if node is not None:
            self.flushes[node.name].removed(text)

    _remove_file = _unlink_file

    def _mkdir_file(self, path: Any, *rest: Any, **more: Any) -> None:
        node, text = self._owner(path)
        if node is not None:
            node.operate()
            node.room(text)
        self._real["mkdir"](path, *rest, **more)
