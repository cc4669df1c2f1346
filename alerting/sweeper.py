"""One look after the other at what is owed, and who is told at the same time: channels do not wait for each other.

Each channel has one message on its way at most; a handful of threads carry them, so that a channel that does not answer
keeps only itself waiting. All that decides what is told is in the thread that sweeps.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from pymongo.errors import PyMongoError

from alerting import owed, routes, storms, troubles
from alerting.delivery import Delivery
from alerting.exposition import Exposition
from alerting.incidents import Incident, from_document
from alerting.leader import Leader
from alerting.owed import Owed
from alerting.pace import Pace
from alerting.reasons import Reason
from alerting.slack.client import DeliveryError
from config import schema
from config.settings import Settings

log = logging.getLogger(__name__)

TRIES: Final = 3
"""After so many attempts in a row that failed for now, an incident lets the others of its channel go first."""
AT_ONCE: Final = 8
"""Messages on their way, each to another channel."""
REMEMBERED: Final = 50_000
"""So many incidents told for the first time are remembered: far more than are told while an event is on its way."""
JUST_NOW: Final = timedelta(seconds=2)
"""A channel that was told so lately, by whichever notifier, is not told again before a message's time has passed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one sweep."""

    told: int = 0
    owed: int = 0
    """Still owed: on its way, or the channel must wait, or refuses."""
    failed: int = 0
    leader: bool = True
    """False: another notifier is at it."""


