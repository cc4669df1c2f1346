"""The detector's turn in a run: what is new, and Gold that is about to be published, is judged at once.

It comes between the links and Gold, for all units of the run together: streams of different sources tell more about one
another than each of them alone.
"""

import gc
import logging
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Final

from pymongo.errors import PyMongoError

from config import mongo, schema
from config.catalog import DORA_DAILY
from config.redaction import redacted
from quality.detector import news
from quality.detector.news import Candidates
from quality.detector.recorded import Name, Values
from quality.receipts import STILL_OPEN
from tasks import life, metrics, scoping
from tasks.context import POLL_SECONDS, Context
from tasks.metrics import Stale
from tasks.noted import NotedTask

log = logging.getLogger(__name__)

ASKED: Final = 3
"""How often a unit asks for verdicts on its Gold before it goes on without."""
PATIENCE_SECONDS: Final = 60.0
"""How long the units of the run that are still under way on other workers are waited for."""
_UNDER_WAY: Final = "under_way"
_DATABASE: Final = (PyMongoError, mongo.MongoError)


class Judge(NotedTask):
    """All streams, as far as they are there. A worker takes it when there is nothing else that could be run."""

    priority = -1

    def complete(self) -> bool:
        """Whether no recent window lacks a verdict on its present values."""
        try:
            return not is_due(self.context)
        except _DATABASE:
            raise
        except Exception:  # noqa: BLE001 - `run` meets it again, and notes it
            return False

    def run(self) -> None:
        """Wait for the units that other workers are at, then judge."""
        self._say("waiting for other units", 0.0)
        _wait(self.context)
        self._say(f"{bring(self.context):,} windows judged")


def is_on(context: Context) -> bool:
    """Whether there is a detector, and something for it to look at."""
    return context.settings.detector.enabled and context.checks


def awaited(context: Context, scope: str, windows: Sequence[Stale] | None = None) -> list[Stale]:
    """The days of Gold that are to be made anew, are recent enough to be judged, and have no verdict on that yet.

    windows: those to be made anew, if that is known.
    """
    if not is_on(context) or not context.settings.detector.of(DORA_DAILY.name).judge:
        return []
    days = news.recent(context.settings, context.now)
    stale = metrics.stale(context, scope, days) if windows is None else windows
    fresh = [window for window in stale if not _is_open(window)]
    if not fresh:
        return []
    made_of = metrics.made_of(context, scope, fresh)
    keys = {f"{DORA_DAILY.name}|{scope}|{day.isoformat()}": made for day, made in made_of.items()}
    found = context.db[schema.VERDICTS].find({"_id": {"$in": list(keys)}}, {"made_of": 1, "window": 1})
    judged = {one["window"].date() for one in found if one["made_of"] == keys[one["_id"]]}
    return [window for window in fresh if window.day not in judged]


def is_due(context: Context) -> bool:
    """Whether there is anything to judge; neither numpy nor scikit-learn is needed to know that."""
    if not is_on(context):
        return False
    stale: dict[str, list[Stale]] = {}
    for scope in _scopes(context):
        one = _stale(context, [scope])
        if any(awaited(context, scope, windows) for windows in one.values()):
            return True
        stale |= one
    pending, run_id = _pending(stale), context.ledger.run_id
    return bool(news.news(context.db, context.settings, context.now, run_id=run_id, pending=pending).windows)


def bring(context: Context, scopes: Iterable[str] | None = None) -> int:
    """Judge all that is to be judged; returns how many windows that were. What fails in it does not end the run.

    scopes: of which there may be Gold that is about to be published; absent: all. Raises PyMongoError, MongoError.
    """
    if not is_on(context):
        return 0
    try:
        with _uncollected():
            return _judge(context, _scopes(context) if scopes is None else scopes)
    except _DATABASE:
        raise
    except Exception as error:  # noqa: BLE001 - Gold must not wait for the detector
        log.error("detector", extra={"traceback": redacted(traceback.format_exc())})  # noqa: TRY400
        name = Judge.__name__
        life.note_failure(context, task=name, where="", place=name, scopes=(), error=life.told(error))
        return 0


