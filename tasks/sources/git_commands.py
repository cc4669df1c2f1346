"""Run git: open a repository or mirror it, take one snapshot of its refs, walk and read its commits.

No prompt, no wait without end, no secret in an error, no write to what is read in place. Histories are read with no
configuration but the repository's own; the user's (credentials, proxy, ssh, safe.directory) serves to reach them.

Longer than most modules: each way in which git may hang, fail or say too little has its answer here, and only here.
"""

import fcntl
import hashlib
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple
from urllib.parse import unquote

from tasks.sources.contract import SourceError

# \udc80-\udcff stand for bytes that are no UTF-8 ("surrogateescape"); the lengths (RFC 5321) keep the search linear.
ADDRESS = re.compile(
    "[^\\s@<>()\\[\\]{},;:\"'`|/\\\\=]{1,64}@(?:[\\w\udc80-\udcff-]{1,63}\\.){1,16}[^\\W\\d_][\\w-]{1,62}"
)
ADDRESS_REMOVED = "<email removed>"
_USER_INFO = re.compile(r"(?<=://)[^/\s]*@")
_QUERY = re.compile(r"(?<=\?)[^\s'\"]+")
_SHORTEST_SECRET = 8  # a shorter user name, such as "git", would be cut out of ordinary words
_DEFAULT_BRANCH = "default"  # in a mirror: wherever the remote's HEAD points
_COMMITS_AT_ONCE = 5000  # git keeps the messages of so many commits in memory
_FIELDS = ("", "%P", "%at", "%ad", "%ct", "%cd", "%ae", "%s", "%B", "")
_REF_FIELDS = ("refname", "objectname", "objecttype", "object", "type", "taggerdate:raw")
_MOST_LOOSE, _MOST_PACKS = 10_000, 50  # objects and packs in a mirror, before they are packed anew
_FATAL = 128  # git's exit code for "fatal:", e.g. a missing object

# Anything else that begins with GIT_ is dropped: GIT_DIR would lead elsewhere, GIT_TRACE would quote credentials.
_ALWAYS_KEPT = ("GIT_EXEC_PATH",)
_KEPT_FOR_REMOTES = (
    *_ALWAYS_KEPT, "GIT_ASKPASS", "GIT_SSH", "GIT_SSL_", "GIT_HTTP_", "GIT_PROXY_", "GIT_PROTOCOL", "GIT_CONFIG_",
    "GIT_ALLOW_PROTOCOL",
)  # fmt: skip
_ALWAYS_SET = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GCM_INTERACTIVE": "never", "GIT_OPTIONAL_LOCKS": "0"}
_SET_FOR_READING = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",  # for a git that does not know GIT_NO_LAZY_FETCH
}


class UnreadableError(SourceError):
    """Git itself gave up: no repository here, or an object or a ref of it is missing or damaged."""


class RawCommit(NamedTuple):
    """One commit as git prints it in UTF-8; dates in git's raw format, "1700000000 +0100", empty if unreadable."""

    sha: str
    parents: list[str]
    """The real ones, also where a shallow clone ends."""
    author_seconds: bytes
    author_date: bytes
    commit_seconds: bytes
    commit_date: bytes
    email: bytes
    subject: bytes
    message: bytes


class TagRef(NamedTuple):
    """A ref under refs/tags that leads to a commit."""

    name: bytes
    object: str
    target: str
    annotated: bool
    tagger_date: bytes


@dataclass(frozen=True)
class Refs:
    """All that a sweep goes by, read once."""

    head: str | None
    tags: tuple[TagRef, ...]
    digest: str
    """Over every ref under refs/tags, also those that lead to no commit."""
    shallow: tuple[str, ...]
    """Commits whose parents were cut off."""
    headless: bool
    """There are branches, but HEAD is none of them."""

    @property
    def tips(self) -> list[str]:
        """The commits from which all others are reached."""
        return sorted({tag.target for tag in self.tags} | ({self.head} if self.head else set()))


