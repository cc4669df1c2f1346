"""Which deployment delivered a change first, which deployments failed, and when they were mended. Pure.

The rules for git-derived data, each exactly as stated:

* Deployments are in order of (time, name bytewise). A change is delivered by the first deployment in that order whose
  commit has it as ancestor or is it (`git tag --contains`). Lead time = the deployment's time - the author time.
* A deployment i failed if a change c that it delivered is reverted by r, the revert's time is not before i's, and r was
  not itself delivered by i or an earlier deployment. `before_next`: the revert came before deployment i+1 (no bound for
  the last one). `ever`: no bound.
* A failed deployment is recovered by the first deployment that delivers r; that one is rework.

A revert names the commit by its sha or a prefix of at least 7 digits, which counts if exactly one commit has it.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

SECONDS_PER_DAY = 86_400
FULL_SHA = 40
SHORTEST_PREFIX = 7
FIRST_TS = 315_532_800
"""1980: a change that was written earlier, by its author's clock, says nothing about how long it took."""


class Change(NamedTuple):
    """A commit; times in epoch seconds."""

    id: str
    parents: Sequence[str]
    authored_ts: int
    committed_ts: int = 0


class Deployment(NamedTuple):
    """A tag on a commit."""

    id: str
    target: str
    deployed_ts: int


class Failure(NamedTuple):
    """A revert; `reverted` is a sha or a prefix of one."""

    reverted_by: str
    reverted: str
    reverted_ts: int


@dataclass(frozen=True, slots=True)
class History:
    """All entities of one scope."""

    changes: Sequence[Change]
    deployments: Sequence[Deployment]
    failures: Sequence[Failure]
    gaps: Sequence[int] = ()
    """When deployments may be missing: the ends of days of which not all could be read, in epoch seconds."""


BLANK: Final[Mapping[str, Any]] = dict.fromkeys(
    ("known", "whole", "failed_before_next", "failed_ever", "rework", "change", "lead_seconds", "reverted_by", "rule",
     "recovered_by", "recovery_seconds")
)  # fmt: skip
"""What rows of some kinds do not have; for those who look at all kinds together."""


class _Pair(NamedTuple):
    failed: int
    change: int
    reverted_by: int
    before_next: bool
    recovered_by: int | None


def deliver(history: History) -> dict[int, list[dict[str, Any]]]:
    """The rows of each day that has deployments, by days since 1970, in an order that depends on content only.

    Three kinds of rows: "deployment", "change" (delivered), "failure" (a failed deployment and its revert).
    """
    index = {change.id: number for number, change in enumerate(history.changes)}
    deployments = sorted(history.deployments, key=lambda one: (one.deployed_ts, one.id.encode("utf-8", "replace")))
    first, whole = _first_deployments(history.changes, index, deployments)
    _doubt(history, deployments, first, whole)
    for change, number in zip(history.changes, first, strict=True):
        if number is not None and change.authored_ts < FIRST_TS:
            whole[number] = False
    pairs = _pairs(history, index, deployments, first)
    failed_ever = {pair.failed for pair in pairs}
    failed_before_next = {pair.failed for pair in pairs if pair.before_next}
    rework = {pair.recovered_by for pair in pairs}

    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for number, deployment in enumerate(deployments):
        rows[_day(deployment)].append(
            {
                "kind": "deployment",
                "deployment": deployment.id,
                "deployed_ts": deployment.deployed_ts,
                "known": deployment.target in index,
                "whole": whole[number],
                "failed_before_next": number in failed_before_next,
                "failed_ever": number in failed_ever,
                "rework": number in rework,
            }
        )
    for change, delivered_by in zip(history.changes, first, strict=True):
        if delivered_by is not None:
            deployment = deployments[delivered_by]
            rows[_day(deployment)].append(
                {
                    "kind": "change",
                    "deployment": deployment.id,
                    "change": change.id,
                    "lead_seconds": deployment.deployed_ts - change.authored_ts,
                }
            )
    for pair in pairs:
        failed = deployments[pair.failed]
        recovered = None if pair.recovered_by is None else deployments[pair.recovered_by]
        rows[_day(failed)].append(
            {
                "kind": "failure",
                "deployment": failed.id,
                "change": history.changes[pair.change].id,
                "reverted_by": history.changes[pair.reverted_by].id,
                "rule": "revert_before_next" if pair.before_next else "revert_ever",
                "recovered_by": recovered.id if recovered else None,
                "recovery_seconds": recovered.deployed_ts - failed.deployed_ts if recovered else None,
            }
        )
    for day in rows.values():
        day.sort(key=lambda row: (row["kind"], row["deployment"], row.get("change", ""), row.get("reverted_by", "")))
    return dict(rows)


