"""The git source, on real repositories that each test makes for itself."""

import hashlib
import hmac
import os
import random
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bson
import pytest

from tasks.sources import git as git_source
from tasks.sources import git_commands, git_memory
from tasks.sources.contract import LATEST, Cursor, Item, SourceError, Swept, instant
from tasks.sources.git import GitSource, Repository

ORIGIN = "acme/api"
KEY = b"a key"
START = 1_600_000_000
NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


class Repo:
    """A repository to play with; each commit and tag is a minute later than the one before."""

    def __init__(self, path: Path, *options: str) -> None:
        self.path = path
        self.clock = START
        run_git("init", "-q", "-b", "main", *options, str(path))
        self.git("hash-object", "-w", "-t", "tree", "/dev/null")

    def git(self, *arguments: str, given: bytes | None = None, at: int | None = None) -> str:
        return run_git("-C", str(self.path), *arguments, given=given, at=at or self.clock)

    def commit(self, message: str = "work", *, at: int | None = None) -> str:
        self.clock += 60
        self.git("commit", "-q", "--allow-empty", "-m", message, at=at)
        return self.sha("HEAD")

    def tag(self, name: str, target: str = "HEAD", *, message: str | None = None, at: int | None = None) -> str:
        self.clock += 60
        self.git("tag", "-f", *(("-a", "-m", message) if message else ()), name, target, at=at)
        return self.sha(f"refs/tags/{name}")

    def made(self, kind: str, content: bytes) -> str:
        """Write an object as it stands, however odd."""
        return self.git("hash-object", "-t", kind, "-w", "--stdin", "--literally", given=content)

    def odd_commit(self, author: bytes, committer: bytes, message: bytes = b"odd\n", header: bytes = b"") -> str:
        content = b"tree %b\nauthor %b\ncommitter %b\n%b\n%b" % (
            EMPTY_TREE.encode(), author, committer, header, message,
        )  # fmt: skip
        sha = self.made("commit", content)
        self.git("update-ref", "refs/heads/main", sha)
        return sha

    def sha(self, name: str) -> str:
        return self.git("rev-parse", name)

    def drop_unreachable(self) -> None:
        self.git("reflog", "expire", "--expire=now", "--all")
        self.git("gc", "-q", "--prune=now")


def run_git(*arguments: str, given: bytes | None = None, at: int = START) -> str:
    mine = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    person = {"NAME": "Ann", "EMAIL": "Ann@Example.org", "DATE": f"@{at} +0200"}
    mine |= {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in person.items()}
    mine |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    done = subprocess.run(["git", *arguments], input=given, env=mine, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode(errors="surrogateescape").strip()


class Sweeper:
    """A source of one repository that remembers its cursor, as the ledger would."""

    def __init__(self, url: str | Path, cache: Path, *, key: bytes | None = KEY, timeout: float = 60) -> None:
        self.source = GitSource("code", [Repository(ORIGIN, str(url))], cache, key, timeout)
        self.cursor: Cursor | None = None
        self.now = NOW
        self.seen: list[Item] = []

    def __call__(self, now: datetime | None = None) -> tuple[list[Item], Swept]:
        self.now = now or self.now + MINUTE
        *items, swept = self.source.sweep(ORIGIN, self.cursor, self.now)
        assert isinstance(swept, Swept)
        found = [item for item in items if isinstance(item, Item)]
        assert len(found) == len(items)
        self.cursor = bson.decode(bson.encode(dict(swept.cursor)))
        assert self.cursor == swept.cursor
        self.seen += found
        return found, swept

    def interrupted(self, items: int) -> None:
        """A sweep that is given up after so many items, and whose cursor is never saved."""
        self.now += MINUTE
        parts = self.source.sweep(ORIGIN, self.cursor, self.now)
        for part, _ in zip(parts, range(items), strict=False):
            if isinstance(part, Item):
                self.seen.append(part)

    def state(self) -> dict[tuple[str, str], Mapping[str, Any]]:
        """What is left after folding everything yielded so far: the newest version of each, without tombstones."""
        newest: dict[tuple[str, str], Item] = {}
        for item in self.seen:
            key = item.stream, item.id
            if key not in newest or _version(newest[key]) < _version(item):
                newest[key] = item
        return {key: _without_observation(item.payload) for key, item in newest.items() if not item.deleted}


def _version(item: Item) -> tuple[datetime, bytes]:
    content = bson.encode({"payload": item.payload, "updated_on": item.updated_on, "deleted": item.deleted})
    return bson.decode(bson.encode({"at": item.updated_on}))["at"], hashlib.sha256(content).digest()


def _without_observation(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in payload.items() if key != "observed_ts"}


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


@pytest.fixture
def sweep(repo: Repo, tmp_path: Path) -> Sweeper:
    return Sweeper(repo.path, tmp_path / "cache")


@pytest.fixture
def remote(repo: Repo, tmp_path: Path) -> Sweeper:
    return Sweeper(f"file://{repo.path}", tmp_path / "cache")


def ids(items: list[Item], stream: str) -> list[str]:
    return [item.id for item in items if item.stream == stream]


def only(items: list[Item], stream: str, id_: str | None = None) -> Item:
    (item,) = [item for item in items if item.stream == stream and id_ in (None, item.id)]
    return item


def present(url: str | Path, cache: Path) -> dict[tuple[str, str], Mapping[str, Any]]:
    """What a source without any past sees."""
    fresh = Sweeper(url, cache)
    fresh()
    return fresh.state()


# What is read


def test_a_commit_is_told_as_git_tells_it(repo: Repo, sweep: Sweeper) -> None:
    """Every field of a commit has git's own value, and its item bears the committer's time."""
    first = repo.commit("first")
    second = repo.commit("a subject\nof two lines\n\nand a body", at=START + 5)
    items, swept = sweep()
    assert ids(items, "commits") == [first, second]
    assert items[1] == Item(
        "git",
        "commits",
        ORIGIN,
        second,
        instant(START + 5),
        {
            "type": "commit",
            "repo": ORIGIN,
            "sha": second,
            "parents": [first],
            "author_ts": START + 5,
            "author_tz": "+0200",
            "commit_ts": START + 5,
            "commit_tz": "+0200",
            "author": hmac.digest(KEY, b"ann@example.org", "sha256").hex()[:32],
            "subject": "a subject of two lines",
        },
    )
    assert swept.coverages[0].problem is None
    assert swept.coverages[0].end == NOW + MINUTE
    assert swept.coverages[0].evidence is not None
    assert swept.coverages[0].evidence["head"] == second


def test_without_a_key_the_address_is_kept(repo: Repo, tmp_path: Path) -> None:
    """Pseudonyms are the default, and can be left off."""
    repo.commit()
    items, _ = Sweeper(repo.path, tmp_path / "cache", key=None)()
    assert items[0].payload["author"] == "Ann@Example.org"


def test_parents_come_before_children_also_in_merges(repo: Repo, sweep: Sweeper) -> None:
    """A reader that has seen a commit has seen its parents."""
    base = repo.commit()
    repo.git("switch", "-q", "-c", "side")
    side = repo.commit(at=START - 1000)  # younger than its parent, by its own account
    repo.git("switch", "-q", "main")
    main = repo.commit()
    repo.git("merge", "-q", "--no-ff", "-m", "merge", "side")
    items, _ = sweep()
    order = ids(items, "commits")
    assert set(order) == {base, side, main, repo.sha("HEAD")}
    for item in items:
        assert all(order.index(parent) < order.index(item.id) for parent in item.payload["parents"])
    assert items[-1].payload["parents"] == [main, side]


def test_only_head_and_tags_count(repo: Repo, sweep: Sweeper) -> None:
    """The universe is that of `git rev-list HEAD --tags`: other branches are not in it, tagged ones are."""
    base = repo.commit()
    repo.git("switch", "-q", "-c", "tagged")
    tagged = repo.commit()
    repo.tag("v1")
    repo.git("switch", "-q", "-c", "untagged", "main")
    repo.commit()
    repo.git("switch", "-q", "main")
    items, _ = sweep()
    assert set(ids(items, "commits")) == {base, tagged}


def test_tags_of_every_kind(repo: Repo, sweep: Sweeper) -> None:
    """Lightweight tags take the committer's date, annotated ones their own; nested ones are peeled to the end."""
    sha = repo.commit(at=START + 1)
    repo.tag("light")
    repo.tag("annotated", message="x", at=START + 2)
    repo.tag("nested", "annotated", message="y", at=START + 3)
    repo.tag("tree", EMPTY_TREE)
    repo.tag("deep-tree", EMPTY_TREE, message="z")
    dateless = repo.made("tag", b"object %b\ntype commit\ntag dateless\n\nno tagger\n" % sha.encode())
    repo.git("update-ref", "refs/tags/dateless", dateless)
    items, swept = sweep()
    told = {item.id: item.payload for item in items if item.stream == "tags"}
    facts = {
        name: (tag["target"], tag["annotated"], tag["tag_ts"] - START, tag["tag_tz"], tag["tag_time_source"])
        for name, tag in told.items()
    }
    assert facts == {
        "light": (sha, False, 1, "+0200", "target_committer"),
        "annotated": (sha, True, 2, "+0200", "tagger"),
        "nested": (sha, True, 3, "+0200", "tagger"),
        "dateless": (sha, True, 1, "+0200", "target_committer"),
    }
    assert all(item.updated_on == instant(item.payload["tag_ts"]) for item in items if item.stream == "tags")
    assert swept.coverages[0].evidence is not None
    assert swept.coverages[0].evidence["tags"] == 4


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("This reverts commit abcdef1.", ["abcdef1"]),  # the shortest
        ("This reverts commit abcdef.", []),  # too short
        ("This reverts commit\n" + "a" * 40, ["a" * 40]),  # a line break
        ("This reverts commit \n\t " + "b" * 40 + ", and so on", ["b" * 40]),
        ("This reverts commit " + "a" * 41, []),  # a longer run is something else
        ("This reverts commit ABCDEF1234", []),  # as git writes it, or not at all
        ("this reverts commit abcdef1", []),
        ("This reverts commitabcdef1", []),
        ("Revert x\n\nThis reverts commit 1111111.\nThis reverts commit 2222222.", ["1111111", "2222222"]),
        ("This reverts commit 1111111. This reverts commit 1111111.", ["1111111"]),  # named twice, one revert
    ],
)
def test_reverts(repo: Repo, sweep: Sweeper, message: str, expected: list[str]) -> None:
    """A revert is what the stated pattern finds, no more and no less."""
    sha = repo.commit(message)
    items, _ = sweep()
    reverts = [item for item in items if item.stream == "reverts"]
    assert [item.payload for item in reverts] == [
        {"type": "revert", "repo": ORIGIN, "sha": sha, "commit_ts": repo.clock, "reverted_sha_raw": raw}
        for raw in expected
    ]
    assert [item.id for item in reverts] == [f"{sha}:{raw}" for raw in expected]


