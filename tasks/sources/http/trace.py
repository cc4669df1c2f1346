"""The evidence of how one stream of one origin was fetched in one sweep, for `quality.receipts` to judge."""

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

from quality.extractions import Extraction, Id
from tasks.sources.http.answers import Answer, HttpError, Reason


class Trace:
    """Collects what happened; safe to use from several threads. The public attributes are to be set by a connector."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.complete = False
        """The source's own end mark was seen."""
        self.total_advertised: int | None = None
        self.pages_advertised: int | None = None
        """Kept by `page` where the Link header tells; the most that was ever told."""
        self.page_size: int | None = None
        self.canary: Id | None = None
        self.canary_seen = False
        """Set by `page` too, if the canary is among its ids."""
        self.scopes_granted: tuple[str, ...] | None = None
        self.scopes_needed: tuple[str, ...] = ()
        self.scope_lost = False
        self.missing = 0
        self.missing_ids: tuple[Id, ...] = ()
        self.error: str | None = None
        self.content: str | None = None
        self.failed_at: int | None = None
        self.timed_out = False
        self.rate_limited = False
        self.rate_limit_remaining: int | None = None
        self.rate_limit_reset: datetime | None = None
        self.clock_skew_seconds: float | None = None
        self._lock = threading.RLock()
        self._began = time.monotonic()
        self._sizes: list[int] = []
        self._nameless = self._named = 0
        self._seen: set[Id] = set()
        self._pages: set[frozenset[Id] | int] = set()
        self._repeated = 0
        self._first: Id | None = None
        self._last: Id | None = None
        self._statuses: Counter[int] = Counter()
        self._retries = 0

    def page(
        self, items: Sequence[Mapping[str, Any]] | int, answer: Answer | None = None, *, ids: Sequence[Id] = ()
    ) -> None:
        """A page of the listing was taken: its items or their number, and their ids as far as they have one.

        What has an id counts once, however often it came: where one is listed twice another may be missing.
        """
        nameless = max((items if isinstance(items, int) else len(items)) - len(ids), 0)
        size = nameless + len(set(ids))
        held = frozenset(ids) or (hash(answer.raw) if answer is not None and answer.raw and size else None)
        with self._lock:
            self._sizes.append(size)
            self._repeated += held in self._pages
            if held is not None:
                self._pages.add(held)
            self._nameless += nameless
            self._named += size - nameless
            self._seen.update(ids)
            self.canary_seen = self.canary_seen or (self.canary is not None and self.canary in self._seen)
            if ids:
                self._first, self._last = ids[0] if self._first is None else self._first, ids[-1]
            if answer is not None and answer.last is not None:
                self.pages_advertised = max(answer.last, self.pages_advertised or 0)

    def fail(self, error: HttpError) -> None:
        """The chain of pages broke after those that were taken."""
        with self._lock:
            self.complete = False
            self.failed_at = len(self._sizes) + 1
            self.error = error.said or str(error)
            self.timed_out = error.reason is Reason.TIMEOUT
            self.content = error.content
            self.rate_limited = error.reason is Reason.LIMITED
            self.rate_limit_reset = error.reset or self.rate_limit_reset
            refused = error.reason is Reason.REFUSED and error.status == HTTPStatus.FORBIDDEN
            self.scope_lost = self.scope_lost or (refused and bool(self._sizes))

    def forgive(self, status: int) -> None:
        """An error was an answer after all, e.g. 409 of an empty repository: one such status does not count."""
        with self._lock:
            self._statuses[status] -= 1

    def answered(self, status: int, *, remaining: int | None, reset: datetime | None, skew: float | None) -> None:
        """By the client: there was an answer. reset: by our clock; skew: of the server's clock, seconds."""
        with self._lock:
            self._statuses[status] += 1
            if remaining is not None:
                self.rate_limit_remaining = remaining
            if reset is not None:
                self.rate_limit_reset = reset
            if skew is not None and abs(skew) >= abs(self.clock_skew_seconds or 0.0):
                self.clock_skew_seconds = skew

    def retried(self) -> None:
        """By the client: the same is asked again."""
        with self._lock:
            self._retries += 1

    @property
    def items_received(self) -> int:
        """So far; each id once."""
        with self._lock:
            return len(self._seen) + self._nameless

    @property
    def items_repeated(self) -> int:
        """How many ids came again on a later page: the listing moved while it was read."""
        with self._lock:
            return self._named - len(self._seen)

    @property
    def pages_fetched(self) -> int:
        """So far."""
        with self._lock:
            return len(self._sizes)

    def extraction(self, start: datetime | None = None, end: datetime | None = None) -> Extraction:
        """What is stated about fetching the stream for [start, end); None: without bound."""
        with self._lock:
            return Extraction(
                self.stream, start, end,
                complete=self.complete,
                pages_fetched=len(self._sizes), pages_advertised=self.pages_advertised,
                items_received=self.items_received, total_advertised=self.total_advertised,
                page_size=self.page_size, page_sizes=tuple(self._sizes), repeated_pages=self._repeated,
                statuses={status: times for status, times in sorted(self._statuses.items()) if times > 0},
                retries=self._retries,
                failed_at=self.failed_at, error=self.error, timed_out=self.timed_out, content=self.content,
                rate_limited=self.rate_limited, rate_limit_remaining=self.rate_limit_remaining,
                rate_limit_reset=self.rate_limit_reset,
                scope_lost=self.scope_lost, scopes_granted=self.scopes_granted, scopes_needed=self.scopes_needed,
                clock_skew_seconds=self.clock_skew_seconds, canary=self.canary, canary_seen=self.canary_seen,
                first_id=self._first, last_id=self._last,
                missing=self.missing, missing_ids=self.missing_ids,
                duration_seconds=round(time.monotonic() - self._began, 3),
            )  # fmt: skip
