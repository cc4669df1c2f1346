"""The one HTTP client: asks with patience, follows pages, and never hands its credential to another host."""

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import stamina
import stamina.instrumentation

from tasks.sources.http import ahead, links
from tasks.sources.http.answers import Answer, Reason
from tasks.sources.http.attempt import Again, Attempt, Manners
from tasks.sources.http.failures import Asked, Failing
from tasks.sources.http.limits import Limits
from tasks.sources.http.trace import Trace

T = TypeVar("T")
R = TypeVar("R")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds between tries where the server names no time: doubling, each with up to as much again at random."""

_MOST_PAGES = 100_000
"""Of one listing: a chain that is longer does not end."""

stamina.instrumentation.set_on_retry_hooks(())  # it would log what was asked


def _now() -> datetime:
    return datetime.now(UTC)


class Http:
    """One API: its address, its credential, its manners. Safe to use from several threads."""

    def __init__(  # noqa: PLR0913 - what there is to know of an API
        self,
        base_url: str,
        *,
        authorise: Callable[[], Mapping[str, str]] = dict,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        accept: str = "application/json",
        identity: str | None = None,
        clock: Callable[[], datetime] = _now,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """base_url: ends with a slash; authorise: the credential's headers, asked for before each try.

        identity: who asks, where the credential changes with time; all who share it share the rate limit.
        Raises ValueError for an address that is none, or that has a credential in it.
        """
        links.check_base(base_url)
        self._base, self._limits, self._sleep = base_url, limits, partial(ahead.pause, sleep=sleep)
        self._attempt = Attempt(Manners(base_url, limits, authorise, accept, identity, clock, self._sleep))

    def get(
        self, path: str, params: Mapping[str, str | int] | None = None, *, trace: Trace, etag: str | None = None
    ) -> Answer:
        """What is at `path`: relative to the base, or a whole URL of the same origin. Raises HttpError."""
        return self._ask(Asked("GET", links.absolute(self._base, path, params), etag=etag), trace)

    def post(self, path: str, body: Mapping[str, Any], *, trace: Trace) -> Answer:
        """What a question that is too long for a URL is answered. It must change nothing: it may be asked again."""
        sent = json.dumps(body).encode()
        return self._ask(Asked("POST", links.absolute(self._base, path), body=sent), trace)

    def pages(
        self, path: str, params: Mapping[str, str | int] | None = None, *, trace: Trace, etag: str | None = None
    ) -> Iterator[Answer]:
        """The pages of a listing as the Link header chains them; with an ETag perhaps one that is unchanged.

        Where a full page (`per_page`) says nothing of others, the next one is asked for: the header may be lost.
        """
        asked = {links.absolute(self._base, path, params)}
        answer = self.get(path, params, trace=trace, etag=etag)
        yield answer
        while True:
            following = answer.next
            if unsure := following is None and _may_go_on(answer, params):
                page = int((params or {}).get("page", 1)) + len(asked)
                following = links.absolute(self._base, path, {**(params or {}), "page": page})
            if following is None:
                return
            if following in asked or len(asked) == _MOST_PAGES:
                raise Failing(Asked("GET", following), 0).error(Reason.BROKEN, "the chain of pages leads in a circle")
            asked.add(following)
            answer = self.get(following, trace=trace)
            if unsure and not _longest_list(answer):
                return
            yield answer

    def each(self, call: Callable[[T], R], over: Iterable[T]) -> Iterator[R]:
        """`call` of each, in order, several under way at once; the first exception is raised, and the rest left."""
        return ahead.each(call, over, max(self._limits.concurrency, 1))

    def close(self) -> None:
        """Close all connections."""
        self._attempt.wire.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close all connections."""
        self.close()

    def _ask(self, asked: Asked, trace: Trace) -> Answer:
        pause = 0.0
        try:
            for attempt in stamina.retry_context(
                on=_at_once, attempts=self._limits.retries + 1, timeout=None,
                wait_initial=_FIRST_PAUSE, wait_max=_LONGEST_PAUSE, wait_jitter=0,
            ):  # fmt: skip
                with attempt:
                    if attempt.num > 1:
                        trace.retried()
                        if pause:
                            self._sleep(pause)
                    try:
                        return self._attempt.once(asked, trace, attempt.num)
                    except Again as again:
                        pause = again.wait if again.wait is not None else self._pause(attempt.next_wait)
                        raise
        except Again as again:
            raise again.error from None
        raise AssertionError("a request ends with an answer or an error")

    def _pause(self, least: float) -> float:
        """Seconds, where the server names none: at random, so that those who failed together do not return together."""
        return min(least * random.uniform(1, 2), self._limits.longest_wait_seconds)  # noqa: S311 - no secret


def _may_go_on(answer: Answer, params: Mapping[str, str | int] | None) -> bool:
    size = (params or {}).get("per_page")
    return size is not None and "link" not in answer.headers and len(_longest_list(answer)) >= int(size)


def _longest_list(answer: Answer) -> list[Any]:
    found = answer.content.values() if isinstance(answer.content, dict) else [answer.content]
    return max((one for one in found if isinstance(one, list)), key=len, default=[])


def _at_once(error: Exception) -> bool | float:
    """The pause lies before the next try, where it can be observed; not after the last one."""
    return 0.0 if isinstance(error, Again) else False
