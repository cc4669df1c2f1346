"""What GitHub answers becomes payloads. Pure.

Dropped everywhere: keys that end in `_url` but for `html_url`, `_links`, `node_id`, `gravatar_id`, `avatar`. Of the
repository objects within pull requests and runs only id, full_name and default_branch are kept. Of a pull request's
commits sha, times and the first 200 characters of the first line of the message are kept; of reviews id, state,
submitted_at, commit_id and user; "commits_cut" says that there are more commits than could be listed. Commits and tags
have the shape of those of the `git` source. People are hidden.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from tasks.sources.contract import LATEST, instant
from tasks.sources.git_commands import ADDRESS, ADDRESS_REMOVED
from tasks.sources.git_payloads import SUBJECT_LENGTH, pseudonym
from tasks.sources.people import hidden

Record: TypeAlias = Mapping[str, Any]
"""An object as GitHub gives it."""

VERSION: Final = 1
"""Raise it when payloads change: everything is then fetched again."""
PENDING: Final = frozenset({"", "pending", "queued", "in_progress", "waiting"})
"""States of a deployment that are to be looked at again; "" if it has none."""

_DROPPED: Final = frozenset({"_links", "node_id", "gravatar_id", "avatar"})
_REPOSITORIES: Final = frozenset({"repo", "repository", "head_repository"})
_OF_REPOSITORY: Final = ("id", "full_name", "default_branch")
_OF_REVIEW: Final = ("id", "state", "submitted_at", "commit_id", "user")
_MESSAGE_LENGTH: Final = 200
_REVERTED_COMMIT: Final = re.compile(r"This reverts commit\s+([0-9a-f]{7,40})(?![0-9a-f])")
_REVERTED_PULL: Final = re.compile(r"\bReverts\s+(?:([\w.-]+/[\w.-]+))?#([0-9]{1,9})\b", re.IGNORECASE)
_REVERT_BRANCH: Final = re.compile(r"^revert-([0-9]{1,9})-")


def moment(text: Any) -> datetime:
    """A time as GitHub tells it. Raises ValueError or TypeError if it is none."""
    date = datetime.fromisoformat(text)
    if date.tzinfo is None:
        raise ValueError("a time without its zone")
    return date.astimezone(UTC)


def latest(*texts: Any) -> datetime:
    """The newest of the times that are there. Raises ValueError or TypeError if there is none, or one is no time."""
    return max(moment(text) for text in texts if text is not None)


def stripped(value: Any) -> Any:
    """Without what is dropped."""
    if isinstance(value, Mapping):
        return {
            key: _repository(one) if key in _REPOSITORIES and isinstance(one, Mapping) else stripped(one)
            for key, one in value.items()
            if key not in _DROPPED and (not key.endswith("_url") or key == "html_url")
        }
    return [stripped(one) for one in value] if isinstance(value, list) else value


def raw(value: Any, key: bytes | None) -> Any:
    """As it came, without what is dropped and without people."""
    return hidden(stripped(value), key)


def pull(
    record: Record, commits: Iterable[Record], reviews: Iterable[Record], key: bytes | None, *, cut: bool = False
) -> dict[str, Any]:
    """The payload of a pull request. cut: it has more commits than are listed."""
    return {
        "pull": raw(record, key),
        "commits": [_pull_commit(one) for one in commits],
        "reviews": [hidden({name: one[name] for name in _OF_REVIEW if name in one}, key) for one in reviews],
        **({"commits_cut": True} if cut else {}),
    }


def deployment(record: Record, statuses: Sequence[Record], key: bytes | None) -> tuple[datetime, dict[str, Any]]:
    """When it took its state, and its payload: statuses newest first, which the API does not promise."""
    ordered = sorted(statuses, key=lambda one: (moment(one["created_at"]), one["id"]), reverse=True)
    when = latest(record["created_at"], record.get("updated_at"), *(one["created_at"] for one in ordered))
    return when, {"deployment": raw(record, key), "statuses": [raw(one, key) for one in ordered]}


def is_pending(payload: Mapping[str, Any]) -> bool:
    """Whether a deployment has not come to its end."""
    statuses = payload["statuses"]
    return (str(statuses[0].get("state")) if statuses else "") in PENDING


def commit(origin: str, record: Record, key: bytes | None) -> tuple[datetime, dict[str, Any]]:
    """The time of its committer, and its payload as of the `git` source."""
    inner = record["commit"]
    author, committer = _signatures(inner)
    when = moment(committer["date"])
    email = str(author.get("email") or "")
    subject = ADDRESS.sub(ADDRESS_REMOVED, str(inner["message"]).partition("\n")[0])
    return when, {
        "type": "commit",
        "repo": origin,
        "sha": record["sha"],
        "parents": [parent["sha"] for parent in record["parents"]],
        "author_ts": int(moment(author["date"]).timestamp()),
        "author_tz": "+0000",
        "commit_ts": int(when.timestamp()),
        "commit_tz": "+0000",
        "author": email if key is None else pseudonym(email.encode("utf-8", "replace"), key),
        "subject": subject[:SUBJECT_LENGTH],
    }


def reverted_commits(record: Record) -> list[str]:
    """The distinct shas that the message of a commit says it reverts, in order."""
    return list(dict.fromkeys(_REVERTED_COMMIT.findall(str(record["commit"]["message"]))))


def reverted_pulls(record: Record, names: Iterable[str]) -> list[int]:
    """The pull requests of this repository (called so by any of `names`) that a merged one reverts, in order."""
    if not record.get("merged_at"):
        return []
    own = {name.lower() for name in names}
    found = _REVERTED_PULL.findall(str(record.get("body") or ""))
    numbers = [int(number) for name, number in found if not name or name.lower() in own]
    head = record.get("head")
    if not found and isinstance(head, Mapping) and (branch := _REVERT_BRANCH.match(str(head.get("ref") or ""))):
        numbers.append(int(branch[1]))
    return [number for number in dict.fromkeys(numbers) if number != record["number"]]


def pull_revert(origin: str, record: Record, reverted: int) -> dict[str, Any]:
    """The payload of a revert by a merged pull request."""
    return {
        "type": "pull_revert",
        "repo": origin,
        "number": record["number"],
        "reverts": reverted,
        "merged_ts": int(moment(record["merged_at"]).timestamp()),
        "merge_sha": record.get("merge_commit_sha"),
    }


def tag(  # noqa: PLR0913 - what makes a tag
    origin: str, name: str, target: str, when: datetime, *, annotated: bool, tagger: bool
) -> dict[str, Any]:
    """The payload of a tag, as of the `git` source."""
    return {
        "type": "tag",
        "repo": origin,
        "name": name,
        "target": target,
        "annotated": annotated,
        "tag_ts": int(when.timestamp()),
        "tag_tz": "+0000",
        "tag_time_source": "tagger" if tagger else "target_committer",
    }


def observed(own: datetime, now: datetime, sweeps: int) -> datetime:
    """The time of what was noticed by comparison: later than that of every version before, even if that lies ahead."""
    try:
        return max(now, own + timedelta(milliseconds=sweeps + 1))
    except OverflowError:
        return LATEST.replace(microsecond=999_000)


def instant_after(seconds: int) -> datetime:
    """The second after."""
    return instant(seconds + 1)


def fingerprint(payload: Mapping[str, Any]) -> int:
    """The same 48 bits for the same payload."""
    text = json.dumps(payload, sort_keys=True, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=6).digest())


def _signatures(commit: Record) -> tuple[Record, Record]:
    """Author and committer; GitHub leaves out one that git could not read."""
    author, committer = commit.get("author"), commit.get("committer")
    return author or committer or {}, committer or author or {}


def _repository(value: Record) -> dict[str, Any]:
    return {name: value[name] for name in _OF_REPOSITORY if name in value}


def _pull_commit(record: Record) -> dict[str, Any]:
    inner = record["commit"]
    author, committer = _signatures(inner)
    return {
        "sha": record["sha"],
        "author_ts": int(moment(author["date"]).timestamp()),
        "commit_ts": int(moment(committer["date"]).timestamp()),
        "message": str(inner["message"]).partition("\n")[0][:_MESSAGE_LENGTH],
    }
