"""What a notifier does beside delivering: it looks at what never happened, and at what the checks have left.

In a thread of its own, so that nothing of it keeps a message waiting. What it finds becomes incidents; the doorbell
does the rest.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final, Protocol

from pymongo.errors import PyMongoError

from alerting import deadman, digest, evidence, troubles, watchdog
from alerting.incidents import Incident
from alerting.slack import chart
from alerting.slack.client import DeliveryError, Posted
from alerting.store import Store
from config import schema
from config.settings import Settings

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 1.0
"""How often deadlines are looked at."""
TEND_SECONDS: Final = 5.0
FAILED_SECONDS: Final = 60.0
"""How often it is said that a duty still fails."""
DEADMAN_SECONDS: Final = 60.0
JOIN_SECONDS: Final = 15.0
"""How long the end waits for a picture that is on its way: whatever it does, the lease ends before."""


class Uploader(Protocol):
    """What of a Slack client charts need."""

    @property
    def can_edit(self) -> bool:
        """Whether there are threads to put a picture into."""
        ...

    def upload(self, posted: Posted, name: str, title: str, png: bytes) -> None:
        """Put a picture into the thread; raises DeliveryError."""
        ...


class Duties:
    """The thread, and what ended it."""

    def __init__(  # noqa: PLR0913, PLR0917 - what it works with
        self,
        db: schema.Db,
        settings: Settings,
        bell: threading.Event,
        clock: Callable[[], datetime],
        uploader: Uploader,
        is_well: Callable[[], bool] = lambda: True,
    ) -> None:
        """is_well: whether messages arrive, for the dead man's switch."""
        self._db = db
        self._settings = settings
        self._bell = bell
        self._clock = clock
        self._uploader = uploader
        self._store = Store.of(db, settings)
        self._stop = threading.Event()
        self._error: Exception | None = None
        self._last: dict[str, float] = {}
        self._duties: dict[str, Callable[[datetime], object]] = {
            "deadlines": self._look_at_deadlines,
            "evidence": partial(evidence.reconcile, db, settings),
            "digest": partial(digest.gather, self._store, settings),
        }
        self._failed = set(self._duties)
        """Duties that failed last, or may have before us."""
        self._is_well = is_well
        self._threads = [
            threading.Thread(target=self._work, args=(act,), name=name, daemon=True)
            for name, act in (("duties", self._tick), ("charts", self.charts))
        ]

    def check(self) -> None:
        """Raises what ended the thread, if something did."""
        if self._error is not None:
            raise self._error

    @contextmanager
    def running(self) -> Iterator["Duties"]:
        """At work until the end of the block."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(JOIN_SECONDS)

    def once(self) -> None:
        """All of it, once. Raises PyMongoError."""
        now = self._clock()
        for name in self._duties:
            self._do(name, now)

    def _work(self, act: Callable[[datetime], None]) -> None:
        try:
            while not self._stop.is_set():
                act(self._clock())
                self._stop.wait(TICK_SECONDS)
        except Exception as error:  # noqa: BLE001 - handed over to the thread that delivers, which raises it
            self._error = error
            self._bell.set()

    def _tick(self, now: datetime) -> None:
        self._do("deadlines", now)
        if self._is_time("tend", TEND_SECONDS):
            self._do("digest", now)
            troubles.alive(self._store, now)
        if self._is_time("reconcile", self._settings.notifier.sweep_seconds):
            self._do("evidence", now)
        url = self._settings.notifier.deadman_url
        if url and self._is_well() and not self._failed and self._is_time("deadman", DEADMAN_SECONDS):
            deadman.ask_aside(url.get_secret_value())

    def _do(self, name: str, now: datetime) -> None:
        """One duty; that it fails is an incident, and keeps neither the others nor the messages waiting."""
        try:
            self._duties[name](now)
        except PyMongoError:
            raise
        except Exception as error:
            if self._is_time(f"failed {name}", FAILED_SECONDS):
                log.exception("a duty failed", extra={"duty": name})
                troubles.broken(self._store, name, error, now)
            self._failed.add(name)
        else:
            if name in self._failed:
                troubles.mended(self._store, name, now)
                self._failed.discard(name)

    def _look_at_deadlines(self, now: datetime) -> None:
        missed = watchdog.reports(self._db, self._settings, now)
        self._store.fold(missed, now, evidence.under_its_cause(self._store))

    def charts(self, now: datetime) -> None:
        """Put a chart into the thread of what was told since. Tried once each: a message is whole without it."""
        for incident in self._store.listed({"told.chart": False}):
            if self._stop.is_set():
                return
            self._store.change(incident.id, _tried, now)
            if incident.told is None or not self._uploader.can_edit:
                continue
            try:
                if picture := chart.png(self._db, incident):
                    name = f"{incident.id}.png"
                    self._uploader.upload(
                        Posted(incident.told.channel, incident.told.ts), name, incident.facts.title, picture
                    )
            except DeliveryError as error:
                log.warning("no chart", extra={"incident": incident.id, "code": error.code})

    def _is_time(self, what: str, seconds: float) -> bool:
        now = time.monotonic()
        if now - self._last.get(what, -seconds) < seconds:
            return False
        self._last[what] = now
        return True


def _tried(incident: Incident) -> Incident:
    return replace(incident, told=replace(incident.told, chart=True)) if incident.told else incident
