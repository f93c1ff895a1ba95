"""Tells when a module has been imported, without importing it.

Must not know which, nor why it is asked.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType
    from typing import Any


class Awaited:
    """Finds modules as the other finders do, and calls back when one of some has been executed.

    It is one of the interpreter's finders from `begin` until `end`, or until all have come.
    """

    def __init__(self, names: Iterable[str], done: Callable[[], None]) -> None:
        self._names, self._done = {name for name in names if name not in sys.modules}, done

    def begin(self) -> None:
        """Wait for those that are not there yet."""
        if self._names:
            sys.meta_path.insert(0, self)

    def end(self) -> None:
        """Wait no longer."""
        self._names = set()
        # By identity: others may compare in ways of their own.
        for place, finder in enumerate(sys.meta_path):
            if finder is self:
                del sys.meta_path[place]
                break

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """What the finders after this one find; that it is executed is told."""
        if name not in self._names:
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path, target)
            if spec is not None:
                self._tell_when_executed(name, spec.loader)
                return spec
        return None

    def _tell_when_executed(self, name: str, loader: Any) -> None:
        execute = loader.exec_module

        def execute_and_tell(module: ModuleType) -> None:
            if vars(loader).get("exec_module") is execute_and_tell:
                del loader.exec_module
            execute(module)
            if name in self._names:
                self._names.discard(name)
                if not self._names:
                    self.end()
                self._done()

        # A loader that lets nothing be set is not one of files.
        if hasattr(loader, "__dict__") and not isinstance(loader, type):
            loader.exec_module = execute_and_tell