def set_out(context: Context, place: str, scopes: Sequence[str] = ()) -> None:
    """Note that a unit of the run is under way to where verdicts are waited for; `scopes`: its own."""
    note = {f"{_UNDER_WAY}.{schema.digest(place)}": {"place": place, "scopes": list(scopes)}}
    context.db[schema.RUNS].update_one({"_id": context.ledger.run_id}, {"$set": note}, upsert=True)


def arrive(context: Context, place: str) -> None:
    """Note that it is there, or will not come."""
    gone = {f"{_UNDER_WAY}.{schema.digest(place)}": ""}
    context.db[schema.RUNS].update_one({"_id": context.ledger.run_id}, {"$unset": gone})


def _wait(context: Context) -> None:
    """Wait until no unit is under way any more, but those of which something has failed; PATIENCE_SECONDS at most."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        fields = {_UNDER_WAY: 1, "failures.place": 1, "failures.scopes": 1}
        run = context.db[schema.RUNS].find_one({"_id": context.ledger.run_id}, fields) or {}
        failures = run.get("failures", ())
        places = {_about(one["place"]) for one in failures}
        scopes = {scope for one in failures for scope in one.get("scopes", ())}
        coming = run.get(_UNDER_WAY, {}).values()
        if all(_about(one["place"]) in places or scopes & {*one["scopes"]} for one in coming):
            return
        time.sleep(POLL_SECONDS)
    log.warning("units are still under way: judging what is there", extra={"run_id": context.ledger.run_id})


def _about(place: str) -> str:
    return place.partition(" ")[2]


@contextmanager
def _uncollected() -> Iterator[None]:
    """Nobody looks for garbage in cycles meanwhile: hardly any is made, and looking took up to a tenth of the CPU."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _judge(context: Context, scopes: Iterable[str]) -> int:
    db, settings, run_id = context.db, context.settings, context.ledger.run_id
    stale = _stale(context, scopes)
    values: dict[Name, Mapping[date, Values]] = {}
    made_of: dict[tuple[Name, date], str] = {}
    for scope, windows in stale.items():
        if awaited(context, scope, windows):
            # and days that are held back: a verdict on one may follow from what is repaired of those before it
            days = news.recent(settings, context.now)
            new = [one for one in metrics.stale(context, scope, days, waiting=True) if not _is_open(one)]
            name = Name(DORA_DAILY.name, scope)
            values[name] = metrics.candidates(context, scope, new)
            made_of |= {(name, day): made for day, made in metrics.made_of(context, scope, new).items()}
    candidates = Candidates(values, made_of)
    found = news.news(db, settings, context.now, run_id=run_id, candidates=candidates, pending=_pending(stale))
    if found.windows:
        from quality.detector import judging  # noqa: PLC0415 - numpy: 0.1 s that a run without news does without

        judging.judge(db, settings, context.now, run_id, found, candidates)
    news.mark(db, settings, found)
    return sum(len(windows) for windows in found.windows.values())


def _scopes(context: Context) -> list[str]:
    """All that have links."""
    return scoping.linked(context)


def _stale(context: Context, scopes: Iterable[str]) -> dict[str, list[Stale]]:
    """The recent days of Gold that are to be made anew."""
    days = news.recent(context.settings, context.now)
    return {scope: windows for scope in scopes if (windows := metrics.stale(context, scope, days))}


def _pending(stale: Mapping[str, Sequence[Stale]]) -> set[tuple[Name, date]]:
    return {(Name(DORA_DAILY.name, scope), window.day) for scope, windows in stale.items() for window in windows}


def _is_open(window: Stale) -> bool:
    """Whether what it is made from may still grow."""
    proofs = window.links.proofs.values()
    return any(str(proof.get("reason")).startswith(STILL_OPEN) for proof in proofs)
