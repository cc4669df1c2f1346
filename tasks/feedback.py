"""What a person says of anomalies: that one was expected or a fault, and that another level is the new normal."""

import difflib
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Final

from alerting.incidents import Incident, Kind
from alerting.store import Store, UnknownIncidentError
from config import mongo, schema, settings
from config.redaction import redacted
from config.settings import ConfigError
from quality import observations
from quality.detector import said
from quality.detector.said import Said, Says
from quality.detector.taught import stretches
from tasks.cli_common import plain

NEAR: Final = 5
"""How many similar names an error tells."""

EXPECTED: Final = (
    "They are no anomaly, and teach from now on. The next `touchstone run` judges them anew, which resolves the "
    "incident, and asks again for the days of Gold that were held back."
)
FAULT: Final = (
    "They never teach, also when the incident is over. It stays open until these are repaired or, if it is neither "
    "critical nor holds Gold back, until a later window is judged normal."
)


class FeedbackError(ValueError):
    """Why it cannot be said of that incident."""


def feedback(start: str, says: Says, by: str, note: str) -> list[str]:
    """Keep what is said of all windows of the incident whose id begins with `start`, and of its effects.

    Anomalies of other layers that are attached to it are the same problem. Returns what to tell the person.
    Raises FeedbackError, ConfigError, MongoError.
    """
    db, store, now = *_open(), datetime.now(UTC)
    try:
        incident = store.find(start)
    except UnknownIncidentError as error:
        raise FeedbackError(plain(error)) from None
    if incident.kind is not Kind.ANOMALY:
        raise FeedbackError(
            f"{incident.id} is no anomaly, but of the kind {incident.kind}: it is over when its check passes, or by "
            f"`touchstone incidents resolve {incident.id}`"
        )
    effects = store.listed({"cause": incident.id, "kind": str(Kind.ANOMALY)})
    told = []
    for one in (incident, *effects):
        key = one.key
        for days in stretches(failed(one), 1):  # of what lies between two of them nothing is said
            first, last = days[0], days[-1]
            said.say(db, Said(says, key.dataset, key.scope, first, last, (), by, now, redacted(note), one.id))
            told.append(f"{one.id} {plain(f'{key.dataset} {key.scope}')}, {span(first, last)}: {says}, says {by}")
    return [*told, EXPECTED if says is Says.EXPECTED else FAULT]


def failed(incident: Incident) -> list[date]:
    """The windows that were wrong, those that a later one has mended included."""
    return sorted(date.fromisoformat(window) for window, mark in incident.marks.items() if window and mark.failed)


def expect(  # noqa: PLR0913, PLR0917 - what is expected, and who says so
    dataset: str, scope: str, measures: Sequence[str], first: date | None, by: str, note: str
) -> list[str]:
    """Keep that from `first` on another level is the new normal; returns what to tell the person.

    first: None: the first window of the anomaly that is open, if there is one, else today.
    Raises ConfigError, which names what there is, if nothing of the kind is observed; MongoError.
    """
    db, store, now = *_open(), datetime.now(UTC)
    _check(db, dataset, scope, measures)
    if first is not None and first > now.date():
        raise ConfigError(
            f"detector: {first} lies in the future; what is known in advance is an event of the configuration: "
            '[[detector.events]] with kind = "change"'
        )
    first = first or _since(store, dataset, scope) or now.date()
    said.say(db, Said(Says.NORMAL, dataset, scope, first, None, tuple(measures), by, now, redacted(note)))
    of = ", ".join(measures) or "all measures"
    return [
        f"{plain(f'{dataset} {scope}')}, {plain(of)}: the new normal from {first} on, says {by}",
        "What lies before no longer teaches the level. The next `touchstone run` judges by it.",
    ]


def _since(store: Store, dataset: str, scope: str) -> date | None:
    where = {"open": True, "kind": str(Kind.ANOMALY), "key.dataset": dataset, "key.scope": scope}
    return min((day for one in store.listed(where) for day in failed(one)), default=None)


def _check(db: schema.Db, dataset: str, scope: str, measures: Iterable[str]) -> None:
    """Raise ConfigError unless all of it is observed."""
    known = observations.series(db)
    _among(dataset, {one.dataset for one in known}, "dataset")
    _among(scope, {one.scope for one in known if one.dataset == dataset}, f"scope of {dataset}")
    theirs = {one.measure for one in known if (one.dataset, one.scope) == (dataset, scope)}
    for measure in measures:
        _among(measure, theirs, f"measure of {dataset} {scope}")


def _among(name: str, known: set[str], what: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=NEAR, cutoff=0.4) or sorted(known)[:NEAR]
        hint = f"there is {', '.join(repr(one) for one in near)}" if near else "nothing is observed yet"
        raise ConfigError(f"detector: there is no {what} {name!r}; {hint}")


def span(first: date, last: date) -> str:
    """A range of days in words."""
    return f"{first}" if first == last else f"{first} to {last}"


def _open() -> tuple[schema.Db, Store]:
    loaded = settings.load()
    db = mongo.database(loaded)
    return db, Store.of(db, loaded)


__all__ = ["FeedbackError", "expect", "failed", "feedback", "span"]
