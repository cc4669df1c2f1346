"""The entities of a link scope, as links are made from them. Pure. Times are epoch seconds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class Change(NamedTuple):
    """A commit."""

    id: str
    parents: Sequence[str]
    authored_ts: int
    committed_ts: int = 0


class Pull(NamedTuple):
    """A merged pull request."""

    id: str
    number: int
    merge_sha: str
    authored_ts: int
    merged_ts: int
    commits: Sequence[str] = ()


class Deployment(NamedTuple):
    """One that reached production and succeeded, e.g. a tag on a commit."""

    id: str
    target: str
    deployed_ts: int
    started_ts: int | None = None
    """When it began; None: with `deployed_ts`, its end."""
    environment: str = ""
    commits: Sequence[str] = ()
    """Of the change sets since the successful one before it, where the source tells them."""
    origin: str = ""
    """Where it was done, if that is not the repository itself."""
    name: str = ""
    url: str = ""

    @property
    def began_ts(self) -> int:
        """When it began."""
        return self.deployed_ts if self.started_ts is None else self.started_ts


class Failure(NamedTuple):
    """A revert; `reverted` is a sha or a prefix of one."""

    reverted_by: str
    reverted: str
    reverted_ts: int


class PullRevert(NamedTuple):
    """A pull request that reverts another one."""

    reverted_by: str
    """The sha of its merge."""
    reverted_pull: int
    reverted_ts: int


class Incident(NamedTuple):
    """An issue that says that something failed in production."""

    id: str
    key: str
    origin: str
    started_ts: int
    resolved_ts: int | None = None
    deployment: str | None = None
    """What it names as the deployment that failed."""


@dataclass(frozen=True, slots=True)
class History:
    """All entities of one repository."""

    changes: Sequence[Change]
    deployments: Sequence[Deployment]
    failures: Sequence[Failure]
    gaps: Sequence[int] = ()
    """When deployments may be missing: the ends of days of which not all could be read."""
    pulls: Sequence[Pull] | None = None
    """None: commits are what is delivered."""
    pull_reverts: Sequence[PullRevert] = ()
    name: str | None = None
    """Of the repository, where the scope has others."""


def compact(changes: Iterable[Mapping[str, Any]]) -> list[Change]:
    """Silver rows as changes, with each sha held once in memory however often it is a parent."""
    known: dict[str, str] = {}

    def one(sha: str) -> str:
        return known.setdefault(sha, sha)

    return [
        Change(one(row["id"]), tuple(map(one, row["parents"])), row["authored_ts"], row["committed_ts"])
        for row in changes
    ]
