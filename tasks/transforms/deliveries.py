"""Which deployment delivered a change first, which deployments failed, and when they were mended. Pure.

The rules, each exactly as stated:

* Deployments of a repository are in order of (time, name bytewise). A change is delivered by the first one in that
  order that has it. One whose commit is known has what is an ancestor of it, or is it (`git tag --contains`): the rule
  "contains". Where no commit says what was deployed, one has what its change sets list, with the ancestors that are
  known: "commits"; where its line (the deployments to one environment) lists none, what was merged before it began:
  "merged_before". Lead time = the deployment's time - the author time.
* A pull request is delivered with its merge, and was written when the first of its commits was.
* A deployment i failed if a change c that it delivered is reverted by r, the revert's time is not before i's, and r was
  not itself delivered by i or an earlier deployment. `before_next`: the revert came before the next deployment of the
  line (no bound for the last one). `ever`: no bound.
* A failed deployment is recovered by the first deployment that delivers r; that one is rework.

A revert names the commit by its sha or a prefix of at least 7 digits, which counts if exactly one commit has it.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, NamedTuple

from tasks.transforms import reverts
from tasks.transforms.history import Change, Deployment, Failure, History, compact

SECONDS_PER_DAY = 86_400
FIRST_TS = 315_532_800
"""1980: a change that was written earlier, by its author's clock, says nothing about how long it took."""

CONTAINS: Final = "contains"
COMMITS: Final = "commits"
MERGED_BEFORE: Final = "merged_before"

BLANK: Final[Mapping[str, Any]] = dict.fromkeys(
    ("known", "whole", "failed_before_next", "failed_ever", "rework", "change", "lead_seconds", "reverted_by", "rule",
     "recovered_by", "recovery_seconds", "repository", "incident", "restore_seconds")
)  # fmt: skip
"""What rows of some kinds do not have; for those who look at all kinds together."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of one repository's deployments."""

    deployments: Sequence[Deployment]
    """In order."""
    rows: Sequence[Row]
    """One for each deployment, of the kind "deployment"."""
    links: Sequence[tuple[int, Row]]
    """Of the kinds "change" and "failure", with the number of the deployment that each is of."""


class _Unit(NamedTuple):
    """What counts as a change, and the number of the first deployment that has it."""

    id: str
    authored_ts: int
    merged_ts: int
    first: int | None
    rule: str


def deliver(history: History) -> dict[int, list[Row]]:
    """The rows of one repository; see `by_day`."""
    return by_day([delivered(history)])