def _day(deployment: Deployment) -> int:
    return deployment.deployed_ts // SECONDS_PER_DAY


def _first_deployments(
    changes: Sequence[Change], index: Mapping[str, int], deployments: Sequence[Deployment]
) -> tuple[list[int | None], list[bool]]:
    """For each change the number of its first deployment; for each deployment whether all behind it is known.

    Each change is visited once: what an earlier deployment reached, it also has all ancestors of.
    """
    first: list[int | None] = [None] * len(changes)
    whole = [True] * len(deployments)
    for number, deployment in enumerate(deployments):
        pending = [deployment.target]
        while pending:
            at = index.get(pending.pop())
            if at is None:
                whole[number] = False
            elif first[at] is None:
                first[at] = number
                pending.extend(changes[at].parents)
    return first, whole


def _doubt(history: History, deployments: Sequence[Deployment], first: Sequence[int | None], whole: list[bool]) -> None:
    """Take back `whole` where a deployment may only seem to be the first to deliver a change.

    A deployment that is missing, or one whose history has a hole, leaves changes to later ones that are not theirs.
    Such a change is older than the gap, so a later deployment is in doubt if it delivers one that is.
    """
    torn = [deployment.deployed_ts for deployment, known in zip(deployments, whole, strict=True) if not known]
    gaps = sorted([*history.gaps, *torn])
    if not gaps:
        return
    oldest: dict[int, int] = {}
    for change, number in zip(history.changes, first, strict=True):
        if number is not None:
            oldest[number] = min(change.committed_ts, oldest.get(number, change.committed_ts))
    for number, committed in oldest.items():
        before = bisect_left(gaps, deployments[number].deployed_ts)
        if before and committed < gaps[before - 1]:
            whole[number] = False


def _pairs(
    history: History, index: Mapping[str, int], deployments: Sequence[Deployment], first: Sequence[int | None]
) -> list[_Pair]:
    shas = sorted(index) if any(len(failure.reverted) < FULL_SHA for failure in history.failures) else []
    pairs = set()
    for failure in history.failures:
        reverting, reverted = index.get(failure.reverted_by), _resolve(failure.reverted, index, shas)
        if reverting is None or reverted is None:
            continue
        failed, recovered = first[reverted], first[reverting]
        if failed is None or failure.reverted_ts < deployments[failed].deployed_ts:
            continue
        if recovered is not None and recovered <= failed:
            continue
        is_last = failed == len(deployments) - 1
        before_next = is_last or failure.reverted_ts < deployments[failed + 1].deployed_ts
        pairs.add(_Pair(failed, reverted, reverting, before_next, recovered))
    return sorted(pairs, key=lambda pair: (pair.failed, pair.change, pair.reverted_by))


def _resolve(text: str, index: Mapping[str, int], shas: Sequence[str]) -> int | None:
    if len(text) >= FULL_SHA:
        return index.get(text)
    if len(text) < SHORTEST_PREFIX:
        return None
    at = bisect_left(shas, text)
    matches = [sha for sha in shas[at : at + 2] if sha.startswith(text)]
    return index[matches[0]] if len(matches) == 1 else None


def compact(changes: Iterable[Mapping[str, Any]]) -> list[Change]:
    """Silver rows as changes, with each sha held once in memory however often it is a parent."""
    known: dict[str, str] = {}

    def one(sha: str) -> str:
        return known.setdefault(sha, sha)

    return [
        Change(one(row["id"]), tuple(map(one, row["parents"])), row["authored_ts"], row["committed_ts"])
        for row in changes
    ]
