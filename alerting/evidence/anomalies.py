"""What the detector says of windows, as its verdicts stand; blind is no evidence, neither for nor against.

An anomaly is over when its window is judged normal, or when a person said that it was expected. One that is not lasting
is over, too, when a later window was judged later, and is normal, and had a number where this one was strange. Lasting
is what is critical, as what is lost stays lost, and what holds Gold back, as somebody must decide.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar

from alerting import impact
from alerting.evidence import known
from alerting.evidence.view import View, command, is_watched, passed
from alerting.incidents import Incident
from alerting.reports import ANOMALY, Facts, Key, Kind, Report
from config import schema
from config.catalog import DORA_DAILY
from quality.detector import explain, natures, said
from quality.detector.said import Says
from quality.detector.verdicts import Cell, State, Verdict
from quality.findings import Severity

CHECK: Final = ANOMALY
KINDS: Final = (Kind.ANOMALY, Kind.BROKEN_CHECK)
GRAVE: Final = 10.0
"""So many times rarer than the budget allows may be critical, if it does harm."""
NEWS: Final = timedelta(days=30)
"""What was judged longer ago, and told to nobody, is no longer told."""
CANDIDATES: Final = 20
"""Of so many later windows that are normal, the latest, it is asked whether they have the number that was strange."""
BATCH: Final = 200
"""Streams that are asked for at once."""
_ROWS: Final = "rows"
_HIGH_IS_LOSS: Final = ("null_ratio.", "freshness_seconds")
_LOST: Final = frozenset({"stale", "zero"})
"""What makes a measure strange, and means that data is missing."""
_LIGHT: Final = ("dataset", "scope", "window", "state", "judged_at", "blocks")
MOMENT: Final = timedelta(milliseconds=1)
"""What is judged in one go has one time, and what comes later in it has mended what is told of nobody yet."""

Stream = tuple[str, str]
"""A dataset and a scope."""
T = TypeVar("T")


class Wrong(NamedTuple):
    """A window that a later one can mend."""

    at: datetime
    """When it was judged."""
    measure: str
    """What was strangest; empty where nothing could be said."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is wrong by the verdicts now."""

    reports: list[Report]
    """Without their facts and as warnings; see `detailed`."""
    held: Mapping[Stream, int]
    """Of how many days Gold is held back for it."""


def failures(view: View) -> Found:
    """Every anomaly, and every window that the detector broke on; a backfill of an old window is never fresh."""
    longest = timedelta(days=view.settings.detector.judge_days)
    since = (view.now - longest - NEWS).date()
    states = [str(State.ANOMALY), str(State.BROKEN)]
    where = {"state": {"$in": states}, "window": {"$gte": schema.start_of(since)}}
    reports: list[Report] = []
    held: Counter[Stream] = Counter()
    for one in view.db[schema.VERDICTS].find(where, dict.fromkeys(_LIGHT, 1)):
        key = Key(one["dataset"], one["scope"], CHECK)
        incident = view.open.get(key)
        is_told = incident is not None and one["window"].date().isoformat() in incident.failing
        if one["judged_at"] - one["window"] > longest + schema.DAY and not is_told:
            continue
        kind = Kind.ANOMALY if one["state"] == State.ANOMALY else Kind.BROKEN_CHECK
        held[one["dataset"], one["scope"]] += kind is Kind.ANOMALY and bool(one.get("blocks"))
        reports.append(
            Report(
                key, one["judged_at"], failed=True, kind=kind, window=one["window"].date(), severity=Severity.WARNING,
                scopes=(key.scope,),
            )
        )  # fmt: skip
    return Found(reports, held)


def detailed(view: View, found: Found, reports: Sequence[Report]) -> Iterator[Report]:
    """`reports` as their verdicts have them, without those that were mended before anybody was to be told of them."""
    told = [_told(view, verdict, found.held) for verdict in _verdicts(view, reports)]
    wrong: dict[Key, dict[str, Wrong]] = defaultdict(dict)
    for one in told:
        if not one.lasting and one.key not in view.open:
            wrong[one.key][one.on] = Wrong(one.at - MOMENT, _measure(one.facts))
    later = _normal_later(view, wrong)
    mended = {key: _mended(view, key, windows, later.get(key, ())) for key, windows in wrong.items()}
    yield from (one for one in told if one.on not in mended.get(one.key, ()))


def severity(verdict: Verdict) -> Severity:
    """Critical is what is both: much rarer than the budget allows, and harmful (data lost, or Gold itself wrong)."""
    harmful = any(_is_harmful(verdict.dataset, cell, first=not n) for n, cell in enumerate(verdict.cells))
    grave = verdict.state is State.ANOMALY and verdict.rarity >= GRAVE and harmful
    return Severity.CRITICAL if grave else Severity.WARNING


