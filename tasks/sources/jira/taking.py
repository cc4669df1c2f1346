"""Issues become items, each once in each of its states."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tasks.sources.contract import Item, Rejected
from tasks.sources.http import Http
from tasks.sources.jira import payloads
from tasks.sources.jira.history import Histories
from tasks.sources.jira.memory import Memory, millis, moment
from tasks.sources.jira.payloads import ShapeError

Seen = dict[int, int]
"""Id -> time of the update, milliseconds since the epoch."""


class Taking:
    """Of one sweep of one project."""

    def __init__(  # noqa: PLR0913, PLR0917 - one call, from one place
        self, http: Http, whole: Histories, memory: Memory, origin: str, now: datetime, key: bytes | None
    ) -> None:
        self._http, self._whole, self._memory = http, whole, memory
        self._origin, self._now, self._key = origin, now, key
        self.taken = 0
        """Items handed over."""

    def page(self, records: Sequence[Any], seen: Seen) -> Iterator[Item | Rejected]:
        """What of a page is news, with whole histories; notes in `seen` what was on it. Raises HttpError."""
        fresh: list[Mapping[str, Any]] = []
        for record in records:
            try:
                number, at = payloads.number_of(record), payloads.updated_on(record)
            except ShapeError as error:
                self._memory.spoilt = True
                yield payloads.rejected(record, self._origin, str(error), self._key)
                continue
            if seen.get(int(number)) != millis(at) and not self._memory.has(number, at):
                fresh.append(record)
            seen[int(number)] = millis(at)
        if all(payloads.is_whole(record) for record in fresh):
            yield from (self._item(record) for record in fresh)
            return
        whole = self._http.each(self._whole.completed, fresh)
        for record, found in zip(fresh, whole, strict=True):
            if found is not None:
                yield self._item(found)
            else:  # the comparison will tell whether it really has gone
                seen.pop(int(payloads.number_of(record)))

    def missed(self, numbers: Sequence[int], seen: Seen, vanished: list[int]) -> Iterator[Item | Rejected]:
        """Issues that a listing has and the pages had not, fetched one by one. Raises HttpError.

        vanished: gets those that are not there.
        """
        found = self._http.each(lambda number: self._whole.fetched(str(number)), numbers)
        for number, record in zip(numbers, found, strict=True):
            if record is not None:
                yield from self.page([record], seen)
            else:
                vanished.append(number)

    def tombstone(self, number: int, why: str) -> Item:
        """That an issue has gone."""
        self._memory.drop(number, self._now)
        self.taken += 1
        return payloads.tombstone(str(number), self._origin, self._now, why)

    def _item(self, record: Mapping[str, Any]) -> Item:
        """What came back bears a time later than that of its tombstone, whatever Jira says when it was updated."""
        number, at = payloads.number_of(record), payloads.updated_on(record)
        gone = self._memory.gone.get(int(number))
        state = at if gone is None else max(at, self._now, moment(gone) + timedelta(milliseconds=1))
        self._memory.note(number, at)
        self.taken += 1
        return payloads.item(record, self._origin, state, self._key)
