"""The life of a run in its document: begun, alive, ended. A run without a sign of life and without an end was killed.

The process that begins a run gives the signs, in a thread, whether `touchstone` or Luigi itself runs it; at the end,
or at the end of the process, it says so and brings the incidents up to what the run has left. A run that ends neither
well nor by Ctrl-C has failed: where nothing has said why, that is noted as a failure of its own.
"""

import atexit
import logging
import os
import socket
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from pymongo.errors import DuplicateKeyError, PyMongoError

from alerting import evidence
from config import mongo, schema
from config.redaction import redacted
from tasks.context import Context

log = logging.getLogger(__name__)

BEAT_SECONDS: Final = 10.0
STALE: Final = timedelta(seconds=60)
"""After how long without a sign of life the document may be taken over by another run of that id."""

PAUSE: Final = timedelta(seconds=10)
"""Between two failures of a run that become incidents at once; its end, or a notifier, makes them of the others."""
UNTOLD: Final = "it ended, and was not through; its log says why"

_begun: dict[str, "_Life"] = {}
"""The runs that this process, or the one that it was forked from, has begun."""


class _Life:
    """The signs of life of one run."""

    def __init__(self, context: Context, kind: str, *, attended: bool) -> None:
        self.attended = attended
        self._context = context
        self._kind = kind
        self._pid = os.getpid()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="alive", daemon=True)
        self._thread.start()
        if not attended:
            atexit.register(self._leave)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            try:
                self._note("alive_at")
            except PyMongoError as error:
                log.warning("no sign of life could be given", extra={"error": redacted(str(error))})

    def _note(self, name: str) -> None:
        self._context.db[schema.RUNS].update_one(
            {"_id": self._context.ledger.run_id}, {"$set": {name: datetime.now(UTC)}}
        )

    def _leave(self) -> None:
        """The process ends; the interpreter remembers what ended it, but for `sys.exit`."""
        error = getattr(sys, "last_value", None)
        if isinstance(error, Exception):
            self.end(told(error), settles=True)
        else:
            self.end("" if isinstance(error, KeyboardInterrupt) else UNTOLD, settles=True)

    def end(self, failure: str, *, settles: bool) -> None:
        """The run is over, however it went.

        failure: why it is not well, if it is not; UNTOLD: unless a task has said why; empty: it was interrupted.
        settles: what it has left becomes incidents; else somebody else attends to that.
        """
        if self._pid != os.getpid() or self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        try:
            if failure:
                self._fail(failure)
            self._note("ended_at")
            if settles:
                settle(self._context)
                tell(self._context)
        except (PyMongoError, mongo.MongoError) as error:
            log.error("the end of the run could not be noted", extra={"error": redacted(str(error))})  # noqa: TRY400

    def _fail(self, error: str) -> None:
        """Note that the run itself failed, unless it was through, or that was said already."""
        said = {"failures.0": {"$exists": False}} if error == UNTOLD else {"failures.error": {"$ne": error}}
        failure = {"task": self._kind, "where": "", "place": self._kind, "error": error, "at": datetime.now(UTC)}
        where = {"_id": self._context.ledger.run_id, "well": {"$ne": True}, **said}
        self._context.db[schema.RUNS].update_one(where, {"$push": {"failures": failure}})


def begin(context: Context, kind: str, *, attended: bool = False) -> None:
    """Give signs of life for the run of `context`, unless another process does.

    attended: whoever calls this ends it too, and brings the incidents up to date.
    """
    run_id = context.ledger.run_id
    if run_id in _begun:
        return
    now = datetime.now(UTC)
    unclaimed = [{"started_at": None}, {"ended_at": {"$type": "date"}}, {"alive_at": {"$lt": now - STALE}}]
    about = {"kind": kind, "host": socket.gethostname(), "pid": os.getpid(), "started_at": now, "alive_at": now}
    change = {"$set": about, "$unset": {"ended_at": "", "well": ""}}
    try:
        context.db[schema.RUNS].update_one({"_id": run_id, "$or": unclaimed}, change, upsert=True)
    except DuplicateKeyError:
        return
    _begun[run_id] = _Life(context, kind, attended=attended)


def is_attended(run_id: str) -> bool:
    """Whether somebody in this process, or in the one that it was forked from, brings the incidents up to date."""
    return run_id in _begun and _begun[run_id].attended


@contextmanager
def alive(context: Context, kind: str) -> Iterator[None]:
    """A run from its beginning to its end. What is raised in it is noted, told and raised on."""
    begin(context, kind, attended=True)
    try:
        yield
    except Exception as error:
        _end(context, told(error), settles=True)
        raise
    except BaseException:  # Ctrl-C, or the process was asked to end
        _end(context, "", settles=False)
        raise
    _end(context, UNTOLD, settles=False)


def _end(context: Context, failure: str, *, settles: bool) -> None:
    if life := _begun.pop(context.ledger.run_id, None):
        life.end(failure, settles=settles)


def note_failure(  # noqa: PLR0913 - what is kept of one
    context: Context, *, task: str, where: str, place: str, scopes: Sequence[str], error: str
) -> None:
    """Keep with the run that something in it failed. Raises PyMongoError, MongoError."""
    failure = {"task": task, "where": where, "place": place, "scopes": list(scopes), "error": error}
    change = {"$push": {"failures": failure | {"at": datetime.now(UTC)}}}
    context.db[schema.RUNS].update_one({"_id": context.ledger.run_id}, change, upsert=True)


def told(error: BaseException) -> str:
    """What is kept of an exception."""
    return redacted(f"{type(error).__name__}: {error}")


def tell(context: Context) -> str | None:
    """Stand in for a notifier that gives no sign of life; returns what there is to say of it."""
    if not context.settings.slack.is_configured:
        return None
    from alerting import liveness  # noqa: PLC0415 - a run that tells nobody loads nothing of Slack

    try:
        outcome = liveness.check(context.db, context.settings, datetime.now(UTC))
    except Exception as error:  # noqa: BLE001 - the run has done its work, whoever cannot be told
        log.error("notifier", extra={"traceback": redacted(traceback.format_exc())})  # noqa: TRY400
        return f"the notifier is not running, and this run could not stand in for it: {told(error)}"
    if outcome is None:
        return None
    return f"the notifier is not running: this run has told {outcome.told:,} incidents, {outcome.owed:,} are still owed"


def settle(context: Context) -> str | None:
    """Bring the incidents up to what is known by now; returns what hindered it, which is never the end of a run."""
    try:
        evidence.reconcile(context.db, context.settings, datetime.now(UTC))
    except Exception as error:  # noqa: BLE001 - what was published stays, whatever becomes of the incidents
        log.error("incidents", extra={"traceback": redacted(traceback.format_exc())})  # noqa: TRY400
        return f"the incidents could not be brought up to date: {told(error)}"
    return None


def settle_soon(context: Context) -> None:
    """`settle`, unless a process of this run did so within the last PAUSE. Raises PyMongoError."""
    now = datetime.now(UTC)
    due = {"_id": context.ledger.run_id, "$or": [{"settled_at": None}, {"settled_at": {"$lt": now - PAUSE}}]}
    if context.db[schema.RUNS].update_one(due, {"$set": {"settled_at": now}}).matched_count:
        settle(context)
