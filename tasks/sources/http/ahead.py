"""Several calls at once, whose results come in order; and pauses that end when nobody waits for the result any more."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_AHEAD: Final = 2
"""How many results for each call under way may be held."""
_worker = threading.local()


class Abandoned(Exception):  # noqa: N818 - nothing went wrong
    """Nobody waits for this call any more."""


def each(call: Callable[[T], R], over: Iterable[T], most: int) -> Iterator[R]:
    """`call` of each, in order, at most `most` at once. `over` is read in the caller's thread, little ahead of need.

    The first exception, in that order, is raised; calls under way then end at their next pause, others do not begin.
    """
    abandoned = threading.Event()
    pool = ThreadPoolExecutor(most, "http", initializer=_begin, initargs=(abandoned,))
    waiting: deque[Future[R]] = deque()
    try:
        for one in over:
            waiting.append(pool.submit(call, one))
            if len(waiting) >= most * _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        abandoned.set()
        pool.shutdown(wait=True, cancel_futures=True)


def pause(seconds: float, sleep: Callable[[float], None]) -> None:
    """Sleep, in a call of `each` only for as long as somebody waits for its result. Raises Abandoned."""
    abandoned: threading.Event | None = getattr(_worker, "abandoned", None)
    if abandoned is None or sleep is not time.sleep:
        sleep(seconds)
    elif abandoned.wait(seconds):
        raise Abandoned


def _begin(abandoned: threading.Event) -> None:
    _worker.abandoned = abandoned
