"""The adapters of one base that are in memory.

Rule of this file: who stays and who goes; what an adapter is and whether it may be served is `adapters`' business.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from jobs.gpu.engine.adapters import Adapter


class Library:
    """The weights of at most `capacity` adapters of one base, the least recently used going first.

    An adapter that a running request holds lives on until that request ends.
    """

    def __init__(self, read: Callable[[str, Path], Adapter], capacity: int) -> None:
        self._read = read
        self._capacity = capacity
        self._resident: OrderedDict[str, Adapter] = OrderedDict()

    @property
    def resident(self) -> tuple[str, ...]:
        return tuple(self._resident)

    def load(self, name: str, folder: Path) -> Adapter:
        """Read an adapter, in place of what had that name.

        Raises:
            AdapterRefused: see `read_adapter`; what had the name stays.
        """
        adapter = self._read(name, folder)
        self._resident[name] = adapter
        self._resident.move_to_end(name)
        while len(self._resident) > self._capacity:
            self._resident.popitem(last=False)
        return adapter

    def get(self, name: str, folder: Path) -> Adapter:
        """The adapter, read again if its weights had gone.

        Raises:
            AdapterRefused: its folder is gone or has changed for the worse.
        """
        if name not in self._resident:
            return self.load(name, folder)
        self._resident.move_to_end(name)
        return self._resident[name]

    def drop(self, name: str) -> None:
        self._resident.pop(name, None)
