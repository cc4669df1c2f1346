"""Which deployments failed because what they delivered was reverted, and which ones mended that. Pure."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tasks.transforms.history import Deployment, History

FULL_SHA = 40
SHORTEST_PREFIX = 7


class Pair(NamedTuple):
    """A failed deployment, by number, and the revert that says so."""

    failed: int
    change: str
    reverted_by: str
    before_next: bool
    recovered_by: int | None


def pairs(
    history: History,
    index: Mapping[str, int],
    deployments: Sequence[Deployment],
    first: Sequence[int | None],
    by_pull: Mapping[str, int],
) -> list[Pair]:
    """All of them.

    index: number of each commit; first: number of the first deployment of each; by_pull: that of each pull request.
    """
    next_of = _next_in_line(deployments)
    shas = sorted(index) if any(len(failure.reverted) < FULL_SHA for failure in history.failures) else []
    found = set()
    for failure in history.failures:
        reverting, reverted = index.get(failure.reverted_by), resolve(failure.reverted, index, shas)
        if reverting is None or reverted is None:
            continue
        failed, recovered = first[reverted], first[reverting]
        if pair := _pair(deployments, next_of, failed, recovered, failure.reverted_ts):
            change, by = history.changes[reverted].id, history.changes[reverting].id
            found.add(pair._replace(change=change, reverted_by=by))
    said = {(pair.failed, pair.recovered_by) for pair in found}
    pulls = {pull.number: pull.id for pull in history.pulls or ()}
    merges = {pull.merge_sha: pull.id for pull in history.pulls or ()}
    for revert in history.pull_reverts:
        name = pulls.get(revert.reverted_pull)
        failed = None if name is None else by_pull.get(name)
        at = index.get(revert.reverted_by)
        recovered = first[at] if at is not None else by_pull.get(merges.get(revert.reverted_by, ""))
        pair = _pair(deployments, next_of, failed, recovered, revert.reverted_ts)
        if pair and name and (pair.failed, pair.recovered_by) not in said:  # else its commits have said so
            found.add(pair._replace(change=name, reverted_by=revert.reverted_by))
    return sorted(found, key=lambda pair: (pair.failed, pair.change, pair.reverted_by))


def _pair(
    deployments: Sequence[Deployment],
    next_of: Sequence[int | None],
    failed: int | None,
    recovered: int | None,
    reverted_ts: int,
) -> Pair | None:
    if failed is None or reverted_ts < deployments[failed].deployed_ts:
        return None
    if recovered is not None and recovered <= failed:
        return None
    after = next_of[failed]
    before_next = after is None or reverted_ts < deployments[after].deployed_ts
    return Pair(failed, "", "", before_next, recovered)


def _next_in_line(deployments: Sequence[Deployment]) -> list[int | None]:
    """For each deployment the next one to the same environment."""
    found: list[int | None] = [None] * len(deployments)
    last: dict[str, int] = {}
    for number, deployment in enumerate(deployments):
        if (before := last.get(deployment.environment)) is not None:
            found[before] = number
        last[deployment.environment] = number
    return found


def resolve(text: str, index: Mapping[str, int], shas: Sequence[str]) -> int | None:
    """The number of the commit that `text`, a sha or a prefix of one, names; shas: all in order, for prefixes."""
    if len(text) >= FULL_SHA:
        return index.get(text)
    if len(text) < SHORTEST_PREFIX:
        return None
    at = bisect_left(shas, text)
    matches = [sha for sha in shas[at : at + 2] if sha.startswith(text)]
    return index[matches[0]] if len(matches) == 1 else None
