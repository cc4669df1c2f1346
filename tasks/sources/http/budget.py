"""How much may be asked of one host with one credential: shared by all who ask it within this process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TypeAlias
from weakref import WeakValueDictionary

Key: TypeAlias = tuple[object, ...]


class Budget:
    """Who is under way, and until when nobody may ask. Nothing here sleeps."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._under_way = 0
        self._resources: dict[str, str] = {}
        self._closed: dict[str, datetime] = {}

    @contextmanager
    def place(self, most: int) -> Iterator[None]:
        """Wait until fewer than `most` requests are under way, and be one of them."""
        with self._changed:
            while self._under_way >= max(most, 1):
                self._changed.wait()
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def close(self, until: datetime, resource: str = "") -> None:
        """Nobody is to ask for `resource` (all of them if empty) before; our clock."""
        with self._changed:
            self._closed[resource] = max(until, self._closed.get(resource, until))

    def learn(self, lane: str, resource: str) -> None:
        """What is asked for by paths of this `lane` counts against the limit of `resource`."""
        with self._changed:
            self._resources[lane] = resource

    def closed_until(self, lane: str, now: datetime) -> datetime | None:
        """Until when paths of `lane` may not be asked for; None if they may."""
        with self._changed:
            resources = {"", self._resources.get(lane, "")}
            ends = [end for one in resources if (end := self._closed.get(one)) is not None and end > now]
            return max(ends, default=None)


_budgets: WeakValueDictionary[Key, Budget] = WeakValueDictionary()
_lock = threading.Lock()


def shared(key: Key) -> Budget:
    """The budget of `key`, for as long as anybody holds it."""
    with _lock:
        found = _budgets.get(key)
        if found is None:
            found = _budgets[key] = Budget()
        return found
