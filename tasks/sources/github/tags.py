"""Tags in the shape of the `git` source. All refs come in one list; what is new or was moved is asked for by itself.

A tag's object is named by the hash of its content, so it is asked for once and then known for good.
"""

import json
import zlib
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from tasks.sources.contract import Item, Rejected, instant
from tasks.sources.github import payloads
from tasks.sources.github.paging import Page, turn
from tasks.sources.github.payloads import moment
from tasks.sources.github.visit import Mark, Reading, State, Visit, epoch
from tasks.sources.http import HttpError

_PATH: Final = "git/matching-refs/tags"
_EMPTY: Final = 409
"""What an empty repository answers."""
_NESTED: Final = 5
"""Tags of tags are followed so far."""
_BETWEEN_MARKS: Final = 500


class _Ref(NamedTuple):
    name: str
    sha: str
    type: str


class _Tag(NamedTuple):
    """What a ref stands for."""

    ref: _Ref
    target: str
    when: datetime | None
    """None if it is a tag of no commit."""
    tagger: bool


def read(visit: Visit, state: State) -> Reading:
    """Tags that are new or were moved, and tombstones of those that are gone."""
    sweeps = int(state.get("sweeps", 0)) + 1
    known: dict[str, list[Any]] = _unpacked(state.get("tags"))
    try:
        first = visit.probe(_PATH, {"per_page": visit.size}, None if state.get("paged") else state.get("etag"))
    except HttpError as error:
        if error.status != _EMPTY:
            raise
        visit.trace.forgive(_EMPTY)
        visit.trace.complete = True
        return {"until": max(visit.until, state.get("until", 0)), "sweeps": sweeps}
    until = max(visit.until, state.get("until", 0))
    if first is None:
        return {**state, "until": until}
    refs: dict[str, _Ref] = {}
    for page in turn(visit, _PATH, {}, first=first):
        yield from _read_refs(visit, page, refs)
    unread = bool(state.get("unread"))
    moved = [ref for ref in refs.values() if unread or ref.name not in known or known[ref.name][0] != ref.sha]
    for done, tag in enumerate(visit.http.each(lambda ref: _tag(visit, ref), moved), 1):
        yield from _items(visit, known, tag, sweeps)
        if done % _BETWEEN_MARKS == 0:
            yield Mark({**state, "etag": None, "tags": _packed(known), "sweeps": sweeps})
    if visit.trace.complete:
        yield from _departures(visit, known, refs, sweeps)
        _compare(visit, refs)
    return {
        "until": until, "etag": first.etag, "paged": first.next is not None, "tags": _packed(known), "sweeps": sweeps,
    }  # fmt: skip


def _read_refs(visit: Visit, page: Page, refs: dict[str, _Ref]) -> Iterator[Rejected]:
    """Add the refs of a page; yield what is none."""
    names = []
    for record in page.records:
        try:
            ref = _Ref(
                record["ref"].removeprefix("refs/tags/"), str(record["object"]["sha"]), str(record["object"]["type"])
            )
        except (KeyError, TypeError, AttributeError) as error:
            yield visit.refuse(record, f"page {page.number}", error)
            continue
        names.append(ref.name)
        refs[ref.name] = ref
    visit.listed(page.records, names)
    visit.trace.complete = page.last


def _departures(visit: Visit, known: dict[str, list[Any]], present: Collection[str], sweeps: int) -> Iterator[Item]:
    for name, (sha, ahead) in sorted(known.items()):
        if name not in present and sha:
            if visit.find(f"git/ref/tags/{quote(name)}") is not None:
                visit.left_out(name)
                continue
            when = payloads.observed(instant(ahead), visit.now, sweeps)
            payload = {"type": "tag", "repo": visit.origin, "name": name, "deleted": True}
            known[name] = ["", ahead]
            yield visit.item(name, when, payload | {"observed_ts": int(epoch(visit.now))}, deleted=True)


def _compare(visit: Visit, refs: Collection[str]) -> None:
    """Hold the refs, which come in one list without total, against GitHub's other list of tags."""
    for answer in visit.http.pages(visit.path("tags"), {"per_page": 100}, trace=visit.trace):
        for record in answer.records():
            name = record.get("name") if isinstance(record, Mapping) else None
            if isinstance(name, str) and name not in refs:
                visit.left_out(name)


def _tag(visit: Visit, ref: _Ref) -> _Tag | Rejected:
    """In one of several threads."""
    sha, kind, tagged = ref.sha, ref.type, None
    try:
        for _ in range(_NESTED):
            if kind != "tag":
                break
            content = visit.get(f"git/tags/{sha}").content
            tagged = tagged or (content.get("tagger") or {}).get("date")
            sha, kind = str(content["object"]["sha"]), str(content["object"]["type"])
        if kind != "commit":
            return _Tag(ref, sha, None, tagger=False)
        if tagged:
            return _Tag(ref, sha, moment(tagged), tagger=True)
        content = visit.get(f"git/commits/{sha}").content
        return _Tag(ref, sha, moment(content["committer"]["date"]), tagger=False)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return visit.refuse(ref._asdict(), "", error, id_=ref.name)


def _items(visit: Visit, known: dict[str, list[Any]], tag: _Tag | Rejected, sweeps: int) -> Iterator[Item | Rejected]:
    if isinstance(tag, Rejected):
        yield tag
        return
    name, before = tag.ref.name, known.get(tag.ref.name)
    own = tag.when
    known[name] = [tag.ref.sha, max(int(epoch(own)) if own else 0, before[1] if before else 0)]
    if own is None or (own < visit.since and before is None):
        return
    payload = payloads.tag(visit.origin, name, tag.target, own, annotated=tag.ref.type == "tag", tagger=tag.tagger)
    if before is not None and before[0] != tag.ref.sha:  # it was moved, or came back
        own = payloads.observed(instant(known[name][1]), visit.now, sweeps)
        payload["observed_ts"] = int(epoch(visit.now))
    yield visit.item(name, own, payload)


def _packed(known: Mapping[str, list[Any]]) -> bytes:
    return zlib.compress(json.dumps(known, separators=(",", ":"), sort_keys=True).encode())


def _unpacked(packed: bytes | None) -> dict[str, list[Any]]:
    return dict(json.loads(zlib.decompress(packed))) if packed else {}
