"""The notifier: opens the doorbell, sweeps what is owed, then sweeps after every ring and every so often.

One thread delivers, and does nothing that could keep a message waiting; another one, `duties`, looks at what never
happened (deadlines, dead runs) and at what the checks have left in the ledger. Every thing it does may be cut short at
any instruction: what is true is in the incidents.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from pymongo.errors import PyMongoError

from alerting import deadman, direct, troubles
from alerting.delivery import Delivery, Sender
from alerting.doorbell import Doorbell
from alerting.duties import Duties, Uploader
from alerting.exposition import Exposition
from alerting.leader import Leader
from alerting.pace import Pace
from alerting.slack.client import Client
from alerting.store import Store
from alerting.sweeper import Outcome, Sweeper
from config import mongo, schema
from config.mongo import MongoError
from config.redaction import redacted
from config.settings import Settings

__all__ = ["Notifier", "Outcome"]

log = logging.getLogger(__name__)

TEND_SECONDS: Final = 5.0
"""How often storms are seen to."""
SAVE_SECONDS: Final = 10.0
"""How often the place in the change stream is kept."""
ONCE_SECONDS: Final = 120.0
"""How long `once` goes on delivering; the rest is for the next one."""
PAUSE_SECONDS: Final = 0.05
"""The least time between two sweeps that found nothing to send."""


class Telling(Sender, Uploader, Protocol):
    """What of a Slack client a notifier needs."""


class Notifier:
    """One process that delivers, or waits for the one that does to end."""

    def __init__(
        self,
        settings: Settings,
        sender: Telling | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        heartbeat: bool = True,
    ) -> None:
        """heartbeat: False for a run that stands in for the notifier. Raises ConfigError if nobody can be told."""
        longest = settings.notifier.lease_seconds * 0.6
        patient = min(settings.slack.timeout_seconds, longest)
        self.settings = settings
        self.sender: Telling = sender or Client(settings.slack.model_copy(update={"timeout_seconds": patient}))
        self.clock = clock
        self.pace = Pace()
        self._heartbeat = heartbeat
        self._longest = patient
        self._lease = timedelta(seconds=settings.notifier.lease_seconds)
        self._exposition = Exposition()

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop` is set; MongoDB may come and go meanwhile. Raises ConfigError."""
        watch = direct.Watch(self.settings, self.sender, self.clock)
        self._exposition = Exposition.of(self.settings)
        log.info("notifier started")
        try:
            while not stop.is_set():
                try:
                    self._serve(stop, watch)
                except (PyMongoError, MongoError) as error:
                    log.warning("MongoDB does not answer", extra={"error": redacted(str(error))[:300]})
                    watch.failed()
                    stop.wait(direct.RETRY_SECONDS)
        finally:
            self._exposition.close()
        log.info("notifier stopped")

    def once(self) -> Outcome:
        """Deliver what is owed now, unless another notifier does. Raises MongoError, PyMongoError."""
        db = mongo.database(self.settings)
        leader = Leader(db, self._lease, heartbeat=self._heartbeat)
        store = Store.of(db, self.settings)
        if not leader.acquire():
            return Outcome(leader=False, owed=len(store.owed(self.clock())))
        bell = threading.Event()
        work = Duties(db, self.settings, bell, self.clock, self.sender)
        told, failed, until = 0, 0, time.monotonic() + ONCE_SECONDS
        with self._leading(db, leader, bell) as sweeper:
            work.once()
            if self._heartbeat:
                troubles.alive(store, self.clock())
            troubles.repair(store, self.clock())
            sweeper.tend()
            while leader.hold(self._lease.total_seconds() / 2):
                bell.clear()
                outcome = sweeper.sweep()
                told, failed = told + outcome.told, failed + outcome.failed
                if not outcome.owed or time.monotonic() > until:
                    sweeper.tend()
                    work.charts(self.clock())
                    url = self.settings.notifier.deadman_url
                    if url and self._heartbeat and not failed:
                        deadman.ask(url.get_secret_value())
                    return Outcome(told, outcome.owed, failed)
                bell.wait(self.pace.wait(time.monotonic()) or PAUSE_SECONDS)
        return Outcome(told, failed=failed, leader=False)

    def _serve(self, stop: threading.Event, watch: direct.Watch) -> None:
        """Be a notifier while MongoDB answers. Raises PyMongoError, MongoError."""
        db = mongo.database(self.settings)
        leader = Leader(db, self._lease, heartbeat=self._heartbeat)
        while not stop.is_set():
            leads = leader.acquire()
            watch.well(leads=leads, doubtful=leads and leader.doubtful)
            if leads:
                self._lead(db, leader, stop, watch)
            else:
                stop.wait(self._lease.total_seconds() / 3)

    def _lead(self, db: schema.Db, leader: Leader, stop: threading.Event, watch: direct.Watch) -> None:
        """Deliver until stopped, or until the lease is lost."""
        bell, store = threading.Event(), Store.of(db, self.settings)
        doorbell = Doorbell(db, bell)
        duties = Duties(db, self.settings, bell, self.clock, self.sender, lambda: not self.pace.is_failing)
        doorbell.start()
        try:
            with self._leading(db, leader, bell) as sweeper, duties.running():
                doorbell.hand_over = sweeper.take
                troubles.repair(store, self.clock())
                tended = saved = time.monotonic()
                while not stop.is_set() and leader.hold(self._lease.total_seconds() / 2):
                    bell.clear()
                    doorbell.check()
                    duties.check()
                    if lost := doorbell.lost():
                        troubles.repair(store, self.clock())
                        troubles.history(store, lost, self.clock())
                    outcome = sweeper.sweep()
                    if time.monotonic() - tended > TEND_SECONDS:
                        sweeper.tend()
                        tended = time.monotonic()
                    if time.monotonic() - saved > SAVE_SECONDS:
                        doorbell.save()
                        troubles.history_is_well(store, self.clock())
                        sweeper.refresh()
                        watch.well(leads=True)
                        saved = time.monotonic()
                    self._exposition.swept(outcome.owed, self.clock())
                    self._wait(bell, stop, store, outcome)
                doorbell.save()
        finally:
            doorbell.stop()

    @contextmanager
    def _leading(self, db: schema.Db, leader: Leader, bell: threading.Event) -> Iterator[Sweeper]:
        """Deliver under the lease; it is given back at the end, so that nobody need wait, nor doubt without cause."""
        store = Store.of(db, self.settings)
        delivery = Delivery(store, self.sender, leader.fence, self.settings.notifier.page_url, leader.lift)
        if leader.doubtful and self.sender.can_edit:
            delivery.doubts |= troubles.suspected(store, self.clock())
            for channel, (since, names) in troubles.doubted(store, self.settings, self.clock()).items():
                delivery.doubt(channel, since, names)
        log.info("leading", extra={"fence": leader.fence, "doubtful": leader.doubtful})
        sweeper = Sweeper(
            db, self.settings, delivery, leader, self.pace, self.clock, bell, self._longest, self._exposition
        )
        with sweeper.at_work():
            yield sweeper
        leader.release(certain=delivery.is_certain)

    def _wait(self, bell: threading.Event, stop: threading.Event, store: Store, outcome: Outcome) -> None:
        """Until something rings, is due, or may be sent again; at the longest until the lease wants renewing."""
        longest = min(self.settings.notifier.sweep_seconds, self._lease.total_seconds() / 4, 1.0)
        if outcome.owed:
            wait = self.pace.wait(time.monotonic())
            longest = min(longest, PAUSE_SECONDS if wait is None else wait)
        elif (at := store.next_due()) is not None:
            longest = min(longest, max((at - self.clock()).total_seconds(), PAUSE_SECONDS))
        if not stop.is_set():
            bell.wait(longest)
