"""A git repository as a source: its commits, tags and reverts, read anew only where refs moved.

The universe is what HEAD or any tag reaches. A sweep yields what entered it since the cursor, and a tombstone for what
left it. What is seen for the first time bears its own time. What moved, left or came back bears the time at which that
was observed, later than every version before, so that the newest version is always the present state.

What left is asked of git as long as it has the old commits. For when it has collected them, each sweep leaves a list of
the universe under `cache` and names it in the cursor. Where both are gone, coverage says so from then on. A sweep also
notes there what it is about to yield: if its cursor is never saved, the next one sets right what it said.

Longer than most modules: what is yielded, and what must be remembered for it to be right, are one argument.
"""

import hashlib
import hmac
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any, Final, NamedTuple

from tasks.sources.contract import LATEST, Coverage, Cursor, Feed, Item, SourceError, Swept, instant
from tasks.sources.git_commands import (
    ADDRESS,
    ADDRESS_REMOVED,
    Git,
    RawCommit,
    Refs,
    TagRef,
    UnreadableError,
    cache_path,
    missing,
    open_repository,
    reachable,
    read_commits,
)

STREAMS: Final = ("commits", "tags", "reverts")
SUBJECT_LENGTH: Final = 120

_PAYLOADS: Final = 1  # raise it when payloads change: everything is then yielded again, as observed
_REVERT: Final = re.compile(rb"This reverts commit\s+([0-9a-f]{7,40})(?![0-9a-f])")
_LARGEST_INT: Final = 2**63 - 1  # of MongoDB
_MOST_GONE: Final = 200_000  # of 8 bytes each, in a document that may have 16 MB
_LISTS_KEPT: Final = 4  # one is needed; a second sweep at the same time, or a cursor that was not saved, needs another
_NOTE: Final = "note.json"
_NO_NOTE: Final[Mapping[str, Any]] = {
    "observed": -1,
    "sweeps": -1,
    "reader": "",
    "left": [],
    "tags": {},  # name: object, ahead
    "stirred": [],  # those that had been yielded before
}
_LOST: Final = (
    "what left the history before an earlier sweep can no longer be told: neither git nor the cache has it; "
    "drop this origin's items and cursor to read it anew"
)
_NOTHING: Final[Cursor] = {
    "head": None,
    "tags": "",
    "tag_list": zlib.compress(b""),
    "shallow": "",
    "reader": "",  # how payloads were made
    "universe": "",  # the name of the list
    "gone": b"",  # what was tombstoned and has not come back, abridged; None if that is too much to remember
    "observed": -1,
    "sweeps": -1,
    "lost": None,
}


@dataclass(frozen=True)
class Repository:
    """Where a repository is, and what it is called."""

    origin: str
    url: str
    """A local directory, or whatever else git can fetch from."""


class GitSource:
    """Repositories to be swept one by one."""

    def __init__(
        self,
        name: str,
        repositories: Sequence[Repository],
        cache: Path,
        pseudonym_key: bytes | None,
        timeout_seconds: float = 600,
    ) -> None:
        """Without `pseudonym_key`, authors appear by their e-mail addresses."""
        self.name = name
        self._repositories = {repository.origin: repository for repository in repositories}
        if len(self._repositories) < len(repositories):
            raise ValueError(f"{name}: two repositories have the same origin")
        self._cache = cache.absolute()
        self._key = pseudonym_key
        self._timeout_seconds = timeout_seconds

    def units(self) -> Sequence[str]:
        """The origins."""
        return tuple(self._repositories)

    def feeds(self, unit: str) -> Sequence[Feed]:
        """All three streams, of one origin."""
        return [("git", unit, STREAMS)]

    def sweep(self, unit: str, cursor: Cursor | None, now: datetime) -> Iterator[Item | Swept]:
        """Yield what entered or left the repository since `cursor`, then `Swept`."""
        if not (repository := self._repositories.get(unit)):
            raise SourceError(f"{unit}: no such repository in {self.name}")
        git, refs = open_repository(unit, repository.url, self._cache, self._timeout_seconds)
        lists = cache_path(unit, repository.url, self._cache).with_suffix(".universe")
        lists.mkdir(mode=0o700, exist_ok=True)
        sweep = _Sweep(git, refs, cursor, self._key, now.astimezone(UTC), lists)
        if cursor is not None and sweep.is_up_to_date():
            yield Swept(cursor, (sweep.coverage(cursor["lost"]),), unchanged=True)
        else:
            yield from sweep.changes()


