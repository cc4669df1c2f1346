"""Incidents brought up to the evidence, each under its cause in the same write: no effect is told for a moment."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from alerting import inhibition
from alerting.evidence import known, rules, runs
from alerting.evidence.gather import gathered
from alerting.evidence.view import View
from alerting.folding import attach, fold_all, raised, with_effects
from alerting.incidents import RANK, Incident, State, is_group
from alerting.reports import GROUPS, Key, Report
from alerting.store import Store
from config import schema
from config.settings import Settings
from quality.findings import Severity

EFFECTS: Final = 30
"""So many effects are told of a cause by name."""


def reports(db: schema.Db, settings: Settings, now: datetime) -> list[Report]:
    """All that is wrong in ledger, drift, verdicts and runs as they stand, and what mends the open incidents."""
    return gathered(View(db, settings, now, Store.of(db, settings)), news=False)


def reconcile(db: schema.Db, settings: Settings, now: datetime) -> list[Incident]:
    """Fold what the incidents do not say yet, causes first; returns those that changed.

    Where nothing is news it writes nothing, so that it may be called at any time, by anybody. Raises PyMongoError.
    """
    view = View(db, settings, now, Store.of(db, settings))
    news = gathered(view, news=True)
    planned = _planned(view, news)
    causes = inhibition.causes(planned.values(), {key for key, one in planned.items() if _is_about_gaps(view, one)})
    real: dict[str, str] = {}
    """Ids as they were planned -> as they are: somebody else may have been first."""
    changed: dict[str, Incident] = {}
    waits = runs.is_under_way(view)
    worst = _worst(planned, causes, waits=waits)

    def adjust(incident: Incident) -> Incident:
        mine = planned.get(incident.key)
        if mine is None or incident.state is not State.OPEN:
            return incident
        real[mine.id] = incident.id
        placed = _attached(incident, causes.get(mine.id), real, waits=waits)
        return raised(placed, worst.get(mine.id, Severity.INFO), now)

    for effects in (False, True):
        part = [one for one in news if _is_effect(planned.get(one.key), causes) is effects]
        changed |= {one.id: one for one in view.store.fold(part, now, adjust)}
    for one in planned.values():
        kept = changed.get(real.get(one.id, one.id), one)
        if kept.state is State.OPEN and kept.kind not in GROUPS and adjust(kept) != kept:
            changed[kept.id] = view.store.change(kept.id, adjust, now)
    return [*_effects_told(view, planned, changed).values()]


def under_its_cause(store: Store) -> Callable[[Incident], Incident]:
    """For `Store.fold`: an incident that is not of the ledger (a missed deadline) under its cause from the first."""

    def adjust(incident: Incident) -> Incident:
        cause = inhibition.cause_of(incident, store.listed()) if incident.state is State.OPEN else None
        return attach(incident, cause) if cause else incident

    return adjust


def _planned(view: View, news: Iterable[Report]) -> dict[Key, Incident]:
    """What the incidents will be once `news` are folded."""
    groups: dict[Key, list[Report]] = defaultdict(list)
    for one in news:
        groups[one.key].append(one)
    latest = view.latest(groups.keys())
    folded = {key: fold_all(latest.get(key), group, view.store.policy) for key, group in groups.items()}
    return view.open | folded


def _worst(planned: Mapping[Key, Incident], causes: Mapping[str, str], *, waits: bool) -> dict[str, Severity]:
    """How bad the worst of its effects is, by the id of the cause: they are not told by themselves.

    It follows anew each time, so that a cause is no worse than what was found of it once the effect is over.
    """
    worst: dict[str, Severity] = {}
    for one in planned.values():
        cause = causes.get(one.id) or (one.cause if waits and not is_group(one.cause) else None)
        if cause and one.state is State.OPEN:
            worst[cause] = max(worst.get(cause, Severity.INFO), one.found, key=RANK.__getitem__)
    return worst


def _is_about_gaps(view: View, incident: Incident) -> bool:
    rule = view.rule(incident.key.dataset, incident.key.check) if incident.kind in rules.KINDS else None
    return rule is not None and known.is_about_gaps(rule)


def _is_effect(incident: Incident | None, causes: Mapping[str, str]) -> bool:
    return incident is not None and incident.id in causes


def _attached(incident: Incident, cause: str | None, real: Mapping[str, str], *, waits: bool) -> Incident:
    """Under `cause` (as planned); without one it stays with a group, and, while a run is at work, where it is."""
    if cause is None:
        return incident if waits or is_group(incident.cause) else attach(incident, None)
    return attach(incident, real.get(cause, cause))


def _effects_told(view: View, planned: Mapping[Key, Incident], changed: Mapping[str, Incident]) -> dict[str, Incident]:
    """Each cause with what it causes now, one line each; those that changed."""
    after = dict(changed)
    now = {one.id: one for one in planned.values()} | after
    lines: dict[str, list[str]] = defaultdict(list)
    for one in now.values():
        if one.state is State.OPEN and one.cause and not is_group(one.cause):
            lines[one.cause].append(line(one))
    for one in list(now.values()):
        effects = _short(sorted(set(lines.get(one.id, ()))))
        if one.state is State.OPEN and one.kind not in GROUPS and one.effects != effects:
            after[one.id] = view.store.change(one.id, partial(with_effects, effects=effects, at=view.now), view.now)
    return after


def line(incident: Incident) -> str:
    """An effect as its cause tells it: what it is does not change with its windows."""
    key = incident.key
    return f"{key.dataset} {key.scope}: {key.check} {key.measure}".strip()


def _short(lines: Sequence[str]) -> tuple[str, ...]:
    return (*lines[:EFFECTS], *(["and more"] if len(lines) > EFFECTS else []))