@pytest.mark.parametrize(
    ("date", "seconds", "zone", "unreadable"),
    [
        (b"123 +51800", 123, "+51800", False),  # one such offset exists in a well-known history
        (b"123 -0000", 123, "+0000", False),
        (b"00123 +5", 123, "+0005", False),
        (b"4000000000000 +0000", 4_000_000_000_000, "+0000", False),
        (b"9223372036854775807 +0100", 2**63 - 1, "+0100", False),
        (b"9223372036854775808 +0100", 0, "+0000", True),
        (b"9" * 5000 + b" +0000", 0, "+0000", True),
        (b"-5 +0000", 0, "+0000", True),
        (b"yesterday", 0, "+0000", True),
        (b"", 0, "+0000", True),
        (b"0 +0000", 0, "+0000", False),
    ],
)
def test_absurd_dates(  # noqa: PLR0917
    repo: Repo,
    sweep: Sweeper,
    date: bytes,
    seconds: int,
    zone: str,
    unreadable: bool,  # noqa: FBT001
) -> None:
    """A date that git can read is told as git reads it; any other is 1970, as in git, and says so; all are storable."""
    sha = repo.odd_commit(b"A <a@example.org> " + date, b"A <a@example.org> " + date)
    repo.git("update-ref", "refs/tags/light", sha)
    tagger = b"object %b\ntype commit\ntag odd\ntagger A <a@example.org> %b\n\nx\n" % (sha.encode(), date)
    repo.git("update-ref", "refs/tags/odd", repo.made("tag", tagger))
    items, _ = sweep()
    commit = only(items, "commits")
    for who in ("author", "commit"):
        assert (commit.payload[f"{who}_ts"], commit.payload[f"{who}_tz"]) == (seconds, zone)
    assert commit.payload.get("unreadable", []) == (["author_ts", "commit_ts"] if unreadable else [])
    assert commit.updated_on == instant(seconds)
    assert only(items, "tags", "light").payload["tag_ts"] == seconds
    assert only(items, "tags", "odd").payload["tag_ts"] == seconds
    for item in items:
        bson.encode({"updated_on": item.updated_on, **item.payload})


def test_text_that_is_no_utf8(repo: Repo, tmp_path: Path) -> None:
    """What a header declares is converted; what remains invalid is shown with marks and kept exactly beside them."""
    plain = repo.odd_commit(
        b"\xc4 <\xc4@example.org> 1 +0000", b"C <c@example.org> 1 +0000", b"caf\xe9 mail \xe9@x.org\n"
    )
    declared = repo.odd_commit(
        b"\xc4 <\xc4@example.org> 1 +0000", b"C <c@example.org> 1 +0000", b"caf\xe9\n", b"encoding ISO-8859-1\n"
    )
    repo.tag("plain", plain)
    items, _ = Sweeper(repo.path, tmp_path / "cache", key=None)()
    payload = only(items, "commits", plain).payload
    assert (payload["subject"], payload["subject_raw"]) == (
        "caf\ufffd mail <email removed>",
        b"caf\xe9 mail <email removed>",
    )
    assert (payload["author"], payload["author_raw"]) == ("\ufffd@example.org", b"\xc4@example.org")
    payload = only(items, "commits", declared).payload
    assert (payload["subject"], payload["author"]) == ("café", "Ä@example.org")
    assert not {"subject_raw", "author_raw"} & payload.keys()
    keyed, _ = Sweeper(repo.path, tmp_path / "cache2")()
    assert "author_raw" not in only(keyed, "commits", plain).payload