@dataclass(frozen=True)
class Git:
    """Git's commands, for one repository."""

    origin: str
    """What errors call it."""
    url: str
    timeout_seconds: float
    folder: Path | None = None
    """Where to look for it, as long as `directory` is not known."""
    directory: Path | None = None
    reading: bool = False
    """Leave the user's configuration aside."""

    def run(self, *arguments: str, given: Iterable[str] = (), accepted: int = 0) -> bytes:
        """Return what git wrote; `given` are the lines it reads, `accepted` an exit code that is no failure."""
        with TemporaryFile() as output:
            with self._running(arguments, given, output, accepted=accepted):
                pass
            output.seek(0)
            return output.read()

    def fields(
        self, *arguments: str, separator: bytes, given: Iterable[str], variables: Mapping[str, str] | None = None
    ) -> Iterator[bytes]:
        """Yield what git writes, cut at `separator`, as it comes; only waiting for git counts towards the timeout."""
        begun: list[bytes] = []
        running = self._running(arguments, given, subprocess.PIPE, variables=variables)
        with running as process, selectors.DefaultSelector() as ready:
            output = process.stdout.fileno() if process.stdout else -1
            ready.register(output, selectors.EVENT_READ)
            while True:
                if not ready.select(self.timeout_seconds):
                    raise subprocess.TimeoutExpired(arguments, self.timeout_seconds)
                if not (chunk := os.read(output, 1 << 16)):
                    break
                first, *others = chunk.split(separator)
                begun.append(first)
                for other in others:
                    yield b"".join(begun)
                    begun = [other]
        yield b"".join(begun)

    @contextmanager
    def _running(
        self,
        arguments: tuple[str, ...],
        given: Iterable[str],
        output: IO[bytes] | int,
        accepted: int = 0,
        variables: Mapping[str, str] | None = None,
    ) -> Iterator[subprocess.Popen[bytes]]:
        kept = _ALWAYS_KEPT if self.reading else _KEPT_FOR_REMOTES
        environment = {key: value for key, value in os.environ.items() if key[:4] != "GIT_" or key.startswith(kept)}
        environment |= _ALWAYS_SET | (_SET_FOR_READING if self.reading else {}) | dict(variables or {})
        where = [f"--git-dir={self.directory}"] if self.directory else ["-C", str(self.folder)] if self.folder else []
        with TemporaryFile() as lines, TemporaryFile() as complaints:
            lines.writelines(line.encode() + b"\n" for line in given)
            lines.seek(0)
            try:
                process = subprocess.Popen(  # noqa: S603  # no shell, and URLs stand behind "--"
                    ["git", *where, *arguments],  # noqa: S607  # the git of the user's command line
                    stdin=lines,
                    stdout=output,
                    stderr=complaints,
                    env=environment,
                    start_new_session=True,  # a process group to end as one, and no terminal to ask at
                )
            except OSError as error:
                raise SourceError(f"{self.origin}: git could not be started: {error.strerror}") from None
            try:
                yield process
                process.wait(self.timeout_seconds)
            except subprocess.TimeoutExpired:
                raise SourceError(
                    f"{self.origin}: git {arguments[0]} gave no answer within {self.timeout_seconds:g} seconds; "
                    "check the connection, or raise the timeout"
                ) from None
            finally:
                if process.poll() is None:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                if process.stdout:
                    process.stdout.close()
            complaints.seek(0)
            self._judge(arguments[0], process.returncode, accepted, complaints.read().decode(errors="replace"))

    def _judge(self, command: str, code: int, accepted: int, complaints: str) -> None:
        # Git only warns of a broken ref and goes on without it: the tag would seem to be deleted.
        if code in {0, accepted} and "broken ref" not in complaints:
            return
        ended = f"was killed by signal {-code}" if code < 0 else f"failed ({code})"
        kind = UnreadableError if code in {0, _FATAL} else SourceError
        raise kind(f"{self.origin}: git {command} {ended}: {self.redacted(complaints.strip()[-1000:])}")

    def redacted(self, text: str) -> str:
        """Return `text` without credentials of the URL, query strings and e-mail addresses."""
        user_info = self.url.partition("://")[2].rpartition("@")[0]
        secrets = {form for given in (user_info, unquote(user_info)) for form in (given, *given.split(":", 1))}
        for secret in sorted(secrets, key=len, reverse=True):
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, "***")
        return ADDRESS.sub(ADDRESS_REMOVED, _QUERY.sub("***", _USER_INFO.sub("", text)))


