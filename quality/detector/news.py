"""What is to be judged: recent windows with numbers that no verdict is of. Without numpy and scikit-learn.

The answer for "nothing" is one look at what was recorded since the last judging, and at a few small collections.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from config import catalog, schema
from config.schema import Db
from config.settings import Settings
from quality.detector import recorded, said
from quality.detector.recorded import Days, Name, Terms, Values
from quality.detector.said import Said
from quality.detector.verdicts import State

MARK: Final = "judged"
"""`_id` of the note in `meta` on the last judging: `at`, `seen`, and the `terms` it was under."""
OVERLAP: Final = timedelta(minutes=5)
"""What is recorded by clocks that are so far apart is seen; whatever they are, all is looked at once a day."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Gold that is not published yet."""

    values: Mapping[Name, Mapping[date, Values]] = field(default_factory=dict)
    made_of: Mapping[tuple[Name, date], str] = field(default_factory=dict)
    """Digest of what each was computed from."""


@dataclass(frozen=True, slots=True)
class News:
    """What is to be judged, and by when that was known."""

    at: datetime
    """When it was looked for: verdicts on it are of that moment."""
    windows: Mapping[Name, Mapping[date, str]]
    """What the verdict on each will be `of`."""
    heard: Mapping[Name, list[Said]]


def recent(settings: Settings, now: datetime) -> Days:
    """The windows in [first, last) that are judged when they come in."""
    today = now.astimezone(UTC).date()
    return today - timedelta(days=settings.detector.judge_days), today


def news(  # noqa: PLR0913 - one question
    db: Db,
    settings: Settings,
    now: datetime,
    *,
    run_id: str = "",
    candidates: Candidates | None = None,
    pending: Collection[tuple[Name, date]] = (),
) -> News:
    """What is to be judged.

    run_id: what the detector broke on in this run is not tried again by it. pending: days of Gold that are about to be
    made anew; what was published of them before is judged no more.
    """
    at = datetime.now(UTC)
    heard: dict[Name, list[Said]] = defaultdict(list)
    if not settings.detector.enabled:
        return News(at, {}, heard)
    days = recent(settings, now)
    for one in said.heard(db):
        heard[Name(one.dataset, one.scope)].append(one)
    candidates = candidates or Candidates()
    verdicts = _verdicts(db, days)
    grown = _grown(db, settings, days, verdicts)
    broken = {name for (name, _), one in verdicts.items() if one["state"] == State.BROKEN and one["run_id"] != run_id}
    names = _touched(db, settings, days, heard)
    names = names if names is None else names | broken | {name for name, _ in grown}
    told: dict[Name, dict[date, Values]] = {name: dict(one) for name, one in recorded.windows(db, days, names).items()}
    for name, day in {*pending, *(_held(db, days) if told else ())}:
        told.get(name, {}).pop(day, None)
    for name, windows in candidates.values.items():
        told.setdefault(name, {}).update(windows)
    still_open = recorded.doubt(db, settings, days).still_open if told else {}
    found: dict[Name, dict[date, str]] = {}
    for name, windows in told.items():
        if not settings.detector.of(name.dataset).judge:
            continue
        under = Terms(settings, heard.get(name, ()))
        closed = sorted(windows.keys() - still_open.get(name, set()))
        digests = {day: under.of(name, day, windows[day]) for day in closed}
        due = [
            day
            for day, of in digests.items()
            if (name, day) in grown
            or _is_due(verdicts.get((name, day), {}), of, candidates.made_of.get((name, day)), run_id)
        ]
        if due:  # and those after it, for what they are held against is another history now
            found[name] = {day: of for day, of in digests.items() if day >= due[0]}
    return News(at, found, heard)


def mark(db: Db, settings: Settings, found: News) -> None:
    """Note that all of `found` is judged."""
    note = {"$max": {"at": found.at}, "$set": {"terms": _terms(settings)}}
    db[schema.META].update_one({"_id": MARK}, note, upsert=True)


def _is_due(last: Mapping[str, Any], of: str, made_of: str | None, run_id: str) -> bool:
    """Whether the window is to be judged (again)."""
    if last.get("of") != of or (made_of is not None and last.get("made_of") != made_of):
        return True
    return bool(last["state"] == State.BROKEN and last["run_id"] != run_id)


def _touched(db: Db, settings: Settings, days: Days, heard: Mapping[Name, list[Said]]) -> set[Name] | None:
    """The streams that were recorded, or spoken of, since the last judging; None: any of them may have been."""
    last = db[schema.META].find_one({"_id": MARK})
    if last is None or last["terms"] != _terms(settings) or last["at"].date() < datetime.now(UTC).date():
        return None
    spoken = {name for name, told in heard.items() if told[-1].at > last["at"] - OVERLAP}
    return recorded.told_since(db, days, last["at"] - OVERLAP) | spoken


def _terms(settings: Settings) -> str:
    return schema.digest([recorded.CODE, settings.detector.model_dump(mode="json")])


def _verdicts(db: Db, days: Days) -> dict[tuple[Name, date], dict[str, Any]]:
    fields = dict.fromkeys(("dataset", "scope", "window", "of", "made_of", "state", "run_id", "judged_at"), 1)
    found = db[schema.VERDICTS].find(recorded.within("window", days), fields, batch_size=5000)
    return {(Name(one["dataset"], one["scope"]), one["window"].date()): one for one in found}


def _held(db: Db, days: Days) -> set[tuple[Name, date]]:
    """Days of Gold that are held back: what is recorded of them is what was published before."""
    where = {"blocked.first": {"$exists": True}, "dataset": catalog.DORA_DAILY.name, **recorded.within("window", days)}
    found = db[schema.LEDGER].find(where, {"dataset": 1, "scope": 1, "window": 1})
    return {(Name(one["dataset"], one["scope"]), one["window"].date()) for one in found}


def _grown(
    db: Db, settings: Settings, days: Days, verdicts: Mapping[tuple[Name, date], Mapping[str, Any]]
) -> set[tuple[Name, date]]:
    """The windows that the detector was blind on, and before which something was recorded of their stream since."""
    blind = {key: one["judged_at"] for key, one in verdicts.items() if one["state"] == State.BLIND}
    if not blind:
        return set()
    looked_at = days[0] - timedelta(days=settings.detector.history_days), days[1]
    told = recorded.told_by_window(db, looked_at, {name for name, _ in blind}, min(blind.values()))
    return {
        (name, day)
        for (name, day), since in blind.items()
        if any(window < day and at > since for window, at in told.get(name, {}).items())
    }