def test_tag_names_that_are_no_utf8_stay_apart(repo: Repo, sweep: Sweeper) -> None:
    """Two names that look alike once decoded are two tags, storable and later deletable one by one."""
    repo.commit()
    for name in (b"v\xfe", b"v\xff", "vü".encode()):
        repo.git("update-ref", os.fsdecode(b"refs/tags/" + name), "HEAD")
    items, _ = sweep()
    tags = {item.id: item.payload for item in items if item.stream == "tags"}
    assert {(id_, tag["name"], tag.get("name_raw")) for id_, tag in tags.items()} == {
        ("v\\xfe", "v\ufffd", b"v\xfe"),
        ("v\\xff", "v\ufffd", b"v\xff"),
        ("vü", "vü", None),
    }
    bson.encode({id_: dict(tag) for id_, tag in tags.items()})
    repo.git("update-ref", "-d", os.fsdecode(b"refs/tags/v\xff"))
    items, _ = sweep()
    assert [(item.id, item.deleted, item.payload["name_raw"]) for item in items] == [("v\\xff", True, b"v\xff")]


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("thanks to Ann <ann.b+c@mail.example.org>", "thanks to Ann <<email removed>>"),
        ("bump actions/checkout@v4.1.0", "bump actions/checkout@v4.1.0"),
        ("by @someone, see a@b", "by @someone, see a@b"),
        ("x" * 115 + " ann@example.org", "x" * 115 + " <ema"),  # cut after the address is gone, never through it
        ("ü" * 200, "ü" * 120),
    ],
)
def test_subjects(repo: Repo, sweep: Sweeper, subject: str, expected: str) -> None:
    """A subject has at most 120 characters and no e-mail address, and loses nothing else."""
    repo.commit(subject)
    items, _ = sweep()
    assert items[0].payload["subject"] == expected


def test_a_subject_of_many_megabytes(repo: Repo, sweep: Sweeper) -> None:
    """The search for addresses takes time in proportion to the text, whatever the text."""
    who = b"A <a@example.org> 1 +0000"
    repo.odd_commit(who, who, b"a" * 3_000_000 + b"@" + b"b." * 500_000)
    begun = time.monotonic()
    items, _ = sweep()
    assert items[0].payload["subject"] == "a" * 120
    assert time.monotonic() - begun < 10