def open_repository(origin: str, url: str, cache: Path, timeout_seconds: float) -> tuple[Git, Refs]:
    """Return how to read the repository at `url`, and its refs of this moment.

    A directory is read in place. Anything else is brought up to date in a mirror under `cache` first.
    Raises SourceError if there is no repository, or it cannot be reached or read.
    """
    git = Git(origin, url, timeout_seconds)
    if not url or url.startswith("-") or not url.isprintable():
        raise SourceError(f"{origin}: the URL must not be empty, begin with '-' or hold control characters")
    if "://" not in url and Path(url).is_dir():
        git = _in_place(git, Path(url))
        return git, _read_refs(git)
    mirror = cache_path(origin, url, cache).with_suffix(".git")
    git = replace(git, directory=mirror)
    with _locked(mirror.with_suffix(".lock"), git):
        headless = _fetch(git)
        git = replace(git, reading=True)
        return git, replace(_read_refs(git), headless=headless)


def cache_path(origin: str, url: str, cache: Path) -> Path:
    """Return where things about the repository lie, without suffix; a new token in the URL moves nothing."""
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    return cache / hashlib.sha256(f"{_USER_INFO.sub('', url)}\0{origin}".encode()).hexdigest()[:24]


def _in_place(git: Git, path: Path) -> Git:
    # Git itself looks for the directory, with the user's configuration, because only then it checks whose it is.
    try:
        found = replace(git, folder=path).run("rev-parse", "--absolute-git-dir")
    except UnreadableError as error:
        raise SourceError(f"{error} ({git.redacted(str(path))})") from None
    directory = Path(os.fsdecode(found.removesuffix(b"\n")))
    inside = path / ".git"
    if directory.resolve() not in {path.resolve(), inside.resolve()} and not inside.is_file():
        raise SourceError(f"{git.origin}: {git.redacted(str(path))} is no git repository, it only lies in one")
    return replace(git, directory=directory, reading=True)


@contextmanager
def _locked(path: Path, git: Git) -> Iterator[None]:
    deadline = time.monotonic() + git.timeout_seconds
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise SourceError(f"{git.origin}: another sweep has kept the mirror locked; try later") from None
                time.sleep(0.05)
        yield


def _fetch(git: Git) -> bool:
    """Bring the mirror up to date; return whether the remote has branches of which HEAD is none."""
    remote = replace(git, directory=None)
    found = [line for line in remote.run("ls-remote", "--", git.url, "HEAD").split(b"\n") if line.endswith(b"\tHEAD")]
    mirror = git.directory or Path()
    if not mirror.exists():
        sha256 = found and len(found[0].split(b"\t")[0]) == hashlib.sha256().digest_size * 2
        fresh = mirror.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        kind = f"--object-format={'sha256' if sha256 else 'sha1'}"
        remote.run("init", "--quiet", "--bare", "--template=", f"--initial-branch={_DEFAULT_BRANCH}", kind, str(fresh))
        replace(git, directory=fresh).run("config", "gc.auto", "0")  # what vanished must stay, to be compared
        fresh.rename(mirror)
    # What a git that was killed left behind; nobody else writes here as long as we hold the lock.
    for leftover in (*mirror.glob("*.lock"), *mirror.glob("refs/**/*.lock"), *mirror.glob("objects/pack/tmp_*")):
        leftover.unlink(missing_ok=True)
    branch = f"refs/heads/{_DEFAULT_BRANCH}"
    wanted = [f"+HEAD:{branch}"] if found else []
    git.run(
        "fetch", "--quiet", "--force", "--prune", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance",
        "--no-recurse-submodules", "--update-shallow", *(["--unshallow"] if (mirror / "shallow").exists() else []),
        "--", git.url, *wanted, "+refs/tags/*:refs/tags/*",
    )  # fmt: skip
    git.run("pack-refs", "--all")
    counted = dict(line.split(": ", 1) for line in git.run("count-objects", "-v").decode().splitlines())
    if int(counted["count"]) > _MOST_LOOSE or int(counted["packs"]) > _MOST_PACKS:
        git.run("repack", "-a", "-d", "--keep-unreachable", "--quiet")
    if found:
        return False
    git.run("update-ref", "-d", branch)
    return bool(remote.run("ls-remote", "--heads", "--", git.url))