class _Known(NamedTuple):
    """What was said of a tag."""

    object: str
    """Empty if it was deleted."""
    ahead: int
    """The time that some version of it bore, as long as that is still to come; else 0."""


class _Plan(NamedTuple):
    """What is to be yielded of commits."""

    left: set[str]
    """Commits that were in the universe and are no longer."""
    anew: bool
    """All that is in it, not only what entered it."""
    old_list: Path | None
    entered: set[str]
    """What a sweep that broke off had already yielded."""
    lost: str | None


class _TagChange(NamedTuple):
    name: bytes
    tag: TagRef | None
    """None if it was deleted."""
    date: bytes
    """The committer date of its target, where needed."""
    back: bool
    """It was yielded before, in some other state."""
    ahead: int


class _Sweep:
    """One sweep of one repository."""

    def __init__(  # noqa: PLR0913, PLR0917 - one call, from one place
        self, git: Git, refs: Refs, cursor: Cursor | None, key: bytes | None, now: datetime, lists: Path
    ) -> None:
        self.git, self.refs, self.key, self.now, self.lists = git, refs, key, now, lists
        self.first = cursor is None
        self.old = old = _NOTHING if cursor is None else cursor
        self.base = f"{old['universe']}:{old['observed']}"
        self.note = note = _noted(lists, self.base)
        self.entered = lists / f"entered-{hashlib.sha256(self.base.encode()).hexdigest()[:16]}"
        self.shallow = hashlib.sha256("\n".join(refs.shallow).encode()).hexdigest() if refs.shallow else ""
        self.reader = f"{_PAYLOADS}:{'' if key is None else pseudonym(b'which key', key)}"
        self.reread = {old["reader"], note["reader"]} - {"", self.reader} != set()
        # Several sweeps in one second, or a clock that was set back: still each is later than the one before.
        self.observed = max(int(now.timestamp()), old["observed"] + 1, note["observed"] + 1)
        self.sweeps = max(old["sweeps"], note["sweeps"]) + 1
        self.tags = _unpacked(old["tag_list"])
        self.tips = [sha for sha in (old["head"], *(tag.object for tag in self.tags.values())) if sha]
        self.forgot = old["gone"] is None
        gone = old["gone"] or b""
        self.gone = {gone[at : at + 8] for at in range(0, len(gone), 8)} | {_abridged(sha) for sha in note["left"]}

    def is_up_to_date(self) -> bool:
        present = {"head": self.refs.head, "tags": self.refs.digest, "shallow": self.shallow, "reader": self.reader}
        return self.note is _NO_NOTE and all(self.old[key] == value for key, value in present.items())

    def changes(self) -> Iterator[Item | Swept]:
        plan = self._plan()
        tags = self._tag_changes()
        self._take_note(plan, tags)
        with NamedTemporaryFile("w", dir=self.lists, prefix=".", delete=False) as new_list:
            try:
                yield from self._commits(plan, new_list)
                for change in tags:
                    yield self._tag(change)
                if missing(self.git, (*self.refs.tips, *(tag.object for tag in self.refs.tags))):
                    raise SourceError(f"{self.git.origin}: objects were removed while they were read; sweep again")
                universe = _keep(new_list, self.lists, self.old["universe"])
            finally:
                Path(new_list.name).unlink(missing_ok=True)
        known = self.tags | {change.name: _Known(_object(change), change.ahead) for change in tags}
        forgot = self.forgot or len(self.gone) > _MOST_GONE
        cursor = {
            "head": self.refs.head,
            "tags": self.refs.digest,
            "tag_list": _packed(known, self.observed),
            "shallow": self.shallow,
            "reader": self.reader,
            "universe": universe,
            "gone": None if forgot else b"".join(sorted(self.gone)),
            "observed": self.observed,
            "sweeps": self.sweeps,
            "lost": plan.lost,
        }
        yield Swept(cursor, (self.coverage(plan.lost),), whole=self.first or self.reread)

    def coverage(self, lost: str | None) -> Coverage:
        refs = self.refs
        problems = [lost] if lost else []
        if refs.shallow:
            cut = f"shallow clone: history before {len(refs.shallow)} commits was cut off"
            problems.insert(0, f"{cut}; run `git fetch --unshallow` there")
        if refs.headless:
            problems.insert(0, "there are branches, but HEAD names none of them; set the default branch")
        tips = hashlib.sha256(f"{refs.head}\n{refs.digest}".encode()).hexdigest()
        evidence = {"head": refs.head, "tags": len(refs.tags), "tips_digest": tips}
        return Coverage(
            "git", self.git.origin, STREAMS, end=self.now, problem="; ".join(problems) or None, evidence=evidence
        )

    def _plan(self) -> _Plan:
        old_list = _find(self.lists, self.old["universe"])
        suspects = self._unreached()
        anew = self.reread or old_list is None or suspects is None
        lost = _LOST if suspects is None and old_list is None and not self.first else self.old["lost"]
        entered = {sha for sha, *_ in _entries(self.entered)}
        left = {sha for sha, *_ in _entries(old_list)} if suspects is None else suspects
        left |= entered
        if self.shallow:
            left.clear()  # behind the cut nothing can be told; the list is carried on until there is none
        elif left:
            # Where a child is dated before its parent, git may stop too early and exclude too little, never too much.
            left.difference_update(reachable(self.git, self.refs.tips))
        return _Plan(left, anew, old_list, entered, lost)

    def _unreached(self) -> set[str] | None:
        """Return at least the commits that the old tips reach and the new ones do not; None if git cannot tell."""
        if self.shallow or self.old["shallow"] or missing(self.git, self.tips):
            return None
        try:
            return set(reachable(self.git, self.tips, self.refs.tips))
        except UnreadableError:
            return None

    def _commits(self, plan: _Plan, new_list: IO[str]) -> Iterator[Item]:
        """Yield what left and what entered the universe; write all that is in it to the list."""
        untold, listed = set(plan.left), set[str]()
        for sha, own, *reverts in chain(_entries(plan.old_list), _entries(self.entered)):
            if sha in untold:
                untold.discard(sha)
                yield from self._departure(sha, int(own), reverts)
        for raw in read_commits(self.git, sorted(untold)):
            yield from self._departure(raw.sha, _moment(raw.commit_date)[0], _reverted(raw))
        for sha, own, *reverts in _entries(plan.old_list) if self.shallow or not plan.anew else ():
            if sha not in plan.left:
                new_list.write(_entry(sha, int(own), reverts))
                listed.update((sha,) if self.shallow else ())
        returned = set(self.note["left"]) - plan.left
        arrivals = reachable(self.git, self.refs.tips, () if plan.anew else self.tips)
        with self.entered.open("a", buffering=1) as entered:
            for raw in read_commits(self.git, _crossed_off(arrivals, returned)):
                entry = _entry(raw.sha, _moment(raw.commit_date)[0], _reverted(raw))
                if raw.sha not in plan.entered:
                    entered.write(entry)
                if raw.sha not in listed:
                    new_list.write(entry)
                yield from self._arrival(raw)
        for raw in read_commits(self.git, sorted(returned) if not plan.anew else ()):
            yield from self._arrival(raw)

    def _arrival(self, raw: RawCommit) -> Iterator[Item]:
        back = self._is_back(_abridged(raw.sha))
        payload = commit_payload(raw, self.key)
        own = payload["commit_ts"]
        yield self._item("commits", raw.sha, own, payload, observed=back)
        for reverted in _reverted(raw):
            revert = {"type": "revert", "sha": raw.sha, "commit_ts": own, "reverted_sha_raw": reverted}
            yield self._item("reverts", f"{raw.sha}:{reverted}", own, revert, observed=back)

    def _departure(self, sha: str, own: int, reverts: Iterable[str]) -> Iterator[Item]:
        self.gone.add(_abridged(sha))
        yield self._item("commits", sha, own, {"type": "commit", "sha": sha}, deleted=True)
        for reverted in reverts:
            revert = {"type": "revert", "sha": sha, "reverted_sha_raw": reverted}
            yield self._item("reverts", f"{sha}:{reverted}", own, revert, deleted=True)

    def _tag_changes(self) -> list[_TagChange]:
        noted = {_bytes(name): _Known(*known) for name, known in self.note["tags"].items()}
        said_once = noted.keys() - {_bytes(name) for name in self.note["stirred"]}
        known = self.tags | noted
        present = {tag.name: tag for tag in self.refs.tags}
        moved = [
            tag
            for tag in self.refs.tags
            if self.reread or tag.name in noted or tag.name not in known or known[tag.name].object != tag.object
        ]
        undated = sorted({tag.target for tag in moved if not _is_date(tag.tagger_date)})
        dates = {raw.sha: _readable(raw.commit_date, raw.commit_seconds) for raw in read_commits(self.git, undated)}
        changes = []
        for tag in moved:
            before = known.get(tag.name)
            same = before is not None and before.object == tag.object and tag.name in said_once
            back = self._is_back(_abridged(tag.name)) or (before is not None and not same)
            date = tag.tagger_date if _is_date(tag.tagger_date) else dates[tag.target]
            ahead = _moment(date)[0] if not back else before.ahead if before else 0
            changes.append(_TagChange(tag.name, tag, date, back, ahead))
        for name, (object_, ahead) in known.items():
            if name not in present and (object_ or name in noted):
                self.gone.add(_abridged(name))
                changes.append(_TagChange(name, None, b"", back=True, ahead=ahead))
        return changes

    def _tag(self, change: _TagChange) -> Item:
        id_ = change.name.decode(errors="backslashreplace")  # unique, as git allows no backslash in a ref
        if change.tag is None:
            payload = {"type": "tag", **_text("name", _escaped(change.name))}
            return self._item("tags", id_, change.ahead, payload, deleted=True)
        payload = tag_payload(change.tag, change.date)
        return self._item("tags", id_, change.ahead, payload, observed=change.back)

    def _is_back(self, abridged: bytes) -> bool:
        """Return whether it may have been yielded before, in some other state; it no longer counts as gone."""
        back = self.reread or self.forgot or abridged in self.gone
        self.gone.discard(abridged)
        return back

    def _item(  # noqa: PLR0913 - what makes an item
        self,
        stream: str,
        id_: str,
        own: int,
        payload: Mapping[str, Any],
        *,
        observed: bool = False,
        deleted: bool = False,
    ) -> Item:
        """`own` is the time it bears itself, or has borne: what is observed comes after, even if that lies ahead."""
        updated_on = instant(own)
        payload = {"type": payload["type"], "repo": self.git.origin, **payload}
        if observed or deleted:
            payload["observed_ts"] = self.observed
            try:
                updated_on += timedelta(milliseconds=self.sweeps)
            except OverflowError:
                updated_on = LATEST.replace(microsecond=999_000)
            seen = self.now if int(self.now.timestamp()) == self.observed else instant(self.observed)
            updated_on = max(updated_on, seen)
        if deleted:
            payload["deleted"] = True
        return Item("git", stream, self.git.origin, id_, updated_on, payload, deleted)

    def _take_note(self, plan: _Plan, tags: list[_TagChange]) -> None:
        note = self.note
        objects = {_escaped(change.name): (_object(change), change.ahead) for change in tags}
        content = {
            "base": self.base,
            "observed": self.observed,
            "sweeps": self.sweeps,
            "reader": self.reader,
            "left": sorted({*note["left"], *plan.left}),
            "tags": {**note["tags"], **objects},
            "stirred": sorted({*note["stirred"], *(_escaped(change.name) for change in tags if change.back)}),
        }
        with NamedTemporaryFile("w", dir=self.lists, prefix=".", delete=False) as file:
            json.dump(content, file)
        Path(file.name).replace(self.lists / _NOTE)
        for path in self.lists.glob("entered-*"):
            if path != self.entered:
                path.unlink(missing_ok=True)


