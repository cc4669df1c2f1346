"""What the documents of runs say: tasks that raised, and runs that gave no sign of life and did not end.

A task is made up for when its place was finished. A run is, whatever was its kind, by any run that began later and
ended well: each brings in all that is new, and leaves no window of its range undone.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from alerting import impact
from alerting.evidence.view import View, command, partition, passed
from alerting.impact import TASKS
from alerting.reports import Facts, Key, Kind, Report
from config import schema
from config.catalog import SWEEP
from config.settings import Git, GitHub, Jira

RAISED: Final = "failed"
KILLED: Final = "killed"
ALIVE: Final = timedelta(seconds=60)
"""How long a run may be without a sign of life; it gives one every ten seconds."""


def failures(view: View) -> Iterator[Report]:
    """The last failure of each place, and of each kind of run the last that is gone; unless it is made up for."""
    yield from _raised(view)
    yield from _killed(view)


def _raised(view: View) -> Iterator[Report]:
    stages: list[schema.Document] = [
        {"$match": {"failures.at": {"$exists": True}}},
        {"$unwind": "$failures"},
        {"$sort": {"failures.at": 1}},
        {"$group": {"_id": "$failures.place", "last": {"$last": "$failures"}}},
    ]
    last = {str(one["_id"]): one["last"] for one in view.db[schema.RUNS].aggregate(stages)}
    if not last:
        return
    keys = {place: Key(TASKS, place, RAISED) for place in last}
    told = view.latest(set(keys.values()))
    news = {
        place: one for place, one in last.items() if keys[place] in view.open or not _is_known(told, keys[place], one)
    }
    made_up = _made_up(view, {place: one["at"] for place, one in news.items() if keys[place] not in view.open})
    for place, one in news.items():
        if place not in made_up:
            yield _failure(view, keys[place], one)


def _is_known(told: dict[Key, Any], key: Key, failure: dict[str, Any]) -> bool:
    mark = told[key].marks.get("") if key in told else None
    return mark is not None and mark.at >= failure["at"]


def _failure(view: View, key: Key, one: dict[str, Any]) -> Report:
    facts = Facts(
        title=f"The task {key.scope} failed",
        expected="a task that ends well",
        observed=one["error"],
        why="what was published before stays; what waits for it is not made",
        command=command("run"),
    )
    scopes = tuple(one.get("scopes", ())) or (_all_fed(view) if _is_run(key.scope) else _fed(view, key.scope))
    return Report(
        key, one["at"], failed=True, kind=Kind.TASK, lasting=True, facts=facts, metrics=impact.of_place(key.scope),
        scopes=scopes,
    )  # fmt: skip


def _is_run(place: str) -> bool:
    """Whether it is that of a run as a whole: only a run is about nothing in particular."""
    return " " not in place


def _fed(view: View, place: str) -> tuple[str, ...]:
    """The scopes of a unit, as its sweep knows them; of one that was never swept as far as the configuration tells."""
    about = place.partition(" ")[2]
    document = view.ledger.find_one({"_id": partition(SWEEP, about)}, {"feeds": 1}) or {}
    if found := {feed["origin"] for feed in document.get("feeds", ())}:
        return tuple(sorted(found))
    return tuple(origin for name, origin in _declared(view) if f"{name}/{origin}" == about)


def _declared(view: View) -> Iterator[tuple[str, str]]:
    """Source and origin of what is configured, where units are origins."""
    for source in view.settings.sources:
        if isinstance(source, Git | GitHub):
            yield from ((source.name, one.origin) for one in source.repositories)
        elif isinstance(source, Jira):
            yield from ((source.name, one.origin) for one in source.projects)


def _all_fed(view: View) -> tuple[str, ...]:
    """All scopes that any unit feeds, and those that are made from them."""
    sweeps = view.ledger.find({"dataset": SWEEP}, {"feeds.origin": 1})
    known = {feed["origin"] for one in sweeps for feed in one.get("feeds", ())}
    return impact.reached(view.settings, TASKS, sorted(known | {origin for _, origin in _declared(view)}))


def _made_up(view: View, since: dict[str, datetime]) -> dict[str, datetime]:
    """When each place was finished last, of those that were finished after what `since` says of them."""
    if not since:
        return {}
    oldest = min(since.values())
    live = {"$or": [{"ended_at": None}, {"ended_at": {"$gte": oldest}}]}
    where = {"passed": {"$elemMatch": {"places": {"$in": sorted(since)}, "at": {"$gt": oldest}}}}
    found: dict[str, datetime] = {}
    for run in view.db[schema.RUNS].find({**live, **where}, {"passed": 1}):
        for one in run["passed"]:
            for place in since.keys() & set(one["places"]):
                if one["at"] > since[place]:
                    found[place] = max(one["at"], found.get(place, one["at"]))
    for place in filter(_is_run, since):
        if ended := _ended_well(view, since[place]):
            found[place] = max(ended, found.get(place, ended))
    return found


def _killed(view: View) -> Iterator[Report]:
    where = {"ended_at": None, "alive_at": {"$lt": view.now - ALIVE}}
    fields = {"kind": 1, "alive_at": 1, "started_at": 1, "host": 1, "pid": 1}
    last: dict[str, dict[str, Any]] = {}
    for run in view.db[schema.RUNS].find(where, fields, sort=[("alive_at", 1)]):
        last[run["kind"]] = run
    for kind, run in last.items():
        key = Key(TASKS, kind, KILLED)
        at = run["alive_at"]
        if key in view.open or _ended_well(view, at) is None:
            facts = Facts(
                title=f"A run ({kind}) is gone without an end",
                expected="a sign of life every ten seconds, and an end",
                observed=f"begun {run['started_at']:%Y-%m-%d %H:%M} UTC on {run['host']} (process {run['pid']}), last "
                f"alive {run['alive_at']:%Y-%m-%d %H:%M:%S} UTC",
                why="it was killed, or its machine is gone: what it had published stays, and the next run goes on",
                command=command("run"),
            )  # fmt: skip
            yield Report(
                key, at, failed=True, kind=Kind.TASK, lasting=True, facts=facts, metrics=impact.metrics(TASKS),
                scopes=_all_fed(view),
            )  # fmt: skip


def _ended_well(view: View, after: datetime) -> datetime | None:
    """When the last run ended that began later than `after` and ended well, if any did."""
    where = {"ended_at": {"$gt": after}, "started_at": {"$gt": after}, "well": True}
    run = view.db[schema.RUNS].find_one(where, {"ended_at": 1}, sort=[("ended_at", -1)])
    return run["ended_at"] if run else None


def passes(view: View) -> Iterator[Report]:
    """What was finished since, of what is open."""
    mine = [one for one in view.of(Kind.TASK) if one.key.dataset == TASKS]
    raised = {one.key.scope: one for one in mine if one.key.check == RAISED and "" in one.marks}
    for place, at in _made_up(view, {place: one.marks[""].at for place, one in raised.items()}).items():
        yield passed(raised[place], "", at)
    for one in mine:
        if one.key.check == KILLED and "" in one.marks:
            at_last = _ended_well(view, one.marks[""].at)
            if at_last is not None:
                yield passed(one, "", at_last, "a later run ended well")


def is_under_way(view: View) -> bool:
    """Whether a run is at work: what it has mended below it has not carried up yet."""
    where = {"ended_at": None, "alive_at": {"$gte": view.now - ALIVE}}
    return view.db[schema.RUNS].find_one(where, {"_id": 1}) is not None