def _read_refs(git: Git) -> Refs:
    head = git.run("rev-parse", "--verify", "--quiet", "HEAD", accepted=1).decode().strip() or None
    wanted = "--format=" + "%00".join(f"%({field})" for field in _REF_FIELDS)
    rows = [line.split(b"\0") for line in git.run("for-each-ref", wanted, "refs/tags").split(b"\n") if line]
    pairs = sorted(name + b" " + sha for name, sha, *_ in rows)
    shallow = Path(os.fsdecode(git.run("rev-parse", "--git-path", "shallow").removesuffix(b"\n")))
    return Refs(
        head,
        tuple(_tags(git, rows)),
        hashlib.sha256(b"\n".join(pairs)).hexdigest(),
        tuple(sorted(shallow.read_text().split())) if shallow.exists() else (),
        headless=not head and bool(git.run("for-each-ref", "refs/heads")),  # which fails if one of them is damaged
    )


def _tags(git: Git, rows: list[list[bytes]]) -> Iterator[TagRef]:
    nested = sorted({sha.decode() for _, sha, _, _, target_type, _ in rows if target_type == b"tag"})
    answers = git.run("cat-file", "--batch-check", given=(f"{sha}^{{}}" for sha in nested)).decode().split("\n")
    peeled = {sha: answer.split() for sha, answer in zip(nested, answers, strict=False)}
    for name, sha, object_type, target, target_type, date in rows:
        end, end_type = (sha, object_type) if object_type != b"tag" else (target, target_type)
        final, final_type = peeled.get(sha.decode(), [end.decode(), end_type.decode()])[:2]
        if final_type == "missing":
            raise UnreadableError(f"{git.origin}: tag object {sha.decode()} leads nowhere; run `git fsck`")
        if final_type == "commit":
            yield TagRef(name.removeprefix(b"refs/tags/"), sha.decode(), final, object_type == b"tag", date)


def missing(git: Git, shas: Iterable[str]) -> bool:
    """Return whether any of these objects is not there."""
    return b" missing\n" in git.run("cat-file", "--batch-check", given=shas)


def reachable(git: Git, tips: Iterable[str], without: Iterable[str] = ()) -> Iterator[str]:
    """Yield the commits reached from `tips` but not from `without`, parents first."""
    given = list(tips)
    if not given:
        return
    given += (f"^{sha}" for sha in without)
    for line in git.fields("rev-list", "--topo-order", "--reverse", "--stdin", separator=b"\n", given=given):
        if line:
            yield line.decode()


def read_commits(git: Git, shas: Iterable[str]) -> Iterator[RawCommit]:
    """Yield these commits, in this order. Raises SourceError unless every one could be read."""
    wanted = "--format=" + "%x00".join(_FIELDS)
    command = ("rev-list", "--no-walk=unsorted", "--stdin", "--encoding=UTF-8", "--date=raw", wanted)
    remaining = iter(shas)
    while chunk := list(islice(remaining, _COMMITS_AT_ONCE)):
        # Without its list of cut-off commits, git names their real parents.
        fields = git.fields(*command, separator=b"\0", given=chunk, variables={"GIT_SHALLOW_FILE": ""})
        read = 0
        for first, parents, *others in zip(*[fields] * (len(_FIELDS) - 1), strict=False):
            read += 1
            yield RawCommit(first.split()[-1].decode(), parents.decode().split(), *others)
        if read != len(chunk):
            raise SourceError(f"{git.origin}: git showed {read} of {len(chunk)} commits")
