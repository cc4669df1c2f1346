"""A git repository as a source: its commits, tags and reverts, read anew only where refs moved.

The universe is what HEAD or any tag reaches. A sweep yields what entered it since the cursor, and a tombstone for what
left it. What is seen for the first time bears its own time. What moved, left or came back bears the time at which that
was observed, later than every version before, so that the newest version is always the present state.

What left is asked of git as long as it has the old commits. For when it has collected them, each sweep leaves a list of
the universe under `cache` and names it in the cursor. Where both are gone, coverage says so from then on. A sweep also
notes there what it is about to yield: if its cursor is never saved, the next one sets right what it said.

What it remembers between sweeps is in `git_memory`, how payloads are made in `git_payloads`.
"""

import hashlib
import json
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
from tasks.sources.git_memory import (
    NO_NOTE,
    NOTE,
    KnownTag,
    entries,
    find_list,
    keep_list,
    list_entry,
    note_from,
    packed_tags,
    unpacked_tags,
)
from tasks.sources.git_payloads import (
    commit_payload,
    escaped,
    is_date,
    moment,
    pseudonym,
    readable,
    reverted_by,
    tag_payload,
    text_field,
    unescaped,
)

STREAMS: Final = ("commits", "tags", "reverts")

_PAYLOADS: Final = 1  # raise it when payloads change: everything is then yielded again, as observed
_MOST_GONE: Final = 200_000  # of 8 bytes each, in a document that may have 16 MB
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
        self.note = note = note_from(lists, self.base)
        self.entered = lists / f"entered-{hashlib.sha256(self.base.encode()).hexdigest()[:16]}"
        self.shallow = hashlib.sha256("\n".join(refs.shallow).encode()).hexdigest() if refs.shallow else ""
        self.reader = f"{_PAYLOADS}:{'' if key is None else pseudonym(b'which key', key)}"
        self.reread = {old["reader"], note["reader"]} - {"", self.reader} != set()
        # Several sweeps in one second, or a clock that was set back: still each is later than the one before.
        self.observed = max(int(now.timestamp()), old["observed"] + 1, note["observed"] + 1)
        self.sweeps = max(old["sweeps"], note["sweeps"]) + 1
        self.tags = unpacked_tags(old["tag_list"])
        self.tips = [sha for sha in (old["head"], *(tag.object for tag in self.tags.values())) if sha]
        self.forgot = old["gone"] is None
        gone = old["gone"] or b""
        self.gone = {gone[at : at + 8] for at in range(0, len(gone), 8)} | {_abridged(sha) for sha in note["left"]}

    def is_up_to_date(self) -> bool:
        present = {"head": self.refs.head, "tags": self.refs.digest, "shallow": self.shallow, "reader": self.reader}
        return self.note is NO_NOTE and all(self.old[key] == value for key, value in present.items())

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
                universe = keep_list(new_list, self.lists, self.old["universe"])
            finally:
                Path(new_list.name).unlink(missing_ok=True)
        known = self.tags | {change.name: KnownTag(_object(change), change.ahead) for change in tags}
        forgot = self.forgot or len(self.gone) > _MOST_GONE
        cursor = {
            "head": self.refs.head,
            "tags": self.refs.digest,
            "tag_list": packed_tags(known, self.observed),
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
        old_list = find_list(self.lists, self.old["universe"])
        suspects = self._unreached()
        anew = self.reread or old_list is None or suspects is None
        lost = _LOST if suspects is None and old_list is None and not self.first else self.old["lost"]
        entered = {sha for sha, *_ in entries(self.entered)}
        left = {sha for sha, *_ in entries(old_list)} if suspects is None else suspects
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
        for sha, own, *reverts in chain(entries(plan.old_list), entries(self.entered)):
            if sha in untold:
                untold.discard(sha)
                yield from self._departure(sha, int(own), reverts)
        for raw in read_commits(self.git, sorted(untold)):
            yield from self._departure(raw.sha, moment(raw.commit_date)[0], reverted_by(raw))
        for sha, own, *reverts in entries(plan.old_list) if self.shallow or not plan.anew else ():
            if sha not in plan.left:
                new_list.write(list_entry(sha, int(own), reverts))
                listed.update((sha,) if self.shallow else ())
        returned = set(self.note["left"]) - plan.left
        arrivals = reachable(self.git, self.refs.tips, () if plan.anew else self.tips)
        with self.entered.open("a", buffering=1) as entered:
            for raw in read_commits(self.git, _crossed_off(arrivals, returned)):
                entry = list_entry(raw.sha, moment(raw.commit_date)[0], reverted_by(raw))
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
        for reverted in reverted_by(raw):
            revert = {"type": "revert", "sha": raw.sha, "commit_ts": own, "reverted_sha_raw": reverted}
            yield self._item("reverts", f"{raw.sha}:{reverted}", own, revert, observed=back)

    def _departure(self, sha: str, own: int, reverts: Iterable[str]) -> Iterator[Item]:
        self.gone.add(_abridged(sha))
        yield self._item("commits", sha, own, {"type": "commit", "sha": sha}, deleted=True)
        for reverted in reverts:
            revert = {"type": "revert", "sha": sha, "reverted_sha_raw": reverted}
            yield self._item("reverts", f"{sha}:{reverted}", own, revert, deleted=True)

    def _tag_changes(self) -> list[_TagChange]:
        noted = {unescaped(name): KnownTag(*known) for name, known in self.note["tags"].items()}
        said_once = noted.keys() - {unescaped(name) for name in self.note["stirred"]}
        known = self.tags | noted
        present = {tag.name: tag for tag in self.refs.tags}
        moved = [
            tag
            for tag in self.refs.tags
            if self.reread or tag.name in noted or tag.name not in known or known[tag.name].object != tag.object
        ]
        undated = sorted({tag.target for tag in moved if not is_date(tag.tagger_date)})
        dates = {raw.sha: readable(raw.commit_date, raw.commit_seconds) for raw in read_commits(self.git, undated)}
        changes = []
        for tag in moved:
            before = known.get(tag.name)
            same = before is not None and before.object == tag.object and tag.name in said_once
            back = self._is_back(_abridged(tag.name)) or (before is not None and not same)
            date = tag.tagger_date if is_date(tag.tagger_date) else dates[tag.target]
            ahead = moment(date)[0] if not back else before.ahead if before else 0
            changes.append(_TagChange(tag.name, tag, date, back, ahead))
        for name, (object_, ahead) in known.items():
            if name not in present and (object_ or name in noted):
                self.gone.add(_abridged(name))
                changes.append(_TagChange(name, None, b"", back=True, ahead=ahead))
        return changes

    def _tag(self, change: _TagChange) -> Item:
        id_ = change.name.decode(errors="backslashreplace")  # unique, as git allows no backslash in a ref
        if change.tag is None:
            payload = {"type": "tag", **text_field("name", escaped(change.name))}
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
        objects = {escaped(change.name): (_object(change), change.ahead) for change in tags}
        content = {
            "base": self.base,
            "observed": self.observed,
            "sweeps": self.sweeps,
            "reader": self.reader,
            "left": sorted({*note["left"], *plan.left}),
            "tags": {**note["tags"], **objects},
            "stirred": sorted({*note["stirred"], *(escaped(change.name) for change in tags if change.back)}),
        }
        with NamedTemporaryFile("w", dir=self.lists, prefix=".", delete=False) as file:
            json.dump(content, file)
        Path(file.name).replace(self.lists / NOTE)
        for path in self.lists.glob("entered-*"):
            if path != self.entered:
                path.unlink(missing_ok=True)


def _abridged(entity: str | bytes) -> bytes:
    """Return 8 bytes for a commit's sha or a tag's name; should two be alike, one is taken for returned."""
    return bytes.fromhex(entity)[:8] if isinstance(entity, str) else hashlib.sha256(entity).digest()[:8]


def _object(change: _TagChange) -> str:
    return change.tag.object if change.tag else ""


def _crossed_off(shas: Iterable[str], open_: set[str]) -> Iterator[str]:
    for sha in shas:
        open_.discard(sha)
        yield sha
