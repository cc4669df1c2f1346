"""Commits that the default branch reaches, in the shape of the `git` source, and the reverts among them.

A list of commits is pinned to the sha of the branch's tip, so its pages never shift. What has entered since, however
old it is, and what has left, is what GitHub's comparison of the old tip with the new one lists, with its total.
"""

import zlib
from collections.abc import Generator, Iterator, Mapping
from typing import Any, Final

from tasks.sources.contract import Item, Rejected
from tasks.sources.github import payloads
from tasks.sources.github.paging import turn
from tasks.sources.github.payloads import moment
from tasks.sources.github.visit import Mark, Part, Reading, State, Visit, epoch, iso
from tasks.sources.http import Answer, HttpError, Reason

_EMPTY: Final = 409
"""What an empty repository answers."""
_MOST_GONE: Final = 200_000
_LOST: Final = (
    "the branch was rewritten, and GitHub no longer has its old tip: commits that left it are still counted; "
    "drop this origin's items and cursor to read it anew"
)


def read(visit: Visit, state: State) -> Reading:
    """What entered the branch since the last time, and tombstones of what left it."""
    memory = _Memory(visit, state)
    begun = state.get("partial")
    try:
        first = visit.probe("commits", {"per_page": 1}, None if begun else state.get("etag"))
    except HttpError as error:
        if error.status != _EMPTY:
            raise
        visit.trace.forgive(_EMPTY)
        visit.trace.complete = True
        return {
            **memory.kept(), "until": max(visit.until, state.get("until", 0)), "head": state.get("head"),
            "former": state.get("former"),
        }  # fmt: skip
    until = max(visit.until, state.get("until", 0))
    if first is None:
        return {**state, "until": until}
    head = _tip(first)
    old, former = state.get("head"), state.get("former")
    if begun and _is_there(visit, begun["head"]):
        yield from _all(visit, memory, state, begun)
        old = begun["head"]
        yield Mark({**memory.kept(), "until": begun["until"], "head": old, "former": former})
        visit.begin_again()
    if head is None or head == old:
        visit.trace.complete = True
    elif old is not None and _is_there(visit, old):
        if (yield from _between(visit, memory, old, head)):
            former = former or old
            yield from _all(visit, memory, {**state, "former": former}, {"head": head, "page": 1, "until": until})
    else:
        if old is not None:
            memory.lost = visit.problem = _LOST
        yield from _all(visit, memory, state, {"head": head, "page": 1, "until": until})
    if former is not None and former != head and visit.trace.complete:
        visit.begin_again()
        yield from _left(visit, memory, former, head)
    return {**memory.kept(), "until": until, "etag": first.etag, "head": head or old}


class _Memory:
    """What has left the branch, abridged; and how many sweeps there were, to tell times apart."""

    def __init__(self, visit: Visit, state: State) -> None:
        gone = zlib.decompress(state["gone"]) if state.get("gone") else b""
        self.gone = {gone[at : at + 8] for at in range(0, len(gone), 8)}
        self.sweeps = int(state.get("sweeps", 0)) + 1
        self.visit = visit
        self.lost = visit.problem = state.get("lost")

    def kept(self) -> State:
        gone = b"".join(sorted(self.gone)[:_MOST_GONE])
        return {"gone": zlib.compress(gone), "sweeps": self.sweeps, "lost": self.lost}


def _all(visit: Visit, memory: _Memory, state: State, begun: State) -> Iterator[Part]:
    """All that a tip reaches since the beginning; goes on with the page that is begun."""
    params = {"sha": begun["head"], "since": iso(epoch(visit.since))}
    for page in turn(visit, "commits", params, number=begun["page"]):
        _note(visit, page.records)
        yield from _arrivals(visit, memory, page.records)
        if page.last:
            visit.trace.complete = True
        else:
            yield Mark({**state, **memory.kept(), "partial": {**begun, "page": page.number + 1}})


def _is_there(visit: Visit, sha: str) -> bool:
    """Whether GitHub still has a commit: it keeps what no branch reaches for a long time, not for ever."""
    return visit.find(f"git/commits/{sha}") is not None


def _tip(answer: Answer) -> str | None:
    """The sha that the branch stands at. Raises HttpError if the first commit has none."""
    records = answer.records()
    if not records:
        return None
    try:
        return str(records[0]["sha"])
    except (KeyError, TypeError):
        raise HttpError(
            f"{answer.place}: answered with a commit without sha: check base_url",
            reason=Reason.CONTENT, status=answer.status, place=answer.place, said="a commit without sha",
            content="a commit without sha",
        ) from None  # fmt: skip


