"""The last few thousand of something, such as keys that were unwrapped."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")


class Remembered(Generic[_K, _V]):
    """What was kept first is forgotten first: whoever asks again makes it again."""

    def __init__(self, most: int = 4_096) -> None:
        self._most = most
        self._kept: OrderedDict[_K, _V] = OrderedDict()

    def __contains__(self, key: object) -> bool:
        return key in self._kept

    def get(self, key: _K) -> _V | None:
        return self._kept.get(key)

    def keep(self, key: _K, value: _V) -> _V:
        self._kept[key] = value
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return value