def commit_payload(raw: RawCommit, key: bytes | None) -> dict[str, Any]:
    """Return the payload of a commit, without `repo`."""
    author_date = _readable(raw.author_date, raw.author_seconds)
    commit_date = _readable(raw.commit_date, raw.commit_seconds)
    author_ts, author_tz = _moment(author_date)
    commit_ts, commit_tz = _moment(commit_date)
    unreadable = [name for name, date in (("author_ts", author_date), ("commit_ts", commit_date)) if not date]
    return {
        "type": "commit",
        "sha": raw.sha,
        "parents": raw.parents,
        "author_ts": author_ts,
        "author_tz": author_tz,
        "commit_ts": commit_ts,
        "commit_tz": commit_tz,
        **(_text("author", _escaped(raw.email)) if key is None else {"author": pseudonym(raw.email, key)}),
        **_text("subject", ADDRESS.sub(ADDRESS_REMOVED, _escaped(raw.subject))[:SUBJECT_LENGTH]),
        **({"unreadable": unreadable} if unreadable else {}),
    }


def tag_payload(tag: TagRef, date: bytes) -> dict[str, Any]:
    """Return the payload of a tag, without `repo`; `date` is the tagger's, or else that of the target's committer."""
    seconds, zone = _moment(date)
    return {
        "type": "tag",
        **_text("name", _escaped(tag.name)),
        "target": tag.target,
        "annotated": tag.annotated,
        "tag_ts": seconds,
        "tag_tz": zone,
        "tag_time_source": "tagger" if _is_date(tag.tagger_date) else "target_committer",
        **({} if date else {"unreadable": ["tag_ts"]}),
    }


