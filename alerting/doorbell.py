"""The doorbell: a change stream on the incidents, which says "look again", and of a new incident what it is.

It runs in a thread of its own. What it misses costs a sweep, never a message: where its history is lost it begins anew,
and says so.
"""

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pymongo.errors import OperationFailure, PyMongoError

from config import schema

NAME: Final = "doorbell"
"""The `_id` of the resume token, in the collection `meta`."""
AWAIT_MILLISECONDS: Final = 1000
YIELD_SECONDS: Final = 0.002
"""How long it stays out of the way of who tells of what it has handed over: both need the interpreter."""
FRESH: Final = timedelta(seconds=5)
"""How old a new incident may be to be handed over: of an older one more is known where it is kept."""
PAUSE_SECONDS: Final = 0.1
"""Before a stream begins anew, which it may have to do again."""
TOO_LARGE: Final = 10334
LOST: Final = {
    286: "the oplog no longer reaches back to where we stopped",
    280: "the change stream cannot be resumed",
    260: "the collection of incidents was dropped or renamed, or its resume token is not valid",
    TOO_LARGE: "an event was larger than a document can be",
}
"""Codes of MongoDB's answers after which a stream has to begin anew: ChangeStreamHistoryLost, ChangeStreamFatalError,
InvalidResumeToken, BSONObjectTooLarge. A token that is damaged has many others."""
_RINGS: Final[list[dict[str, Any]]] = [
    {
        "$match": {
            "$or": [
                {"operationType": {"$in": ["insert", "replace", "invalidate", "drop", "rename"]}},
                {"updateDescription.updatedFields.owed_at": {"$type": "date"}},
            ]
        }
    },
    {"$project": {"_id": 1, "operationType": 1, "wallTime": 1, "fullDocument": 1}},
]


def _nobody(_: Mapping[str, Any]) -> bool:
    return False


class Doorbell:
    """Rings `bell` when an incident may be owed, and when something is wrong with the stream."""

    def __init__(self, db: schema.Db, bell: threading.Event) -> None:
        self.hand_over: Callable[[Mapping[str, Any]], bool] = _nobody
        """Asked first with each incident that was made since `start`; where it sees to it nothing rings."""
        self._db = db
        self._bell = bell
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._token: Any = None
        self._thread: threading.Thread | None = None
        self._error: PyMongoError | None = None
        self._lost: list[str] = []

    def start(self) -> None:
        """Open the stream where it stopped last; returns once it is open. Raises PyMongoError."""
        saved = self._db[schema.META].find_one({"_id": NAME}) or {}
        self._token = saved.get("token")
        self._thread = threading.Thread(target=self._listen, name=NAME, daemon=True)
        self._thread.start()
        self._ready.wait()
        self.check()

    def check(self) -> None:
        """Raises the PyMongoError that ended the stream, if one did."""
        if self._error is not None:
            raise self._error

    def lost(self) -> list[str]:
        """Why history was lost since this was asked last, each time."""
        told, self._lost = self._lost, []
        return told

    def save(self) -> None:
        """Keep the place in the stream, which moves though nothing happens. Raises PyMongoError."""
        if (token := self._token) is not None:
            self._db[schema.META].update_one({"_id": NAME}, {"$set": {"token": token}}, upsert=True)

    def stop(self) -> None:
        """End the thread, within AWAIT_MILLISECONDS."""
        self._stop.set()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except OperationFailure as error:
                if self._token is None and error.code != TOO_LARGE:
                    self._fail(error)
                    return
                self._begin_anew(LOST.get(error.code or 0, f"the change stream ended with MongoDB's code {error.code}"))
            except PyMongoError as error:
                self._fail(error)
                return

    def _follow(self) -> None:
        incidents = self._db[schema.INCIDENTS]
        with incidents.watch(_RINGS, resume_after=self._token, max_await_time_ms=AWAIT_MILLISECONDS) as stream:
            self._token = stream.resume_token or self._token
            self._bell.set()  # for what came between the last sweep and now
            self._ready.set()
            is_old = True  # until the stream was empty once, it may tell of what was before us
            while not self._stop.is_set():
                event = stream.try_next()
                self._token = stream.resume_token
                if event is None:
                    is_old = False
                    continue
                if event["operationType"] in ("invalidate", "drop", "rename"):
                    self._begin_anew(LOST[260])
                    return
                if is_old or not _is_fresh(event) or not self.hand_over(event["fullDocument"]):
                    self._bell.set()
                else:
                    self._stop.wait(YIELD_SECONDS)

    def _begin_anew(self, why: str) -> None:
        self._token = None
        self._lost.append(why)
        self._bell.set()
        self._stop.wait(PAUSE_SECONDS)

    def _fail(self, error: PyMongoError) -> None:
        self._error = error
        self._ready.set()
        self._bell.set()


def _is_fresh(event: Mapping[str, Any]) -> bool:
    """Whether it tells of an incident that was made just now."""
    at = event.get("wallTime")
    return event["operationType"] == "insert" and at is not None and abs(datetime.now(UTC) - at) <= FRESH