def passes(view: View) -> Iterator[Report]:
    """What mends the open incidents."""
    mine = [one for one in view.open.values() if one.key.check == CHECK and one.kind in KINDS]
    if not mine:
        return
    heard: dict[Stream, list[said.Said]] = defaultdict(list)
    for one in said.heard(view.db):
        heard[one.dataset, one.scope].append(one)
    own = _own(view, mine)
    wrong = {one.key: _mendable(one) for one in mine}
    later = _normal_later(view, wrong)
    for incident in mine:
        key = incident.key
        yield from _by_itself(incident, own, heard[key.dataset, key.scope])
        for day, at in set(_mended(view, key, wrong[key], later.get(key, ())).values()):
            yield passed(incident, day.isoformat(), at, f"{day} is as expected")


def _mendable(incident: Incident) -> dict[str, Wrong]:
    """Its windows that a later one can mend."""
    found = {}
    for window in incident.failing:
        mark = incident.marks[window]
        if not mark.lasting:
            found[window] = Wrong(mark.at, _marked(incident, window))
    return found


def _measure(facts: Facts) -> str:
    return facts.series[2] if facts.series else ""


def _told(view: View, verdict: Verdict, held: Mapping[Stream, int]) -> Report:
    key, how_bad = Key(verdict.dataset, verdict.scope, CHECK), severity(verdict)
    is_anomaly = verdict.state is State.ANOMALY
    lasting = is_anomaly and (how_bad is Severity.CRITICAL or verdict.blocks)
    facts = _facts(view, verdict, held[verdict.dataset, verdict.scope]) if is_anomaly else _broken(verdict)
    return Report(
        key, verdict.judged_at, failed=True, kind=Kind.ANOMALY if is_anomaly else Kind.BROKEN_CHECK,
        window=verdict.window, severity=how_bad, lasting=lasting, facts=facts,
        metrics=_metrics(verdict) if is_anomaly else (), scopes=(verdict.scope,),
    )  # fmt: skip


def _facts(view: View, verdict: Verdict, held: int) -> Facts:
    dataset, scope = verdict.dataset, verdict.scope
    why = explain.reasons(verdict, view.settings.detector.false_alarms_per_series_per_quarter)
    if verdict.blocks:
        days = f"{held} days is" if held > 1 else "this day is"
        why = f"{why}. Gold of {days} held back until it is repaired, or said to be expected"
    return Facts(
        title=explain.title(verdict),
        expected=explain.expected(verdict),
        observed=explain.observed(verdict),
        why=why,
        command=command(
            "check" if is_watched(dataset) else "explain", dataset,
            *(["--date"] if is_watched(dataset) else []), str(verdict.window), "--scope", scope,
        ),
        examples=explain.contributors(verdict),
        series=(dataset, scope, verdict.cells[0].measure if verdict.cells else _ROWS),
    )  # fmt: skip


def _broken(verdict: Verdict) -> Facts:
    return Facts(
        title=explain.title(verdict),
        expected="a verdict",
        observed=f"{verdict.window}: {verdict.error}",
        why=explain.reasons(verdict),
        command=command("run"),
    )


def _metrics(verdict: Verdict) -> tuple[str, ...]:
    """What it makes untrustworthy; of Gold the metrics that are strange themselves."""
    strange = set(explain.names(verdict.cells)) & set(impact.ALL)
    if verdict.dataset == DORA_DAILY.name and strange:
        return tuple(metric for metric in impact.ALL if metric in strange)
    return impact.metrics(verdict.dataset)


def _is_harmful(dataset: str, cell: Cell, *, first: bool) -> bool:
    """Whether the measure is strange in the way of lost data. The strangest may be so together with earlier windows."""
    if not first and not explain.is_outside(cell):
        return False
    if dataset == DORA_DAILY.name or cell.driver in _LOST:
        return True
    low = high = False
    if first and cell.observed is not None and cell.expected is not None:
        low, high = cell.observed < cell.expected, cell.observed > cell.expected
    kind = natures.kind(cell.measure)
    if kind is not None and kind.volume:
        return low or explain.is_below(cell)
    return cell.measure.startswith(_HIGH_IS_LOSS) and (high or explain.is_above(cell))


def _verdicts(view: View, reports: Sequence[Report]) -> Iterator[Verdict]:
    """Those that `reports` are of, as they are by now."""
    states = [str(State.ANOMALY), str(State.BROKEN)]
    for some in _batches(reports):
        names = [_name(one.key, one.on) for one in some]
        for document in view.db[schema.VERDICTS].find({"_id": {"$in": names}, "state": {"$in": states}}, {"was": 0}):
            yield Verdict.from_document(document)


