"""GitHub as a source: repositories with their pull requests, commits, deployments, runs, releases, tags and issues.

Everything is read with conditional requests: where nothing is new, one for each stream is all that is asked. What a
stream remembers lies in the cursor, and moves only where all before it was seen without doubt.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

from config.sources import GitHub, GitHubRepository
from tasks.sources.contract import Cursor, Feed, Item, Part, SourceError
from tasks.sources.github.access import connect, now
from tasks.sources.github.sweep import READERS, REVERTS, Sweep, streams
from tasks.sources.github.visit import KIND

_FAR: Final = 2**33
"""Epoch seconds after everything: whoever has seen until then looks at the first page only."""


class GitHubSource:
    """Repositories to be swept one by one."""

    def __init__(
        self,
        section: GitHub,
        pseudonym_key: bytes | None,
        clock: Callable[[], datetime] = now,
        sleep: Callable[[float], None] = time.sleep,
        page_size: int = 100,
    ) -> None:
        """Without `pseudonym_key`, people appear as GitHub names them."""
        self.name = section.name
        self._section, self._key, self._clock, self._sleep = section, pseudonym_key, clock, sleep
        self._places = {one.origin: one for one in section.repositories}
        self._size = page_size

    def units(self) -> Sequence[str]:
        """The origins."""
        return tuple(self._places)

    def feeds(self, unit: str) -> Sequence[Feed]:
        """All its streams, of one origin."""
        return [(KIND, unit, streams(self._section))]

    def sweep(self, unit: str, cursor: Cursor | None, now: datetime) -> Iterator[Part]:
        """Yield what is new since `cursor`, then `Swept`."""
        place = self._place(unit)
        with connect(self._section, self._clock, self._sleep) as http:
            yield from Sweep(http, self._section, place, self._key, cursor, now, self._size).parts()

    def sample(self, origin: str, stream: str, limit: int) -> Iterator[Item]:
        """The newest items, about `limit` at most, without any cursor."""
        place = self._place(origin)
        readers = ("commits", "pull_requests") if stream == REVERTS else (stream,)
        with connect(self._section, self._clock, self._sleep) as http:
            for name in readers:
                sweep = Sweep(http, self._section, place, self._key, None, self._clock(), min(max(limit, 1), 100))
                whole = name in {"pull_requests", "commits", "releases", "tags"}
                state = {} if whole else {"until": _FAR, "checked": _FAR}
                reading = READERS[name](sweep.visit(name), state)
                items = (part for part in reading if isinstance(part, Item) and part.stream == stream)
                yield from islice(items, limit)
                reading.close()

    def _place(self, unit: str) -> GitHubRepository:
        if not (place := self._places.get(unit)):
            raise SourceError(f"{unit}: no such repository in {self.name}")
        return place