def by_day(made: Iterable[Delivered], more: Iterable[tuple[int, Row]] = ()) -> dict[int, list[Row]]:
    """The rows of each day that has deployments, by days since 1970, in an order that depends on content only.

    more: further rows, with the time of the deployment that each is of.
    """
    rows: dict[int, list[Row]] = defaultdict(list)
    for one in made:
        days = [deployment.deployed_ts // SECONDS_PER_DAY for deployment in one.deployments]
        for day, row in zip(days, one.rows, strict=True):
            rows[day].append(row)
        for number, row in one.links:
            rows[days[number]].append(row)
    for at, row in more:
        rows[at // SECONDS_PER_DAY].append(row)
    for of_day in rows.values():
        of_day.sort(key=_order)
    return dict(rows)


def _order(row: Row) -> tuple[Any, ...]:
    of = row.get
    said = (row["kind"], row["deployment"], of("change", ""), of("reverted_by", ""))
    if "repository" not in row and "issue" not in row:
        return said
    return (*said, of("repository", ""), of("origin", ""), of("tracker", ""), of("issue", ""))


def delivered(history: History) -> Delivered:
    """Three kinds of rows: "deployment", "change" (delivered), "failure" (a failed deployment and its revert)."""
    index = {change.id: number for number, change in enumerate(history.changes)}
    deployments = sorted(history.deployments, key=lambda one: (one.deployed_ts, one.id.encode("utf-8", "replace")))
    blind = not index and history.pulls is not None
    """Pull requests alone, of a repository whose commits nobody fetches."""
    starts = [None if blind else _starts(deployment, index) for deployment in deployments]
    first, whole = _first_deployments(history.changes, index, starts)
    units = list(_units(history, index, deployments, first, starts))
    _doubt(history, deployments, units, whole)
    for _, authored_ts, _, number, _ in units:
        if number is not None and authored_ts < FIRST_TS:
            whole[number] = False
    by_pull = {unit.id: unit.first for unit in units if unit.first is not None} if history.pulls is not None else {}
    pairs = reverts.pairs(history, index, deployments, first, by_pull)
    failed_ever = {pair.failed for pair in pairs}
    failed_before_next = {pair.failed for pair in pairs if pair.before_next}
    rework = {pair.recovered_by for pair in pairs}
    of = {} if history.name is None else {"repository": history.name}

    rows = [
        {
            "kind": "deployment",
            "deployment": deployment.id,
            "deployed_ts": deployment.deployed_ts,
            "known": None if blind or not deployment.target else deployment.target in index,
            "whole": whole[number],
            "failed_before_next": number in failed_before_next,
            "failed_ever": number in failed_ever,
            "rework": number in rework,
            **of,
            **_origin(deployment),
            **({"environment": deployment.environment} if deployment.environment else {}),
        }
        for number, deployment in enumerate(deployments)
    ]
    links: list[tuple[int, Row]] = []
    for name, authored_ts, _, number, rule in units:
        if number is not None:
            deployment = deployments[number]
            row = {
                "kind": "change",
                "deployment": deployment.id,
                "change": name,
                "lead_seconds": deployment.deployed_ts - authored_ts,
                "rule": rule,
            }
            links.append((number, row | of | _origin(deployment) if of else row))
    links += [(pair.failed, _failure(pair, deployments) | of | _origin(deployments[pair.failed])) for pair in pairs]
    return Delivered(deployments, rows, links)


def _origin(deployment: Deployment) -> Row:
    """Whose entity it is, where that is not the scope itself."""
    return {"origin": deployment.origin} if deployment.origin else {}


def _failure(pair: reverts.Pair, deployments: Sequence[Deployment]) -> Row:
    failed = deployments[pair.failed]
    recovered = None if pair.recovered_by is None else deployments[pair.recovered_by]
    return {
        "kind": "failure",
        "deployment": failed.id,
        "change": pair.change,
        "reverted_by": pair.reverted_by,
        "rule": "revert_before_next" if pair.before_next else "revert_ever",
        "recovered_by": recovered and recovered.id,
        "recovery_seconds": None if recovered is None else recovered.deployed_ts - failed.deployed_ts,
    }


def _starts(deployment: Deployment, index: Mapping[str, int]) -> Sequence[str] | None:
    """The commits whose ancestors it has; None where the commits tell nothing of it."""
    if deployment.target:
        return (deployment.target,)
    return tuple(sha for sha in deployment.commits if sha in index) or None


def _first_deployments(
    changes: Sequence[Change], index: Mapping[str, int], starts: Sequence[Sequence[str] | None]
) -> tuple[list[int | None], list[bool]]:
    """For each change the number of its first deployment; for each deployment whether all behind it is known.

    Each change is visited once: what an earlier deployment reached, it also has all ancestors of.
    """
    first: list[int | None] = [None] * len(changes)
    whole = [True] * len(starts)
    for number, start in enumerate(starts):
        pending = list(start or ())
        while pending:
            at = index.get(pending.pop())
            if at is None:
                whole[number] = False
            elif first[at] is None:
                first[at] = number
                pending.extend(changes[at].parents)
    return first, whole


def _units(
    history: History,
    index: Mapping[str, int],
    deployments: Sequence[Deployment],
    first: Sequence[int | None],
    starts: Sequence[Sequence[str] | None],
) -> Iterator[_Unit]:
    told = [CONTAINS if deployment.target else COMMITS for deployment in deployments]
    beside = _Beside(deployments, starts)
    if history.pulls is None:
        for (name, _, authored_ts, committed_ts), number in zip(history.changes, first, strict=True):
            unit = _Unit(name, authored_ts, committed_ts, number, CONTAINS if number is None else told[number])
            yield beside.earlier(unit, ()) if beside.numbers else unit
        return
    for pull in history.pulls:
        at = index.get(pull.merge_sha)
        number = None if at is None else first[at]
        rule = CONTAINS if number is None else told[number]
        unit = _Unit(pull.id, pull.authored_ts, pull.merged_ts, number, rule)
        yield beside.earlier(unit, (pull.merge_sha, *pull.commits))


class _Beside:
    """The deployments of which the commits tell nothing: by their change sets, or by time."""

    def __init__(self, deployments: Sequence[Deployment], starts: Sequence[Sequence[str] | None]) -> None:
        self.numbers = [number for number, start in enumerate(starts) if start is None]
        listing = {deployments[n].environment for n in self.numbers if deployments[n].commits or deployments[n].target}
        listed = [n for n in self.numbers if deployments[n].environment in listing]
        self._by_sha: dict[str, int] = {}
        for number in listed:
            for sha in (deployments[number].target, *deployments[number].commits):
                self._by_sha.setdefault(sha, number)
        self._by_sha.pop("", None)
        self._timed = [n for n in self.numbers if deployments[n].environment not in listing]
        self._latest = list(accumulate((deployments[n].began_ts for n in self._timed), max))

    def earlier(self, unit: _Unit, shas: Sequence[str]) -> _Unit:
        """`unit`, delivered by one of these if that was first."""
        found = [(number, COMMITS) for sha in (unit.id, *shas) if (number := self._by_sha.get(sha)) is not None]
        at = bisect_left(self._latest, unit.merged_ts)
        if at < len(self._timed):
            found.append((self._timed[at], MERGED_BEFORE))
        if not found or (unit.first is not None and unit.first <= min(found)[0]):
            return unit
        return unit._replace(first=min(found)[0], rule=min(found)[1])


def _doubt(history: History, deployments: Sequence[Deployment], units: Sequence[_Unit], whole: list[bool]) -> None:
    """Take back `whole` where a deployment may only seem to be the first to deliver a change.

    A deployment that is missing, or one whose history has a hole, leaves changes to later ones that are not theirs.
    Such a change is older than the gap, so a later deployment is in doubt if it delivers one that is.
    """
    torn = [deployment.deployed_ts for deployment, known in zip(deployments, whole, strict=True) if not known]
    gaps = sorted([*history.gaps, *torn])
    if not gaps:
        return
    oldest: dict[int, int] = {}
    for unit in units:
        if unit.first is not None:
            oldest[unit.first] = min(unit.merged_ts, oldest.get(unit.first, unit.merged_ts))
    for number, merged in oldest.items():
        before = bisect_left(gaps, deployments[number].deployed_ts)
        if before and merged < gaps[before - 1]:
            whole[number] = False


__all__ = [
    "BLANK", "COMMITS", "CONTAINS", "MERGED_BEFORE", "Change", "Delivered", "Deployment", "Failure", "History",
    "by_day", "compact", "deliver", "delivered",
]  # fmt: skip