def test_the_users_configuration_does_not_matter(
    repo: Repo, sweep: Sweeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mailmap, replacements, grafts, output encodings, locale and GIT_ variables leave what is read as it is."""
    first, second = repo.commit("one é"), repo.commit("two")
    expected, _ = sweep()
    (repo.path / ".mailmap").write_text("Bob <bob@example.org> <ann@example.org>\n")
    (repo.path / ".git/info").mkdir(exist_ok=True)
    (repo.path / ".git/info/grafts").write_text(f"{second}\n")
    repo.git("replace", "-f", first, repo.made("commit", f"tree {EMPTY_TREE}\n\nother".encode()))
    for key in ("i18n.logOutputEncoding", "i18n.commitEncoding"):
        repo.git("config", key, "ISO-8859-1")
    for key in ("log.showSignature", "log.mailmap"):
        repo.git("config", key, "true")
    config = tmp_path / "gitconfig"
    config.write_text("[core]\n\tabbrev = 4\n[log]\n\tdate = relative\n[format]\n\tpretty = oneline\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("GIT_TRACE", "1")
    items, _ = Sweeper(repo.path, tmp_path / "cache2")()
    assert [item.payload for item in items] == [item.payload for item in expected]


def test_everything_equals_what_plain_git_says(repo: Repo, sweep: Sweeper) -> None:
    """Commits, tags and reverts equal an independent derivation by `git log`, `git tag` and a search by hand."""
    dice = random.Random(7)  # noqa: S311
    shas: list[str] = []
    for number in range(30):
        if number and dice.random() < 0.2:
            repo.git("switch", "-q", "-c", f"b{number}", dice.choice(shas))
        text = f"change {number}"
        if shas and dice.random() < 0.3:
            text = f'Revert "x"\n\nThis reverts commit {dice.choice(shas)[: dice.randint(7, 40)]}.'
        shas.append(repo.commit(text, at=START + dice.randint(0, 10**6)))
        if dice.random() < 0.4:
            repo.tag(f"v{number}", message=dice.choice([None, "release"]), at=START + dice.randint(0, 10**6))
    items, _ = sweep()

    log = repo.git("log", "--format=%H|%P|%at|%ct|%s", "HEAD", "--tags")
    commits = {
        (item.id, *(item.payload[field] for field in ("author_ts", "commit_ts", "subject")), *item.payload["parents"])
        for item in items
        if item.stream == "commits"
    }
    assert commits == {
        (sha, int(authored), int(committed), subject, *parents.split())
        for sha, parents, authored, committed, subject in (line.split("|") for line in log.splitlines())
    }
    tags = repo.git("tag", "--format=%(refname:strip=2)|%(creatordate:unix)|%(objecttype)")
    assert {
        (item.id, str(item.payload["tag_ts"]), "tag" if item.payload["annotated"] else "commit")
        for item in items
        if item.stream == "tags"
    } == {tuple(line.split("|")) for line in tags.splitlines()}
    for item in items:
        if item.stream == "tags":
            assert item.payload["target"] == repo.git("rev-list", "-1", f"refs/tags/{item.id}")
    reverts = set()
    for sha in repo.git("rev-list", "HEAD", "--tags").split():
        for found in re.findall(r"This reverts commit ([0-9a-f]+)", repo.git("log", "-1", "--format=%B", sha)):
            reverts.add(f"{sha}:{found}")
    assert set(ids(items, "reverts")) == reverts
    assert reverts


# What is yielded again, and what is not


def test_nothing_new_yields_nothing(repo: Repo, sweep: Sweeper) -> None:
    """With the refs as they were, a sweep only says so, keeps the cursor and covers up to now."""
    repo.commit()
    repo.tag("v1")
    _, first = sweep()
    items, swept = sweep()
    assert (items, swept.unchanged, swept.cursor) == ([], True, first.cursor)
    assert swept.coverages[0].end == sweep.now


def test_children_dated_before_their_parents(repo: Repo, sweep: Sweeper) -> None:
    """Where dates run backwards git excludes too little; still nothing that is there is taken for gone."""
    base = repo.commit(at=5_000_000_000)
    repo.tag("v1", repo.commit(at=START))
    for _ in range(20):
        repo.commit(at=START)
    sweep()
    repo.git("tag", "-d", "v1")
    repo.git("branch", "old")
    repo.git("reset", "-q", "--hard", base)
    for _ in range(20):
        repo.commit("instead", at=START)
    sweep()
    repo.git("reset", "-q", "--hard", "old")
    sweep()
    assert sweep.state() == present(repo.path, repo.path.parent / "cache2")


def test_only_what_is_new_is_yielded(repo: Repo, sweep: Sweeper) -> None:
    """A new commit, a new tag and a new revert come alone, with their own times, however old those are."""
    base = repo.commit()
    repo.tag("v1")
    sweep()
    new = repo.commit(f"This reverts commit {base}.")
    repo.tag("v0-found-late", base, message="late", at=START - 10**6)
    items, _ = sweep()
    assert [(item.stream, item.id) for item in items] == [
        ("commits", new), ("reverts", f"{new}:{base}"), ("tags", "v0-found-late"),
    ]  # fmt: skip
    assert only(items, "tags").updated_on == instant(START - 10**6)
    assert not any("observed_ts" in item.payload for item in items)


def test_a_first_sweep_is_the_same_whenever_it_is_made(repo: Repo, tmp_path: Path) -> None:
    """Items depend on the repository only, not on the clock or the cache, so a repeated sweep stores nothing twice."""
    repo.commit("This reverts commit abcdef1.")
    repo.tag("v1", message="x")
    one, _ = Sweeper(repo.path, tmp_path / "a")(NOW)
    other, _ = Sweeper(repo.path, tmp_path / "b")(NOW + 1000 * MINUTE)
    assert one == other


def test_a_tag_that_moves_and_moves_back(repo: Repo, sweep: Sweeper) -> None:
    """A -> B -> A makes three versions, each newer than the last though the tag's own times are old."""
    first, second = repo.commit(), repo.commit()
    repo.tag("v1", first)
    versions = [only(sweep()[0], "tags")]
    for target in (second, first):
        repo.tag("v1", target)
        items, _ = sweep()
        versions.append(only(items, "tags"))
        assert versions[-1].updated_on == sweep.now
        assert versions[-1].payload["observed_ts"] == int(sweep.now.timestamp())
        assert versions[-1].payload["target"] == target
    assert versions[0].updated_on < versions[1].updated_on < versions[2].updated_on
    assert len({str(version.payload) for version in versions}) == 3


def test_a_tag_that_is_deleted_and_made_again(repo: Repo, sweep: Sweeper) -> None:
    """A deletion is a tombstone at the time it was seen, and the same tag made again wins over it."""
    repo.commit()
    repo.tag("v1", message="x")
    (first,) = [item for item in sweep()[0] if item.stream == "tags"]
    repo.git("update-ref", "refs/kept", "refs/tags/v1")
    for _ in range(2):
        repo.git("tag", "-d", "v1")
        (gone,) = sweep()[0]
        assert (gone.id, gone.deleted, gone.updated_on) == ("v1", True, sweep.now)
        assert gone.payload == {
            "type": "tag", "repo": ORIGIN, "name": "v1", "deleted": True, "observed_ts": int(sweep.now.timestamp()),
        }  # fmt: skip
        repo.git("update-ref", "refs/tags/v1", "refs/kept")
        (back,) = sweep()[0]
        assert back.updated_on == sweep.now
        assert _without_observation(back.payload) == first.payload
    assert sweep.state() == present(repo.path, repo.path.parent / "cache2")


def test_a_tag_that_turns_to_something_else_than_a_commit(repo: Repo, sweep: Sweeper) -> None:
    """A tag that leads to a tree is no item, so one that comes to do so is gone, and may come back."""
    repo.commit()
    repo.tag("v1")
    sweep()
    repo.tag("v1", EMPTY_TREE)
    assert [item.deleted for item in sweep()[0]] == [True]
    repo.tag("v1", "main")
    assert [item.deleted for item in sweep()[0]] == [False]
    assert sweep.state() == present(repo.path, repo.path.parent / "cache2")


def test_a_branch_that_is_forced_back(repo: Repo, sweep: Sweeper) -> None:
    """Commits that left the universe, and the reverts they made, get tombstones; what is tagged stays."""
    base = repo.commit()
    tagged = repo.commit()
    repo.tag("v1")
    lost = repo.commit(f"This reverts commit {base}.")
    sweep()
    repo.git("reset", "-q", "--hard", base)
    new = repo.commit("instead")
    items, _ = sweep()
    observed = int(sweep.now.timestamp())
    gone = [item for item in items if item.deleted]
    assert [(item.stream, item.id, dict(item.payload)) for item in gone] == [
        ("commits", lost,
         {"type": "commit", "repo": ORIGIN, "sha": lost, "deleted": True, "observed_ts": observed}),
        ("reverts", f"{lost}:{base}",
         {"type": "revert", "repo": ORIGIN, "sha": lost, "reverted_sha_raw": base, "deleted": True,
          "observed_ts": observed}),
    ]  # fmt: skip
    assert [item.id for item in items if not item.deleted] == [new]
    assert {id_ for stream, id_ in sweep.state() if stream == "commits"} == {base, tagged, new}


def test_a_commit_that_comes_back(repo: Repo, sweep: Sweeper) -> None:
    """A commit that vanished and returns, several times, is alive in the end, and so are its reverts."""
    base = repo.commit()
    sha = repo.commit(f"This reverts commit {base}.")
    first, _ = sweep()
    for _ in range(2):
        repo.git("reset", "-q", "--hard", base)
        assert [item.deleted for item in sweep()[0]] == [True, True]
        assert ("commits", sha) not in sweep.state()
        repo.git("reset", "-q", "--hard", sha)
        back, _ = sweep()
        assert [(item.id, item.updated_on) for item in back] == [(item.id, sweep.now) for item in first[1:]]
    assert sweep.state() == present(repo.path, repo.path.parent / "cache2")


def test_several_sweeps_in_one_second_or_with_a_clock_set_back(repo: Repo, sweep: Sweeper) -> None:
    """Observed times grow from sweep to sweep whatever the clock says, so the last state always wins."""
    first, second = repo.commit(), repo.commit()
    repo.tag("v1", first)
    sweep(NOW)
    versions = []
    for target, now in ((second, NOW), (first, NOW), (second, NOW - MINUTE), (first, NOW + timedelta(seconds=3.5))):
        repo.tag("v1", target)
        versions.append(only(sweep(now)[0], "tags"))
    times = [version.updated_on for version in versions]
    assert times == sorted(set(times))
    assert sweep.state()["tags", "v1"]["target"] == first


@pytest.mark.parametrize("own", [4_000_000_000, 10**12, 2**62])
def test_what_bears_a_time_that_is_still_to_come(repo: Repo, sweep: Sweeper, own: int) -> None:
    """Even a commit and a tag dated after every clock can move, vanish and come back."""
    base = repo.commit()
    who = b"A <a@example.org> %d +0000" % own
    sha = repo.odd_commit(who, who)
    repo.tag("v1")
    sweep()
    assert sweep.seen[1].updated_on == min(instant(own), LATEST)
    for move in (base, sha, base):
        repo.git("update-ref", "refs/heads/main", move)
        repo.tag("v1", move)
        sweep()
        repo.git("tag", "-d", "v1")
        sweep()
        assert not [key for key in sweep.state() if key[0] == "tags"]
        repo.tag("v1", move)
        sweep()
        assert sweep.state() == present(repo.path, repo.path.parent / f"cache-{sweep.now:%H%M}")


def test_another_key_yields_everything_again(repo: Repo, tmp_path: Path) -> None:
    """When the key changes, no commit stays behind under its author's old pseudonym."""
    repo.commit()
    sweep = Sweeper(repo.path, tmp_path / "cache")
    sweep()
    other = Sweeper(repo.path, tmp_path / "cache", key=b"another key")
    other.cursor, other.seen, other.now = sweep.cursor, sweep.seen, sweep.now
    items, swept = other()
    assert swept.whole
    assert items[0].updated_on == other.now
    (payload,) = other.state().values()
    assert payload["author"] == hmac.digest(b"another key", b"ann@example.org", "sha256").hex()[:32]


def test_more_departures_than_can_be_remembered(repo: Repo, sweep: Sweeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the cursor cannot name all that is gone, anything new counts as possibly returned: the fold stays right."""
    monkeypatch.setattr(git_source, "_MOST_GONE", 2)
    base = repo.commit()
    for _ in range(4):
        repo.commit()
    top = repo.sha("HEAD")
    sweep()
    repo.git("reset", "-q", "--hard", base)
    _, swept = sweep()
    assert swept.cursor["gone"] is None
    repo.git("reset", "-q", "--hard", top)
    sweep()
    assert sweep.state() == present(repo.path, repo.path.parent / "cache2")


# When git no longer has what was


def test_vanished_commits_that_git_has_collected(repo: Repo, sweep: Sweeper) -> None:
    """With the old objects gone for good, the list in the cache still tells what left, reverts included."""
    base = repo.commit()
    repo.commit(f"This reverts commit {base}.")
    repo.tag("v1", message="x")
    sweep()
    repo.git("tag", "-d", "v1")
    repo.git("reset", "-q", "--hard", base)
    repo.commit("instead")
    repo.drop_unreachable()
    items, swept = sweep()
    assert sorted(item.stream for item in items if item.deleted) == ["commits", "reverts", "tags"]
    assert swept.coverages[0].problem is None
    assert sweep.state() == present(repo.path, repo.path.parent / "cache2")


def test_half_collected_commits(repo: Repo, sweep: Sweeper) -> None:
    """An old tip whose ancestors are missing counts as collected, not as a broken repository."""
    base = repo.commit()
    middle, top = repo.commit(), repo.commit()
    sweep()
    repo.git("reset", "-q", "--hard", base)
    (repo.path / ".git/objects" / middle[:2] / middle[2:]).unlink()
    items, _ = sweep()
    assert {item.id for item in items if item.deleted} == {middle, top}


def test_neither_git_nor_the_cache_knows(repo: Repo, sweep: Sweeper, tmp_path: Path) -> None:
    """What cannot be told is said in the coverage, from then on, and a new beginning ends it."""
    base = repo.commit()
    repo.commit()
    sweep()
    repo.git("reset", "-q", "--hard", base)
    repo.drop_unreachable()
    (tmp_path / "cache").rename(tmp_path / "lost")
    for _ in range(2):
        _, swept = sweep()
        assert "can no longer be told" in str(swept.coverages[0].problem)
        repo.commit()
    sweep.cursor = None
    _, swept = sweep()
    assert swept.coverages[0].problem is None


def test_a_lost_cache_alone_costs_only_time(repo: Repo, sweep: Sweeper, tmp_path: Path) -> None:
    """Without the list, but with git's objects, everything is yielded again and departures are still found."""
    base = repo.commit()
    lost = repo.commit()
    sweep()
    (tmp_path / "cache").rename(tmp_path / "lost")
    repo.git("reset", "-q", "--hard", base)
    items, swept = sweep()
    assert [(item.id, item.deleted) for item in items] == [(lost, True), (base, False)]
    assert swept.coverages[0].problem is None


def test_a_damaged_list_is_not_believed(repo: Repo, sweep: Sweeper, tmp_path: Path) -> None:
    """A list is taken only if its content has the hash by which the cursor names it."""
    base = repo.commit()
    repo.commit()
    _, swept = sweep()
    (kept,) = tmp_path.glob(f"cache/*.universe/{swept.cursor['universe']}")
    kept.write_text("")
    repo.git("reset", "-q", "--hard", base)
    repo.drop_unreachable()
    _, swept = sweep()
    assert swept.coverages[0].problem


def test_few_lists_are_kept(repo: Repo, sweep: Sweeper, tmp_path: Path) -> None:
    """The cache does not grow with the number of sweeps, and nothing is left lying about."""
    for _ in range(8):
        repo.commit()
        sweep()
    (lists,) = tmp_path.glob("cache/*.universe")
    assert len(list(lists.iterdir())) == git_memory.LISTS_KEPT + 2  # and two notes


# Sweeps that break off


@pytest.mark.parametrize("items", [0, 1, 2, 3, 4, 5, 6])
def test_a_sweep_that_broke_off_is_set_right(repo: Repo, sweep: Sweeper, items: int) -> None:
    """What an unfinished sweep said of refs that have moved back since is said again, the right way round."""
    base = repo.commit()
    repo.tag("stays", base)
    repo.tag("moves", base)
    top = repo.commit(f"This reverts commit {base}.")
    sweep()
    repo.git("reset", "-q", "--hard", base)
    new = repo.commit("only seen by the sweep that broke off")
    repo.tag("moves", new)
    repo.tag("short-lived", new)
    repo.git("tag", "-d", "stays")
    sweep.interrupted(items)
    repo.git("reset", "-q", "--hard", top)
    repo.git("tag", "-d", "short-lived")
    repo.tag("moves", base)
    repo.tag("stays", base)
    _, swept = sweep()
    assert not swept.unchanged
    assert sweep.state() == present(repo.path, repo.path.parent / "cache2")
    assert sweep()[1].unchanged


def test_what_only_a_broken_off_sweep_has_seen(repo: Repo, sweep: Sweeper) -> None:
    """Commits that came, were yielded and were collected before any sweep ended are told to be gone."""
    base = repo.commit()
    sweep()
    lost = repo.commit(f"This reverts commit {base}.")
    sweep.interrupted(2)
    repo.git("reset", "-q", "--hard", base)
    repo.drop_unreachable()
    items, swept = sweep()
    assert [(item.id, item.deleted) for item in items] == [(lost, True), (f"{lost}:{base}", True)]
    assert swept.coverages[0].problem is None


def test_a_first_sweep_that_broke_off_is_simply_made_again(repo: Repo, sweep: Sweeper) -> None:
    """Repeating an unfinished sweep of unchanged refs yields the very same items."""
    repo.commit("This reverts commit abcdef1.")
    repo.tag("v1", message="x")
    sweep.interrupted(2)
    before = list(sweep.seen)
    items, _ = sweep()
    assert items[:2] == before
    assert sweep.state() == present(repo.path, repo.path.parent / "cache2")
    assert not any("observed_ts" in item.payload for item in items)


@pytest.mark.parametrize("seed", range(5))
def test_any_story_ends_in_the_present_state(tmp_path: Path, seed: int) -> None:
    """Whatever happened between sweeps, folding all that was yielded equals what a fresh sweep sees."""
    dice = random.Random(seed)  # noqa: S311
    repo = Repo(tmp_path / "repo")
    sweep = Sweeper(repo.path if seed % 2 else f"file://{repo.path}", tmp_path / "cache")
    shas = [repo.commit()]
    for step in range(12):
        for _ in range(dice.randint(1, 3)):
            move = dice.choice(["commit", "commit", "reset", "tag", "tag", "untag", "collect"])
            tags = repo.git("tag").split()
            if move == "commit":
                revert = f"This reverts commit {dice.choice(shas)}." if dice.random() < 0.5 else "work"
                shas.append(repo.commit(revert, at=dice.choice([START, 5_000_000_000, repo.clock])))
            elif move == "reset":
                known = [
                    sha for sha in shas if repo.git("cat-file", "--batch-check", given=sha.encode())[-7:] != "missing"
                ]
                repo.git("reset", "-q", "--hard", dice.choice(known))
            elif move == "tag":
                repo.tag(
                    f"v{dice.randint(1, 4)}", message=dice.choice([None, "x"]), at=dice.choice([START, 6_000_000_000])
                )
            elif move == "untag" and tags:
                repo.git("tag", "-d", dice.choice(tags))
            elif move == "collect" and step % 4 == 0:
                repo.drop_unreachable()
        if dice.random() < 0.3:
            sweep.interrupted(dice.randint(0, 6))
        else:
            sweep(NOW + dice.randint(0, 3) * timedelta(seconds=1))
    sweep()
    assert sweep.state() == present(repo.path, tmp_path / "cache2")


# Where it reads


def test_reading_in_place_writes_nothing(repo: Repo, sweep: Sweeper) -> None:
    """Not a byte of a local repository changes, and no file appears in it."""

    def files() -> dict[str, tuple[bytes, int]]:
        return {
            str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in repo.path.rglob("*") if path.is_file()
        }

    repo.commit()
    repo.tag("v1", message="x")
    before = files()
    sweep()
    assert files() == before


@pytest.mark.parametrize("kind", ["clone", "bare", "mirror", "dot-git", "worktree", "bundle", "file", "detached"])
def test_every_kind_of_repository(repo: Repo, tmp_path: Path, kind: str) -> None:
    """Clone, bare clone, mirror, worktree, bundle and URL of one history all yield the same items."""
    sha = repo.commit("This reverts commit abcdef1.")
    repo.tag("v1", message="x")
    expected = present(repo.path, tmp_path / "expected")
    copy = tmp_path / "copy"
    url: str | Path = copy
    if kind in {"clone", "bare", "mirror"}:
        options = {"clone": (), "bare": ("--bare",), "mirror": ("--mirror",)}[kind]
        run_git("clone", "-q", *options, str(repo.path), str(copy))
    elif kind == "worktree":
        repo.git("worktree", "add", "-q", "-b", "other", str(copy))
    elif kind == "bundle":
        repo.git("bundle", "create", "-q", str(copy), "HEAD", "--all")
    elif kind == "dot-git":
        url = repo.path / ".git"
    elif kind == "file":
        url = f"file://{repo.path}"
    else:
        repo.git("switch", "-q", "--detach", sha)
        url = f"file://{repo.path}"
    assert present(url, tmp_path / "cache") == expected


def test_a_url_is_mirrored_with_deletions(repo: Repo, remote: Sweeper, tmp_path: Path) -> None:
    """A mirror follows new, moved, deleted and forced refs, and a default branch of another name."""
    base = repo.commit()
    repo.commit()
    repo.tag("v1")
    repo.tag("v2")
    remote()
    repo.git("reset", "-q", "--hard", base)
    repo.commit("instead")
    repo.tag("v1")
    repo.git("tag", "-d", "v2")
    remote()
    assert remote.state() == present(repo.path, tmp_path / "cache2")
    repo.git("switch", "-q", "-c", "trunk", base)
    repo.commit("on another branch")
    remote()
    assert remote.state() == present(repo.path, tmp_path / "cache3")
    assert remote()[1].unchanged
    assert len(list((tmp_path / "cache").glob("*.git"))) == 1


def test_a_mirror_is_packed_without_losing_what_vanished(
    repo: Repo, remote: Sweeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many small fetches do not pile up in the mirror, and vanished commits stay to be compared."""
    monkeypatch.setattr(git_commands, "_MOST_LOOSE", 0)
    base = repo.commit()
    lost = repo.commit()
    remote()
    repo.git("reset", "-q", "--hard", base)
    repo.commit("instead")
    remote()
    (mirror,) = (tmp_path / "cache").glob("*.git")
    assert run_git(f"--git-dir={mirror}", "cat-file", "-t", lost) == "commit"
    assert "count: 0" in run_git(f"--git-dir={mirror}", "count-objects", "-v")


def test_a_fetch_that_was_killed_does_not_block_the_next(repo: Repo, remote: Sweeper, tmp_path: Path) -> None:
    """Lock files of a git that was killed are cleared away."""
    repo.commit()
    remote()
    (mirror,) = (tmp_path / "cache").glob("*.git")
    for name in ("packed-refs.lock", "shallow.lock", "refs/heads/default.lock"):
        (mirror / name).parent.mkdir(parents=True, exist_ok=True)
        (mirror / name).touch()
    repo.commit()
    assert len(remote()[0]) == 1


def test_many_sweeps_of_one_mirror_at_once(repo: Repo, tmp_path: Path) -> None:
    """Sweeps that share a mirror wait for each other's fetch; each yields all of it."""
    for _ in range(3):
        repo.commit()
    counts: list[int] = []

    def run() -> None:
        counts.append(len(Sweeper(f"file://{repo.path}", tmp_path / "cache")()[0]))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [3] * 6


def test_an_empty_repository(repo: Repo, sweep: Sweeper, remote: Sweeper) -> None:
    """Nothing is there, and that is proven; the first commit is found later."""
    for one in (sweep, remote):
        items, swept = one()
        assert (items, swept.coverages[0].problem) == ([], None)
        assert one()[1].unchanged
    repo.commit()
    assert len(sweep()[0]) == len(remote()[0]) == 1


def test_a_repository_with_tags_and_no_branch(repo: Repo, sweep: Sweeper, remote: Sweeper) -> None:
    """Tags alone are a whole universe."""
    sha = repo.commit()
    repo.tag("v1")
    repo.git("update-ref", "-d", "refs/heads/main")
    for one in (sweep, remote):
        items, swept = one()
        assert [item.id for item in items] == [sha, "v1"]
        assert swept.coverages[0].problem is None


def test_a_head_that_names_no_branch(repo: Repo, sweep: Sweeper, remote: Sweeper) -> None:
    """With branches but no default branch the tags are told, but what else there is remains unproven."""
    repo.commit()
    repo.tag("v1")
    untagged = repo.commit()
    sweep()
    remote()
    repo.git("symbolic-ref", "HEAD", "refs/heads/none")
    repo.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/heads/main")  # is not the HEAD that counts
    for one in (sweep, remote):
        items, swept = one()
        assert [(item.id, item.deleted) for item in items] == [(untagged, True)]
        assert "set the default branch" in str(swept.coverages[0].problem)


@pytest.mark.parametrize("through", ["", "file://"])
def test_a_shallow_clone_is_unproven_until_it_is_whole(repo: Repo, tmp_path: Path, through: str) -> None:
    """A cut history is told with its true parents and declared; unshallowed, it is completed and proven."""
    for _ in range(3):
        repo.commit()
    expected = present(repo.path, tmp_path / "expected")
    copy = tmp_path / "copy"
    run_git("clone", "-q", "--depth=2", f"file://{repo.path}", str(copy))
    sweep = Sweeper(f"{through}{copy}", tmp_path / "cache")
    items, swept = sweep()
    assert len(items) == 2
    assert [item.payload for item in items] == list(expected.values())[1:]
    assert "shallow clone: history before 1 commits was cut off" in str(swept.coverages[0].problem)
    run_git("-C", str(copy), "fetch", "-q", "--unshallow")
    _, swept = sweep()
    assert swept.coverages[0].problem is None
    assert sweep.state() == expected


def test_a_shallow_clone_that_moves_on(repo: Repo, tmp_path: Path) -> None:
    """Behind the cut nothing is taken for deleted; what truly left is found once the history is whole."""
    for _ in range(3):
        repo.commit()
    copy = tmp_path / "copy"
    run_git("clone", "-q", "--depth=1", f"file://{repo.path}", str(copy))
    sweep = Sweeper(copy, tmp_path / "cache")
    sweep()
    abandoned = repo.sha("HEAD")
    repo.git("reset", "-q", "--hard", "HEAD~1")
    for _ in range(2):
        repo.commit("onward")
        run_git("-C", str(copy), "fetch", "-q", "--depth=1", "origin", "+main:refs/remotes/origin/main")
        run_git("-C", str(copy), "reset", "-q", "--hard", "origin/main")
        assert not any(item.deleted for item in sweep()[0])
    run_git("-C", str(copy), "fetch", "-q", "--unshallow")
    run_git("-C", str(copy), "reflog", "expire", "--expire=now", "--all")
    run_git("-C", str(copy), "gc", "-q", "--prune=now")
    items, swept = sweep()
    assert [item.id for item in items if item.deleted] == [abandoned]
    assert swept.coverages[0].problem is None
    assert sweep.state() == present(repo.path, tmp_path / "cache2")


def test_a_partial_clone_is_enough(repo: Repo, tmp_path: Path) -> None:
    """Neither blobs nor trees are needed, and none is fetched on the way."""
    (repo.path / "file").write_text("content")
    repo.git("add", "file")
    repo.commit()
    repo.git("config", "uploadpack.allowFilter", "true")
    copy = tmp_path / "copy"
    run_git("clone", "-q", "--no-checkout", "--filter=tree:0", f"file://{repo.path}", str(copy))
    repo.path.rename(tmp_path / "away")
    assert len(present(copy, tmp_path / "cache")) == 1


def test_sha256(tmp_path: Path) -> None:
    """Repositories with the longer hashes are read and mirrored alike."""
    repo = Repo(tmp_path / "repo", "--object-format=sha256")
    repo.commit()
    repo.tag("v1", message="x")
    assert present(repo.path, tmp_path / "a") == present(f"file://{repo.path}", tmp_path / "b")


# What goes wrong


def failure(sweep: Sweeper) -> str:
    """The error of a sweep that must not end in `Swept`."""
    parts: list[Any] = []
    with pytest.raises(SourceError) as caught:
        parts.extend(sweep.source.sweep(ORIGIN, sweep.cursor, sweep.now))
    assert not any(isinstance(part, Swept) for part in parts)
    assert str(caught.value).startswith(ORIGIN)
    return str(caught.value)


def _remove_object(repo: Repo, sha: str) -> None:
    (repo.path / ".git/objects" / sha[:2] / sha[2:]).unlink()


def _truncate_object(repo: Repo, sha: str) -> None:
    path = repo.path / ".git/objects" / sha[:2] / sha[2:]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize("damage", [_remove_object, _truncate_object])
@pytest.mark.parametrize("which", ["HEAD", "refs/tags/v1", "refs/tags/v1^{}"])
@pytest.mark.parametrize("again", [False, True])
def test_a_damaged_object(
    repo: Repo, sweep: Sweeper, damage: Callable[[Repo, str], None], which: str, *, again: bool
) -> None:
    """A commit or tag that cannot be read ends the sweep: what lies behind it is not taken for absent."""
    repo.commit()
    if again:
        sweep()
    repo.commit()
    repo.tag("v1", message="x")
    repo.commit()
    repo.commit()
    damage(repo, repo.sha(which))
    failure(sweep)


@pytest.mark.parametrize("ref", ["refs/tags/v1", "refs/heads/main"])
@pytest.mark.parametrize("content", ["", "nonsense\n", "0" * 40 + "\n", "1" * 40 + "\n"])
def test_a_damaged_ref(repo: Repo, sweep: Sweeper, ref: str, content: str) -> None:
    """A ref that was half written is an error, not a deleted tag or an empty branch."""
    repo.commit()
    repo.tag("v1")
    sweep()
    (repo.path / ".git" / ref).write_text(content)
    failure(sweep)


def test_a_git_that_dies(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A git that is killed in the middle of its output has not told everything, though the output looks whole."""
    for _ in range(3):
        repo.commit()
    wrapper(
        tmp_path,
        monkeypatch,
        'case "$*" in *no-walk*) "$GIT" "$@" | head -c 400; kill -9 $$;; *) exec "$GIT" "$@";; esac',
    )
    assert "killed by signal 9" in failure(Sweeper(repo.path, tmp_path / "cache"))


def test_a_git_that_tells_too_little(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits that were asked for and not shown are noticed even if git says that all went well."""
    for _ in range(3):
        repo.commit()
    wrapper(tmp_path, monkeypatch, 'case "$*" in *no-walk*) "$GIT" "$@" --skip=1;; *) exec "$GIT" "$@";; esac')
    assert "2 of 3" in failure(Sweeper(repo.path, tmp_path / "cache"))


@pytest.mark.parametrize("command", ["fetch", "ls-remote", "for-each-ref", "topo-order"])
def test_a_git_that_hangs_is_ended_with_its_children(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """After the timeout the whole process group is gone, and the error says what to do."""
    repo.commit()
    pid = tmp_path / "pid"
    script = f'case "$*" in *{command}*) sleep 600 & echo $! >{pid}; wait;; *) exec "$GIT" "$@";; esac'
    wrapper(tmp_path, monkeypatch, script)
    begun = time.monotonic()
    text = failure(Sweeper(f"file://{repo.path}", tmp_path / "cache", timeout=0.5))
    assert "no answer within 0.5 seconds" in text
    assert time.monotonic() - begun < 5
    child = int(pid.read_text())
    assert _ends(child)


def test_a_sweep_that_is_given_up_ends_git(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing the generator leaves no process behind."""
    repo.commit()
    pid = tmp_path / "pid"
    wrapper(
        tmp_path,
        monkeypatch,
        f'case "$*" in *topo-order*) "$GIT" "$@"; echo $$ >{pid}; sleep 600;; *) exec "$GIT" "$@";; esac',
    )
    parts = Sweeper(repo.path, tmp_path / "cache").source.sweep(ORIGIN, None, NOW)
    monkeypatch.setattr(git_commands, "_COMMITS_AT_ONCE", 1)
    next(parts)
    while not pid.exists():
        time.sleep(0.01)
    parts.close()  # type: ignore[attr-defined]
    assert _ends(int(pid.read_text()))


def wrapper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a script in git's place; it finds the real one in $GIT."""
    real = subprocess.run(["sh", "-c", "command -v git"], capture_output=True, text=True, check=True).stdout.strip()
    path = tmp_path / "bin" / "git"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\nGIT={real}\n{script}\n")
    path.chmod(0o700)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")


def _ends(pid: int) -> bool:
    """Whether the process ends soon; a zombie counts as ended."""
    for _ in range(200):
        try:
            if "Z" in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]:
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def test_no_git_at_all(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without git gets an error it can act on."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git could not be started" in failure(Sweeper(repo.path, tmp_path / "cache"))


def test_objects_that_disappear_while_they_are_read(repo: Repo, sweep: Sweeper) -> None:
    """If a commit is removed under the sweep, it does not claim to be whole."""
    repo.commit()
    parts = sweep.source.sweep(ORIGIN, None, NOW)
    next(parts)
    _remove_object(repo, repo.sha("HEAD"))
    with pytest.raises(SourceError, match="sweep again"):
        list(parts)


@pytest.mark.parametrize("where", ["no-repository", "absent", "inside"])
def test_a_path_that_is_no_repository(repo: Repo, tmp_path: Path, where: str) -> None:
    """A folder without a repository, one that only lies in one, and no folder at all are told apart from empty ones."""
    repo.commit()
    path = {"no-repository": tmp_path / "no", "absent": tmp_path / "absent", "inside": repo.path / "inside"}[where]
    if where != "absent":
        path.mkdir()
    assert re.search(
        "is no git repository|not a git repository|does not appear", failure(Sweeper(path, tmp_path / "c"))
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_repository_of_somebody_else(
    repo: Repo, sweep: Sweeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git's own protection and advice come through, and following the advice helps."""
    repo.commit()
    for path in (repo.path, repo.path / ".git"):
        os.chown(path, 65534, 65534)
    config = tmp_path / "gitconfig"
    config.touch()
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    assert "git config --global --add safe.directory" in failure(sweep)
    config.write_text(f"[safe]\n\tdirectory = {repo.path}\n")
    assert len(sweep()[0]) == 1


@pytest.mark.parametrize("url", ["--upload-pack=touch x", "-u", "", "file:///x\ny", "x\0y"])
def test_a_url_that_is_an_option(tmp_path: Path, url: str) -> None:
    """What git could take for an option, and what is no URL, never reaches git."""
    assert "must not" in failure(Sweeper(url, tmp_path / "cache"))


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("http://ann:s3cretpassword@127.0.0.1:9/x.git", ["s3cret", "ann:"]),
        ("http://ghp_0123456789abcdef@127.0.0.1:9/x.git", ["ghp_"]),
        ("http://127.0.0.1:9/x.git?private_token=s3cret", ["s3cret"]),
        ("http://ann:p%40ss%2Fword%21@127.0.0.1:9/x.git", ["p%40ss", "p@ss"]),
        ("http://ann@example.org:s3cret@127.0.0.1:9/x.git", ["ann", "s3cret"]),
        ("http://ann:s3/cretpassword@127.0.0.1:9/x.git", ["s3/cret"]),  # git takes "ann" for the host
        ("nosuch://ann:s3cretpassword@host/x.git", ["s3cret"]),
        ("/no/such/ann@example.org/repo", ["ann@"]),
    ],
)
def test_errors_hold_no_credential_and_no_address(tmp_path: Path, url: str, secrets: list[str]) -> None:
    """Whatever git says about a URL, the secrets in it do not come through, nor do file names made of it."""
    text = failure(Sweeper(url, tmp_path / "cache"))
    assert not [secret for secret in secrets if secret in text]
    assert len(text) > len(ORIGIN) + 20


def test_a_new_token_keeps_the_mirror(tmp_path: Path) -> None:
    """Where the mirror lies does not depend on the credentials, nor give them away."""
    paths = {
        git_commands.cache_path(ORIGIN, url, tmp_path)
        for url in ("https://host/x", "https://a:b@host/x", "https://a:c@host/x")
    }
    assert len(paths) == 1


def test_unknown_units_and_equal_origins(repo: Repo, sweep: Sweeper, tmp_path: Path) -> None:
    """A unit that is not configured is an error, and no two repositories may share an origin."""
    assert sweep.source.units() == (ORIGIN,)
    assert list(sweep.source.feeds(ORIGIN)) == [("git", ORIGIN, ("commits", "tags", "reverts"))]
    with pytest.raises(SourceError, match="no such repository"):
        list(sweep.source.sweep("acme/other", None, NOW))
    twice = [Repository(ORIGIN, str(repo.path))] * 2
    with pytest.raises(ValueError, match="same origin"):
        GitSource("code", twice, tmp_path, KEY)


def test_the_cursor_stays_small(repo: Repo, sweep: Sweeper) -> None:
    """Thousands of tags need a few dozen bytes each, so that the cursor fits a document at a hundred thousand."""
    shas = [repo.commit() for _ in range(20)]
    lines = "".join(f"create refs/tags/release-{n} {shas[n % 20]}\n" for n in range(3000))
    repo.git("update-ref", "--stdin", given=lines.encode())
    _, swept = sweep()
    assert len(bson.encode(dict(swept.cursor))) < 3000 * 40
