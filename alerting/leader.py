"""Of several notifiers one delivers: a lease on one document, with a fence that grows. Times are the server's.

The document is the notifier's heartbeat too: `seen_at` is when the leader last said that it lives.
"""

import os
import secrets
import socket
import threading
import time
from datetime import timedelta
from typing import Any, Final

from pymongo import DESCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from config import schema

NAME: Final = "notifier"
"""The `_id` of the lease, in the collection `meta`."""
CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine sleeps, where there is such a one: leases do."""


class Leader:
    """One notifier's view of the lease."""

    def __init__(self, db: schema.Db, lease: timedelta, *, heartbeat: bool = True) -> None:
        """heartbeat: False for one that only stands in, and is no sign that a notifier is running."""
        self.lease = lease
        self._seen = {"seen_at": "$$NOW"} if heartbeat else {}
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.fence = 0
        """Of our lease; 0 before the first one."""
        self.doubtful = False
        """Whether the leader before us did not say goodbye: what it did last is not known."""
        self._meta: schema.Coll = db[schema.META]
        self._incidents: schema.Coll = db[schema.INCIDENTS]
        self._until = 0.0
        self._lock = threading.Lock()
        """What one thread learns, no other one may have half of."""
        self._lost = True

    @property
    def seconds_left(self) -> float:
        """How long nobody else can be the leader, by our own clock, counted from before we asked."""
        return max(0.0, self._until - time.clock_gettime(CLOCK))

    def acquire(self) -> bool:
        """Whether we are the leader now. Takes the lease if nobody holds it, and extends it if we do."""
        with self._lock:
            self._lost = not self._ask()
            return not self._lost

    def hold(self, seconds: float) -> bool:
        """Whether we are the leader for so many more seconds, and were without a break since `acquire`.

        Asks the server if that is not sure.
        """
        with self._lock:
            if self._lost or self.seconds_left >= seconds:
                return not self._lost
            fence = self.fence
            self._lost = not self._ask() or self.fence != fence
            return not self._lost

    def lift(self, above: int) -> int:
        """Our fence, above that of all incidents, of which one carries `above`; 0 if we did not lead without a break.

        A fence that only grows is above them anyway: but the lease may have been lost, or restored as it once was.
        """
        with self._lock:
            if not self._lost and self.fence <= above:
                self._lift()
            return 0 if self._lost else self.fence

    def _lift(self) -> bool:
        """Whether incidents were told under a higher fence than ours, which is above theirs now."""
        higher, newest = {"told.fence": {"$gt": self.fence}}, [("told.fence", DESCENDING)]
        if (found := self._incidents.find_one(higher, {"told.fence": 1}, sort=newest)) is None:
            return False
        fence = found["told"]["fence"] + 1
        mine = {"_id": NAME, "owner": self.owner, "fence": self.fence}
        if self._meta.update_one(mine, {"$set": {"fence": fence}}).matched_count:
            self.fence = fence
        return True

    def _ask(self) -> bool:
        asked = time.clock_gettime(CLOCK)
        ours = {"$eq": [{"$ifNull": ["$owner", None]}, self.owner]}
        free = {"$lte": [{"$ifNull": ["$lease_until", None]}, "$$NOW"]}
        fields: dict[str, Any] = {
            "owner": self.owner,
            "fence": {"$cond": [ours, "$fence", {"$add": [{"$ifNull": ["$fence", 0]}, 1]}]},
            "left": {"$cond": [ours, {"$ifNull": ["$left", None]}, {"$ifNull": ["$owner", None]}]},
            "lease_until": {"$add": ["$$NOW", int(self.lease.total_seconds() * 1000)]},
            **self._seen,
        }  # decided field by field: an upsert takes no $expr, which alone could compare with the server's clock
        may = {"$or": [ours, free]}
        try:
            kept = self._meta.find_one_and_update(
                {"_id": NAME},
                [{"$set": {name: {"$cond": [may, value, f"${name}"]} for name, value in fields.items()}}],
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        except DuplicateKeyError:  # somebody else has made it just now
            kept = None
        if kept is None or kept["owner"] != self.owner:
            self._until = 0.0
            return False
        if kept["fence"] != self.fence:
            self.fence = kept["fence"]
            is_anew = self.fence == 1 and self._lift()  # a lease was lost, and with it whether its owner said goodbye
            self.doubtful = is_anew or kept["left"] is not None
        self._until = asked + self.lease.total_seconds()
        return True

    def release(self, *, certain: bool = True) -> None:
        """Say goodbye, so that the next one need not wait, nor, if all is `certain`, doubt what we did."""
        if self._lost:
            return  # what is ours now, if it is, we have not begun yet
        mine: dict[str, Any] = {"_id": NAME, "owner": self.owner, "fence": self.fence}
        goodbye = {"lease_until": None} | ({"owner": None, "left": None} if certain else {})
        self._meta.update_one(mine, {"$set": goodbye})
        self._until = 0.0
