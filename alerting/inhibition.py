"""Which incident is only an effect of another one: one problem is told once, with what follows from it. Pure.

A cause lies in a lower layer, in something that the effect is made from; it is of the same scopes; and its windows are
those of the effect. Two of one layer are one problem where they say the same (a shallow clone leaves every stream of
its origin without proof), or where one explains the other (a field that has changed, and the rule that reads it).
A receipt in doubt explains much, but nothing critical beside missing data: that follows from it only where records of
the very window are known to be lost. An anomaly follows from anything that is wrong with its windows, and causes
nothing but the same anomaly in what is made of it: the numbers say that something is strange, never what.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final

from alerting import impact
from alerting.incidents import RANK, Incident, State
from alerting.reports import ANOMALY, GROUPS, Key, Kind
from config import catalog
from quality.findings import Severity

REACH: Final = 30
"""Days. A commit that is missing is missed where it is shipped, which is later, and in what is made of that."""
EPISODE: Final = 7
"""Days. Bad days in a source come with good ones between; what is made of them need not be strange on the same ones."""
BEFORE: Final = timedelta(minutes=10)
"""How much earlier than a failure itself what it has left behind may be recorded."""

_ENTITIES: Final = frozenset(one.name for one in catalog.ENTITIES)
_LINKED: Final = frozenset({catalog.DELIVERIES.name, catalog.DORA_DAILY.name})
_MAKES: Final[Mapping[str, frozenset[str]]] = {
    "Fold": _ENTITIES | _LINKED, "Link": _LINKED, "Metrics": frozenset({catalog.DORA_DAILY.name}),
}  # fmt: skip
_TASK_LAYERS: Final = {"Sweep": 1, "Unit": 1, "Watch": 1, "Fold": 3, "Link": 5, "Metrics": 7}
_LAST: Final = 9
_SOURCES: Final = ("Sweep", "Unit")
_ALONE: Final = GROUPS | {Kind.DELIVERY, Kind.HISTORY, Kind.HEARTBEAT}
"""Kinds that neither cause anything nor are caused."""
_FINDINGS: Final = frozenset({Kind.FINDING, Kind.BROKEN_CHECK})
_SWEEP: Final = "sweep"
_KILLED: Final = "killed"


def causes(incidents: Iterable[Incident], gaps: Collection[Key] = ()) -> dict[str, str]:
    """Of each of the open `incidents` that is an effect: its id, and that of its root cause.

    gaps: those of findings which say that data is missing.
    """
    open_ = [one for one in incidents if one.state is State.OPEN and one.kind not in _ALONE]
    covering: dict[str, list[Incident]] = defaultdict(list)
    for one in open_:
        for name in _covers(one):
            covering[name].append(one)
    direct = {}
    for one in open_:
        near = {other.id: other for name in _belongs(one) for other in covering[name]}
        others = [other for other in near.values() if one.key in gaps or not _is_beside(other, one)]
        if found := _direct(one, others):
            direct[one.id] = found.id
    return {effect: _root(cause, direct) for effect, cause in direct.items()}


def cause_of(incident: Incident, open_incidents: Iterable[Incident]) -> str | None:
    """The id of the root cause of `incident` among `open_incidents`, None if it is told by itself."""
    return causes([incident, *(one for one in open_incidents if one.id != incident.id)]).get(incident.id)


def order(incident: Incident) -> tuple[int, int, str, str, str, str]:
    """Causes before effects."""
    key = incident.key
    return (layer(incident), _ORDER.get(incident.kind, 3), key.dataset, key.check, key.measure, key.scope)


_ORDER: Final = {Kind.DRIFT: 0, Kind.RECEIPT: 1, Kind.TASK: 2}


def layer(incident: Incident) -> int:
    """How far from the sources: sweeps 0, Bronze 2, entities 4, deliveries 6, Gold 8; their tasks just below."""
    dataset = incident.key.dataset
    if dataset == catalog.SWEEP or incident.key.check == _SWEEP:
        return 0
    if dataset == impact.TASKS:
        return _TASK_LAYERS.get(_family(incident), _LAST)
    if dataset == catalog.DORA_DAILY.name:
        return 8
    if dataset == catalog.DELIVERIES.name:
        return 6
    return 4 if dataset in _ENTITIES else 2


def _direct(incident: Incident, others: Iterable[Incident]) -> Incident | None:
    """The lowest, then the oldest of what causes it."""
    found = [one for one in others if one.id != incident.id and _is_cause(one, incident)]
    return min(found, key=lambda one: (layer(one), one.openings[:1], order(one), one.id), default=None)


def _root(name: str, direct: Mapping[str, str]) -> str:
    while name in direct:  # ends, as a cause comes before its effect in a strict order
        name = direct[name]
    return name


def _is_cause(cause: Incident, effect: Incident) -> bool:
    if _KILLED in {cause.key.check, effect.key.check}:
        return False
    if ANOMALY in {cause.key.check, effect.key.check}:
        return _is_same_anomaly(cause, effect) if cause.key.check == ANOMALY else _explains(cause, effect)
    if layer(cause) == layer(effect):
        return _is_same(cause, effect)
    return layer(cause) < layer(effect) and _makes(cause, effect) and _overlaps(cause, effect)


def _is_beside(receipt: Incident, finding: Incident) -> bool:
    """Whether `receipt` is one, and leaves something critical of `finding` unexplained: it is in doubt, no more."""
    if receipt.kind is not Kind.RECEIPT or finding.kind not in _FINDINGS | {Kind.ANOMALY}:
        return False
    lost = {window for window in receipt.failing if receipt.marks[window].severity is Severity.CRITICAL}
    return any(finding.marks[w].severity is Severity.CRITICAL and w not in lost for w in finding.failing)


def _makes(cause: Incident, effect: Incident) -> bool:
    """Whether the effect is made from what is in trouble, or by it."""
    above, below = effect.key.dataset, cause.key.dataset
    if below == catalog.SWEEP or (below == impact.TASKS and _family(cause) in _SOURCES):
        if above == impact.TASKS:
            return _family(effect) in _SOURCES and _place(effect) == _unit(cause)
        return above.startswith(catalog.LAYERS)
    if below == impact.TASKS:
        return above in _MAKES.get(_family(cause), frozenset({_place(cause)}))
    if above == impact.TASKS:
        return _family(effect) == impact.WATCH and _place(effect) == below
    return below == above or below in catalog.upstream(above)


def _is_same(cause: Incident, effect: Incident) -> bool:
    """Whether two of one layer are one problem, which is told by the first of them."""
    if cause.kind is Kind.RECEIPT and effect.kind is Kind.RECEIPT:
        ours, theirs = _reasons(effect), _reasons(cause)
        first = ours < theirs or (ours == theirs and order(cause) < order(effect))
        return first and RANK[cause.found] >= RANK[effect.found] and _share(cause, effect)
    if (cause.key.dataset, cause.key.scope) != (effect.key.dataset, effect.key.scope):
        return False
    if cause.kind is Kind.DRIFT and effect.kind is Kind.DRIFT:
        return order(cause) < order(effect) and _share(cause, effect)
    if effect.kind in _FINDINGS and cause.kind in {Kind.DRIFT, Kind.RECEIPT}:
        return _share(cause, effect)
    if not {cause.kind, effect.kind} <= _FINDINGS:
        return False
    worse = RANK[cause.found] - RANK[effect.found]
    if worse == 0:
        return set(effect.failing) == set(cause.failing) and order(cause) < order(effect)
    return worse > 0 and set(effect.failing) <= set(cause.failing)


def _is_same_anomaly(cause: Incident, effect: Incident) -> bool:
    """Whether the effect is the anomaly `cause` in what is made of it; the detector that broke on both is one, too."""
    if effect.key.check != ANOMALY or cause.kind is not effect.kind or layer(cause) >= layer(effect):
        return False
    return _makes(cause, effect) and _is_episode(cause, effect)


def _explains(cause: Incident, anomaly: Incident) -> bool:
    """Whether what is known to be wrong explains the anomaly; a finding only one that is no worse than itself."""
    if Kind.BROKEN_CHECK in {cause.kind, anomaly.kind}:
        return False
    if cause.kind is Kind.FINDING and RANK[cause.found] < RANK[anomaly.found]:
        return False
    if layer(cause) == layer(anomaly):
        same = (cause.key.dataset, cause.key.scope) == (anomaly.key.dataset, anomaly.key.scope)
        return same and cause.kind in {Kind.FINDING, Kind.DRIFT, Kind.RECEIPT} and _is_episode(cause, anomaly)
    if layer(cause) > layer(anomaly) or not _makes(cause, anomaly):
        return False
    return _overlaps(cause, anomaly) if "" in cause.failing else _is_episode(cause, anomaly)


def _is_episode(cause: Incident, effect: Incident) -> bool:
    """Whether they share a window, and the last of the effect is not long after one of the cause: else it is another.

    What stays open for long would swallow for months what is only of the same scope.
    """
    if not _share(cause, effect):
        return False
    last = date.fromisoformat(effect.failing[-1]).toordinal()
    return any(0 <= last - date.fromisoformat(window).toordinal() <= EPISODE for window in cause.failing)


def _overlaps(cause: Incident, effect: Incident) -> bool:
    """Whether the windows of the one may be wrong because those of the other are.

    What is not about windows is about those from the day on which it opened, and about what was recorded since.
    """
    if "" in cause.failing:
        opened = cause.openings[-1] if cause.openings else datetime.max.replace(tzinfo=UTC)
        if any(effect.marks[window].at >= opened - BEFORE for window in effect.failing):
            return True
        return any(window >= opened.date().isoformat() for window in effect.failing)
    if "" in effect.failing:
        return False
    if effect.key.dataset not in _LINKED:
        return _share(cause, effect)
    starts = [date.fromisoformat(window).toordinal() for window in cause.failing]
    for window in effect.failing:
        day = date.fromisoformat(window).toordinal()
        at = bisect_right(starts, day)
        if at and day - starts[at - 1] <= REACH:
            return True
    return False


def _share(one: Incident, other: Incident) -> bool:
    return bool(set(one.failing) & set(other.failing))


def _reasons(incident: Incident) -> set[str]:
    """What the receipts say, as far as it is remembered."""
    said = {mark.said.facts.observed for window in incident.failing if (mark := incident.marks[window]).said}
    return said or {incident.facts.observed}


def _belongs(incident: Incident) -> set[str]:
    """Of what it is: of its scopes, of a unit of a source, of a watched collection."""
    names = {f"scope {scope}" for scope in incident.scopes}
    if incident.key.dataset == catalog.SWEEP:
        return {*names, f"unit {incident.key.scope}"}
    if incident.key.dataset == impact.TASKS:
        return {*names, f"{'dataset' if _family(incident) == impact.WATCH else 'unit'} {_place(incident)}"}
    # trouble of one repository is told of its service and its team, too: that is no reason to be an effect of another's
    own = f"scope {incident.key.scope}"
    return {*({own} if own in names else names), f"dataset {incident.key.dataset}"}


def _covers(incident: Incident) -> set[str]:
    """Of what its effects are: a collection that cannot be read covers all scopes of it, whatever they are."""
    names = _belongs(incident) | {f"scope {scope}" for scope in incident.scopes}
    if incident.key.dataset in {catalog.SWEEP, impact.TASKS} or incident.key.check == _SWEEP:
        return names
    return {name for name in names if name.startswith("scope ")}


def _unit(incident: Incident) -> str:
    return incident.key.scope if incident.key.dataset == catalog.SWEEP else _place(incident)


def _family(incident: Incident) -> str:
    return incident.key.scope.split(" ", 1)[0]


def _place(incident: Incident) -> str:
    return incident.key.scope.partition(" ")[2]