def _between(visit: Visit, memory: _Memory, old: str, head: str) -> Generator[Part, None, bool]:
    """What entered and what left; returns whether the two have nothing in common, so that no comparison tells."""
    try:
        behind = yield from _compared(visit, memory, old, head, gone=False)
    except HttpError as error:
        if not _are_unrelated(visit, error, old, head):
            raise
        return True
    if behind:
        visit.begin_again()
        yield from _compared(visit, memory, head, old, gone=True)
    return False


def _left(visit: Visit, memory: _Memory, former: str, head: str | None) -> Iterator[Part]:
    """What a tip of old reaches and the present one does not."""
    if not _is_there(visit, former):
        memory.lost = visit.problem = _LOST
        visit.trace.complete = True
        return
    if head is not None:
        try:
            yield from _compared(visit, memory, head, former, gone=True)
        except HttpError as error:
            if not _are_unrelated(visit, error, former, head):
                raise
        else:
            return
    for page in turn(visit, "commits", {"sha": former, "since": iso(epoch(visit.since))}):
        _note(visit, page.records)
        yield from _departures(visit, memory, page.records)
        visit.trace.complete = page.last


def _are_unrelated(visit: Visit, error: HttpError, one: str, other: str) -> bool:
    """Whether a comparison found nothing because the two commits, which are there, have no common ancestor."""
    if error.reason is not Reason.GONE or error.status is None or visit.trace.pages_fetched:
        return False
    visit.trace.forgive(error.status)
    return _is_there(visit, one) and _is_there(visit, other)


def _compared(visit: Visit, memory: _Memory, base: str, head: str, *, gone: bool) -> Generator[Part, None, int]:
    """What `head` reaches and `base` does not; returns by how many commits `base` is ahead of it."""
    path = f"compare/{base}...{head}"
    behind = 0
    for page in turn(visit, path, {}, key="commits"):
        _note(visit, page.records)
        yield from (_departures if gone else _arrivals)(visit, memory, page.records)
        visit.trace.total_advertised, behind = _count(page.answer, "total_commits"), _count(page.answer, "behind_by")
        visit.trace.complete = page.last
    return behind


def _count(answer: Answer, name: str) -> int:
    value = answer.content.get(name)
    return value if isinstance(value, int) else -1


def _note(visit: Visit, records: list[Any]) -> None:
    visit.listed(records, (str(one["sha"]) for one in records if isinstance(one, dict) and "sha" in one))


def _arrivals(visit: Visit, memory: _Memory, records: list[Any]) -> Iterator[Item | Rejected]:
    for record in records:
        try:
            when, payload = payloads.commit(visit.origin, record, visit.key)
            reverted = payloads.reverted_commits(record)
            short = bytes.fromhex(payload["sha"])[:8]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            yield visit.refuse(record, "a commit", error, id_=_sha(record))
            continue
        if when < visit.since:
            continue
        seen = {}
        if short in memory.gone:  # it is back: newer than its tombstone
            memory.gone.discard(short)
            when = payloads.observed(when, visit.now, memory.sweeps)
            seen = {"observed_ts": int(epoch(visit.now))}
        yield visit.item(payload["sha"], when, payload | seen)
        for sha in reverted:
            revert = {
                "type": "revert", "repo": visit.origin, "sha": payload["sha"], "commit_ts": payload["commit_ts"],
                "reverted_sha_raw": sha,
            }  # fmt: skip
            yield visit.item(f"{payload['sha']}:{sha}", when, revert | seen, stream="reverts")


def _sha(record: Any) -> str | None:
    sha = record.get("sha") if isinstance(record, Mapping) else None
    return sha if isinstance(sha, str) else None


def _departures(visit: Visit, memory: _Memory, records: list[Any]) -> Iterator[Item | Rejected]:
    for record in records:
        try:
            own = moment((record["commit"].get("committer") or record["commit"]["author"])["date"])
            sha = str(record["sha"])
            reverts = payloads.reverted_commits(record)
            short = bytes.fromhex(sha)[:8]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            yield visit.refuse(record, "a commit", error, id_=_sha(record))
            continue
        if own < visit.since:
            continue
        memory.gone.add(short)
        when = payloads.observed(own, visit.now, memory.sweeps)
        more = {"repo": visit.origin, "sha": sha, "observed_ts": int(epoch(visit.now)), "deleted": True}
        yield visit.item(sha, when, {"type": "commit", **more}, deleted=True)
        for reverted in reverts:
            payload = {"type": "revert", **more, "reverted_sha_raw": reverted}
            yield visit.item(f"{sha}:{reverted}", when, payload, stream="reverts", deleted=True)