def pseudonym(email: bytes, key: bytes) -> str:
    """Return the same 32 hex digits for the same address under the same key."""
    return hmac.digest(key, email.lower(), "sha256").hex()[:32]


def _reverted(raw: RawCommit) -> list[str]:
    return list(dict.fromkeys(sha.decode() for sha in _REVERT.findall(raw.message)))


def _moment(date: bytes) -> tuple[int, str]:
    """Return seconds and offset; where git cannot read a date it takes it for 1970, and so do we."""
    seconds, _, zone = date.decode().partition(" ")
    return int(seconds or 0), zone or "+0000"


def _is_date(date: bytes) -> bool:
    return bool(date) and _moment(date)[0] <= _LARGEST_INT


def _readable(date: bytes, seconds: bytes) -> bytes:
    # For a number that it cannot hold, git says 0 in the date and repeats the number as it stands in the seconds.
    return b"" if date.startswith(b"0 ") and seconds.strip(b"0") else date


def _escaped(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def _bytes(escaped: str) -> bytes:
    return escaped.encode(errors="surrogateescape")


def _text(name: str, escaped: str) -> dict[str, Any]:
    """Return the field `name`, and the exact bytes beside it where they are no UTF-8."""
    raw = _bytes(escaped)
    text = raw.decode(errors="replace")
    return {name: text} if text == escaped else {name: text, f"{name}_raw": raw}


def _abridged(entity: str | bytes) -> bytes:
    """Return 8 bytes for a commit's sha or a tag's name; should two be alike, one is taken for returned."""
    return bytes.fromhex(entity)[:8] if isinstance(entity, str) else hashlib.sha256(entity).digest()[:8]


def _object(change: _TagChange) -> str:
    return change.tag.object if change.tag else ""


def _packed(tags: Mapping[bytes, _Known], observed: int) -> bytes:
    """Return the tags as they are kept in the cursor: of what was deleted, only what bore a time that is to come."""
    current = ((name, sha, ahead if ahead > observed else 0) for name, (sha, ahead) in sorted(tags.items()))
    return zlib.compress(
        b"".join(b"%b %b %d\n" % (n, sha.encode(), ahead) for n, sha, ahead in current if sha or ahead)
    )


def _unpacked(tag_list: bytes) -> dict[bytes, _Known]:
    lines = (line.split(b" ") for line in zlib.decompress(tag_list).split(b"\n") if line)
    return {name: _Known(sha.decode(), int(ahead)) for name, sha, ahead in lines}


def _noted(lists: Path, base: str) -> Mapping[str, Any]:
    """Return what a sweep from the same cursor was about to yield, if there was one: its own cursor was not saved."""
    try:
        note: Mapping[str, Any] = json.loads((lists / _NOTE).read_text())
    except (FileNotFoundError, ValueError):
        return _NO_NOTE
    return note if note["base"] == base else _NO_NOTE


def _crossed_off(shas: Iterable[str], open_: set[str]) -> Iterator[str]:
    for sha in shas:
        open_.discard(sha)
        yield sha


def _entry(sha: str, own: int, reverts: Iterable[str]) -> str:
    return " ".join((sha, str(own), *reverts)) + "\n"


def _entries(path: Path | None) -> Iterator[list[str]]:
    """Yield sha, time and reverts of each commit in a list, if there is one."""
    if path and path.exists():
        with path.open() as lines:
            yield from (line.split() for line in lines if line.endswith("\n"))


def _find(lists: Path, name: str) -> Path | None:
    """Return the list called `name`, if it is there and whole."""
    path = lists / name
    if not name or not path.is_file():
        return None
    with path.open("rb") as file:
        return path if hashlib.file_digest(file, "sha256").hexdigest() == name else None


def _keep(new_list: IO[str], lists: Path, used: str) -> str:
    """Put the finished list in its place, remove old ones, and return its name: the hash of its content."""
    new_list.flush()
    os.fsync(new_list.fileno())
    with Path(new_list.name).open("rb") as file:
        name = hashlib.file_digest(file, "sha256").hexdigest()
    Path(new_list.name).replace(lists / name)
    others = [path for path in lists.iterdir() if len(path.name) == len(name) and path.name not in (name, used)]
    for path in sorted(others, key=lambda path: path.stat().st_mtime)[: -(_LISTS_KEPT - 2)]:
        path.unlink(missing_ok=True)
    return name