def _own(view: View, incidents: Iterable[Incident]) -> dict[str, Mapping[str, Any]]:
    """What is said of the failing windows themselves, by the name of the verdict."""
    names = [_name(one.key, window) for one in incidents for window in one.failing]
    fields = {"state": 1, "judged_at": 1}
    found: dict[str, Mapping[str, Any]] = {}
    for some in _batches(names):
        found |= {one["_id"]: one for one in view.db[schema.VERDICTS].find({"_id": {"$in": some}}, fields)}
    return found


def _by_itself(
    incident: Incident, own: Mapping[str, Mapping[str, Any]], heard: Sequence[said.Said]
) -> Iterator[Report]:
    """The windows that are judged otherwise by now, and those that somebody has said to be expected."""
    for window in incident.failing:
        mark = incident.marks[window]
        verdict = own.get(_name(incident.key, window), {})
        kind = mark.said.kind if mark.said else incident.kind
        well = {State.NORMAL, State.BLIND} if kind is Kind.BROKEN_CHECK else {State.NORMAL}
        if verdict.get("state") in well and verdict["judged_at"] > mark.at:
            yield passed(incident, window, verdict["judged_at"], f"{window} is judged {verdict['state']} now")
        elif kind is Kind.ANOMALY and said.about(heard, day := date.fromisoformat(window)) is Says.EXPECTED:
            last = next(one for one in reversed(heard) if one.covers(day) and one.says is Says.EXPECTED)
            if last.at > mark.at:
                yield passed(incident, window, last.at, f"{window} was expected, says {last.by}")
        elif kind is Kind.ANOMALY and (normal := _new_normal(heard, window, mark.at, _marked(incident, window))):
            yield passed(incident, window, normal.at, f"{window} is the new normal, says {normal.by}")


def _new_normal(heard: Sequence[said.Said], window: str, since: datetime, measure: str) -> said.Said | None:
    """What somebody has said since, if it is that the level which the measure had on the window is the new normal."""
    return next(
        (
            one
            for one in reversed(heard)
            if one.says is Says.NORMAL
            and one.at > since
            and str(one.first) <= window <= str(one.at.date())
            and (not one.measures or measure in one.measures)
        ),
        None,
    )


def _marked(incident: Incident, window: str) -> str:
    """The measure that was strangest on the window."""
    mark = incident.marks[window]
    return _measure(mark.said.facts if mark.said else incident.facts)


def _mended(
    view: View, key: Key, wrong: Mapping[str, Wrong], later: Sequence[tuple[date, datetime]]
) -> dict[str, tuple[date, datetime]]:
    """Which of `later` mends each of the windows in `wrong`, if one does: later, judged later, and with the number."""
    mending: dict[str, tuple[date, datetime]] = {}
    for measure in {one.measure for one in wrong.values()}:
        mine = {window: one.at for window, one in wrong.items() if one.measure == measure}
        new = [one for one in later if any(str(one[0]) > window and one[1] > at for window, at in mine.items())]
        new = new[:CANDIDATES]
        values = known.values_of(view, key, measure, [schema.start_of(day) for day, _ in new]) if measure else {}
        new = [one for one in new if not measure or values.get(schema.start_of(one[0])) is not None]
        for window, at in mine.items():
            if found := next((one for one in new if str(one[0]) > window and one[1] > at), None):
                mending[window] = found
    return mending


def _normal_later(view: View, wrong: Mapping[Key, Mapping[str, Wrong]]) -> dict[Key, list[tuple[date, datetime]]]:
    """Of each key the windows after the first of `wrong` that are normal and were judged later, the latest first."""
    found: dict[Key, list[tuple[date, datetime]]] = defaultdict(list)
    asked = [(key, windows) for key, windows in wrong.items() if windows]
    for some in _batches(asked):
        ranges = [
            {
                "_id": {"$gt": _name(key, min(windows)), "$lt": _name(key, "9999-99")},
                "judged_at": {"$gt": min(one.at for one in windows.values())},
            }
            for key, windows in some
        ]
        where = {"state": str(State.NORMAL), "$or": ranges}
        fields = {"dataset": 1, "scope": 1, "window": 1, "judged_at": 1}
        for one in view.db[schema.VERDICTS].find(where, fields, sort=[("window", -1)]):
            found[Key(one["dataset"], one["scope"], CHECK)].append((one["window"].date(), one["judged_at"]))
    return found


def _name(key: Key, window: str) -> str:
    """The `_id` of the verdict, see `Verdict.key`."""
    return f"{key.dataset}|{key.scope}|{window}"


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[at : at + BATCH] for at in range(0, len(items), BATCH))
