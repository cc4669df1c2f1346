"""The pipeline watches the notifier, as the notifier watches the pipeline: each run looks for its sign of life.

Where there is none the run delivers what is owed by itself, the incident that the notifier is not running included.
"""

from datetime import datetime, timedelta

from alerting import leader, troubles
from alerting.notifier import Notifier, Outcome
from alerting.store import Store
from config import schema
from config.settings import Settings


def check(db: schema.Db, settings: Settings, now: datetime) -> Outcome | None:
    """Stand in for a notifier that gives no sign of life; None if there is one, or nobody is to be told.

    Raises ConfigError, PyMongoError.
    """
    if not settings.slack.is_configured:
        return None
    seen = (db[schema.META].find_one({"_id": leader.NAME}) or {}).get("seen_at")
    if seen is not None and now - seen <= timedelta(seconds=settings.notifier.heartbeat_seconds):
        return None
    troubles.silent(Store.of(db, settings), seen, now)
    return Notifier(settings, heartbeat=False).once()