class Sweeper:
    """What a leader does for as long as it is one."""

    def __init__(  # noqa: PLR0913, PLR0917 - what it works with
        self,
        db: schema.Db,
        settings: Settings,
        delivery: Delivery,
        leader: Leader,
        pace: Pace,
        clock: Callable[[], datetime],
        bell: threading.Event,
        longest: float,
        exposition: Exposition,
    ) -> None:
        """longest: seconds that a request may take. bell: rung when a message has arrived, or has not."""
        self._db = db
        self._settings = settings
        self._store = delivery.store
        self._delivery = delivery
        self._leader = leader
        self._pace = pace
        self._clock = clock
        self._bell = bell
        self._longest = longest
        self._exposition = exposition
        self._busy: dict[str, Future[bool | None]] = {}
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tell")
        self._lock = threading.Lock()
        """Held while it is decided what is told: by the thread that sweeps, and by the doorbell's."""
        self._closed = False
        self._begun: OrderedDict[str, None] = OrderedDict()
        """Incidents that were told for the first time lately, or are on their way."""
        self._storming: set[str] = set()
        self._refusing: set[str] = set()
        self._untellable: set[str] = set()
        self._going: dict[str, str] = {}
        """By channel the incident that is on its way: it may be routed elsewhere before it has arrived."""
        self._tries: dict[str, int] = {}
        """Attempts in a row that failed for now, by incident."""

    @contextmanager
    def at_work(self) -> Iterator["Sweeper"]:
        """What is on its way at the end of the block arrives, or does not, before this returns."""
        now = self._clock()
        for incident in self._store.listed({"told.at": {"$gte": now - JUST_NOW}}):
            if to := routes.destination(incident, self._settings):
                self._pace.sent(to.channel, time.monotonic())
        self._untellable = troubles.untold(self._store)
        self.refresh()
        try:
            yield self
            with self._lock:
                self._closed = True
            while self._busy:
                self._collect(wait=True)
            self.refresh()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def refresh(self) -> None:
        """Ask again which channels storm, and which refuse; and what need not be doubted any more."""
        if doubts := set(self._delivery.doubts):
            self._delivery.doubts -= troubles.beyond_doubt(self._store, doubts, self._clock())
        self._storming = storms.storming(self._store)
        self._refusing = troubles.refusing(self._store)

    def tend(self) -> None:
        """See to the storms (in this thread, which makes them)."""
        self._storming = storms.tend(self._store, self._db, self._settings.notifier.storm, self._clock())

    def take(self, document: Mapping[str, Any]) -> bool:
        """Tell of an incident that was made this moment, without asking for it again; whether it is on its way.

        For the doorbell's thread, and only of what was made while we lead: of anything else, and whenever in doubt, it
        says no, and a sweep finds it. `document`: the incident as it was inserted.
        """
        if not self._lock.acquire(blocking=False):
            return False
        try:
            incident, now = from_document(document), self._clock()
            one = owed.opened(incident, self._settings, now, self._store.policy)
            if one is None or self._closed or incident.id in self._begun or not self._may_begin(one.to.channel):
                return False
            self._begin(one, now)
        except Exception:
            log.exception("a new incident cannot be taken as it comes", extra={"incident": document.get("_id")})
            return False
        else:
            return True
        finally:
            self._lock.release()

    def _may_begin(self, channel: str) -> bool:
        taken = channel in self._busy or channel in self._delivery.unsettled or channel in self._storming
        return not taken and self._pace.is_free(channel, time.monotonic())

    def _begin(self, one: Owed, now: datetime) -> None:
        if one.incident.told is None:
            self._begun[one.incident.id] = None
            if len(self._begun) > REMEMBERED:
                self._begun.popitem(last=False)
        self._going[one.to.channel] = one.incident.id
        self._start(one.to.channel, partial(self._tell if one.reason is not Reason.NONE else self._look, one, now))

    def sweep(self) -> Outcome:
        """Tell what may be told now, one message for each channel that is free. Raises PyMongoError."""
        with self._lock:
            return self._sweep()

    def _sweep(self) -> Outcome:
        now, delivery = self._clock(), self._delivery
        told, failed = self._collect()
        left = 0
        for channel in list(delivery.unsettled):
            if channel not in self._busy and self._pace.is_free(f"{channel}?", time.monotonic()):
                self._start(channel, partial(self._settle, channel, now))
        for channel, waiting in owed.by_channel(self._store, self._settings, now, set(delivery.doubts)).items():
            left += len(waiting)
            if channel in delivery.unsettled or channel in self._busy:
                continue
            rest = [one for one in waiting if not (delivery.is_held(one.incident) or self._is_going(one.incident))]
            untold = [one.incident for one in rest if storms.is_one(one.incident)]
            is_storm = untold and (channel in self._storming or len(untold) > self._settings.notifier.storm)
            if is_storm and storms.absorb(self._store, self._db, channel, untold, now):
                self._storming.add(channel)
                rest = [one for one in rest if not storms.is_one(one.incident)]  # the storm itself, for one
            if (one := self._next(rest)) is not None:
                self._begin(one, now)
        return Outcome(told, left + len(delivery.unsettled) + len(self._busy), failed)

    def _is_going(self, incident: Incident) -> bool:
        return incident.id in self._going.values()

    def _next(self, waiting: Sequence[Owed]) -> Owed | None:
        """The first that may be begun: of those that fail again and again, the one that did so least."""
        now = time.monotonic()
        free = (one for one in waiting if self._pace.is_free(_line(one), now))
        return min(free, key=lambda one: self._tries.get(one.incident.id, 0) // TRIES, default=None)

    def _start(self, channel: str, act: Callable[[], bool | None]) -> None:
        self._busy[channel] = future = self._pool.submit(act)
        future.add_done_callback(lambda _: self._bell.set())

    def _collect(self, *, wait: bool = False) -> tuple[int, int]:
        """How many of those on their way were told, and how many were not. Raises PyMongoError."""
        ended = [(one, self._busy.pop(one)) for one, future in list(self._busy.items()) if wait or future.done()]
        for channel, _ in ended:
            self._going.pop(channel, None)
        results = [future.result() for _, future in ended]
        return results.count(True), results.count(False)

    def _tell(self, one: Owed, now: datetime) -> bool:
        """Tell of one incident; whether that succeeded."""
        incident, channel, store = one.incident, one.to.channel, self._store

        def may_send() -> bool:
            return self._leader.hold(self._longest)

        about = {"incident": incident.id, "revision": incident.revision, "channel": channel}
        try:
            if not self._delivery.deliver(incident, one.reason, channel, one.to.mention, now, may_send):
                return False
        except DeliveryError as error:
            self._pace.failed(channel, time.monotonic(), error.retry_after)
            self._exposition.failed(error.code)
            log.warning("not delivered", extra={**about, "code": error.code, "doubt": error.doubt})
            if error.permanent:
                troubles.undeliverable(store, channel, error.code, now)
                self._refusing.add(channel)
                store.defer(incident, now + troubles.UNDELIVERABLE_PAUSE)
            elif error.retry_after is None:  # else it is the channel that must wait, whoever comes next
                self._tries[incident.id] = self._tries.get(incident.id, 0) + 1
            return False
        except PyMongoError:
            raise
        except Exception as error:
            log.exception("cannot be told", extra=about)
            troubles.untellable(store, incident, error, now)
            self._untellable.add(incident.id)
            store.defer(incident, now + troubles.UNDELIVERABLE_PAUSE)
            return False
        self._tries.pop(incident.id, None)
        self._pace.sent(channel, time.monotonic())
        self._exposition.told(one.reason, incident, self._clock())
        log.info("told", extra={**about, "reason": str(one.reason)})
        if channel in self._refusing:
            troubles.delivered(store, channel, now)
            self._refusing.discard(channel)
        if incident.id in self._untellable:
            troubles.tellable(store, incident, now)
            self._untellable.discard(incident.id)
        return True

    def _look(self, one: Owed, now: datetime) -> None:
        """Look what is shown of an incident of which nobody is to be told."""
        try:
            self._delivery.look(one.incident, one.to.channel, now)
        except DeliveryError as error:
            self._pace.failed(_line(one), time.monotonic(), error.retry_after)
            log.warning("cannot look what is shown", extra={"incident": one.incident.id, "code": error.code})
        else:
            self._pace.sent(_line(one), time.monotonic())

    def _settle(self, channel: str, now: datetime) -> None:
        """Look for what may have arrived."""
        delivery = self._delivery
        try:
            delivery.settle(channel, now)
        except DeliveryError as error:
            self._pace.failed(f"{channel}?", time.monotonic(), error.retry_after)
            log.warning("cannot look for what was posted", extra={"channel": channel, "code": error.code})
            if error.permanent:  # it may not be read: whether something was posted there cannot be known
                troubles.unreadable(delivery.store, channel, error.code, now)
                delivery.unsettled.pop(channel, None)
        else:
            self._pace.sent(f"{channel}?", time.monotonic())
            troubles.readable(delivery.store, channel, now)


def _line(one: Owed) -> str:
    """What of its channel is paced: posting, or looking."""
    return f"{one.to.channel}?" if one.reason is Reason.NONE else one.to.channel
