"""What a sweep remembers beside its cursor: the list of the universe, the tags, and a note of its intent."""

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

LISTS_KEPT: Final = 4  # one is needed; a second sweep at the same time, or a cursor that was not saved, needs another
NOTE: Final = "note.json"
NO_NOTE: Final[Mapping[str, Any]] = {
    "observed": -1,
    "sweeps": -1,
    "reader": "",
    "left": [],
    "tags": {},  # name: object, ahead
    "stirred": [],  # those that had been yielded before
}


class KnownTag(NamedTuple):
    """What was said of a tag."""

    object: str
    """Empty if it was deleted."""
    ahead: int
    """The time that some version of it bore, as long as that is still to come; else 0."""


def packed_tags(tags: Mapping[bytes, KnownTag], observed: int) -> bytes:
    """Return the tags as they are kept in the cursor: of what was deleted, only what bore a time that is to come."""
    current = ((name, sha, ahead if ahead > observed else 0) for name, (sha, ahead) in sorted(tags.items()))
    return zlib.compress(
        b"".join(b"%b %b %d\n" % (n, sha.encode(), ahead) for n, sha, ahead in current if sha or ahead)
    )


def unpacked_tags(tag_list: bytes) -> dict[bytes, KnownTag]:
    """What `packed_tags` packed."""
    lines = (line.split(b" ") for line in zlib.decompress(tag_list).split(b"\n") if line)
    return {name: KnownTag(sha.decode(), int(ahead)) for name, sha, ahead in lines}


def note_from(lists: Path, base: str) -> Mapping[str, Any]:
    """Return what a sweep from the same cursor was about to yield, if there was one: its own cursor was not saved."""
    try:
        note: Mapping[str, Any] = json.loads((lists / NOTE).read_text())
    except (FileNotFoundError, ValueError):
        return NO_NOTE
    return note if note["base"] == base else NO_NOTE


def list_entry(sha: str, own: int, reverts: Iterable[str]) -> str:
    """A line of the list, or of the note of what entered."""
    return " ".join((sha, str(own), *reverts)) + "\n"


def entries(path: Path | None) -> Iterator[list[str]]:
    """Yield sha, time and reverts of each commit in a list, if there is one."""
    if path and path.exists():
        with path.open() as lines:
            yield from (line.split() for line in lines if line.endswith("\n"))


def find_list(lists: Path, name: str) -> Path | None:
    """Return the list called `name`, if it is there and whole."""
    path = lists / name
    if not name or not path.is_file():
        return None
    with path.open("rb") as file:
        return path if hashlib.file_digest(file, "sha256").hexdigest() == name else None


def keep_list(new_list: IO[str], lists: Path, used: str) -> str:
    """Put the finished list in its place, remove old ones, and return its name: the hash of its content."""
    new_list.flush()
    os.fsync(new_list.fileno())
    with Path(new_list.name).open("rb") as file:
        name = hashlib.file_digest(file, "sha256").hexdigest()
    Path(new_list.name).replace(lists / name)
    others = [path for path in lists.iterdir() if len(path.name) == len(name) and path.name not in (name, used)]
    for path in sorted(others, key=lambda path: path.stat().st_mtime)[: -(LISTS_KEPT - 2)]:
        path.unlink(missing_ok=True)
    return name
