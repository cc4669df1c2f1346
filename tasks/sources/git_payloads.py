"""What git says of commits and tags becomes payloads, in the format of recorded git events. Pure.

Text that is no UTF-8 has its exact bytes beside it. Numbers are as git reads them.
"""

import hmac
import re
from typing import Any, Final

from tasks.sources.git_commands import ADDRESS, ADDRESS_REMOVED, RawCommit, TagRef

SUBJECT_LENGTH: Final = 120

_REVERT: Final = re.compile(rb"This reverts commit\s+([0-9a-f]{7,40})(?![0-9a-f])")
_LARGEST_INT: Final = 2**63 - 1  # of MongoDB


def commit_payload(raw: RawCommit, key: bytes | None) -> dict[str, Any]:
    """Return the payload of a commit, without `repo`."""
    author_date = readable(raw.author_date, raw.author_seconds)
    commit_date = readable(raw.commit_date, raw.commit_seconds)
    author_ts, author_tz = moment(author_date)
    commit_ts, commit_tz = moment(commit_date)
    unreadable = [name for name, date in (("author_ts", author_date), ("commit_ts", commit_date)) if not date]
    return {
        "type": "commit",
        "sha": raw.sha,
        "parents": raw.parents,
        "author_ts": author_ts,
        "author_tz": author_tz,
        "commit_ts": commit_ts,
        "commit_tz": commit_tz,
        **(text_field("author", escaped(raw.email)) if key is None else {"author": pseudonym(raw.email, key)}),
        **text_field("subject", ADDRESS.sub(ADDRESS_REMOVED, escaped(raw.subject))[:SUBJECT_LENGTH]),
        **({"unreadable": unreadable} if unreadable else {}),
    }


def tag_payload(tag: TagRef, date: bytes) -> dict[str, Any]:
    """Return the payload of a tag, without `repo`; `date` is the tagger's, or else that of the target's committer."""
    seconds, zone = moment(date)
    return {
        "type": "tag",
        **text_field("name", escaped(tag.name)),
        "target": tag.target,
        "annotated": tag.annotated,
        "tag_ts": seconds,
        "tag_tz": zone,
        "tag_time_source": "tagger" if is_date(tag.tagger_date) else "target_committer",
        **({} if date else {"unreadable": ["tag_ts"]}),
    }


def pseudonym(email: bytes, key: bytes) -> str:
    """Return the same 32 hex digits for the same address under the same key."""
    return hmac.digest(key, email.lower(), "sha256").hex()[:32]


def reverted_by(raw: RawCommit) -> list[str]:
    """The distinct shas that the message says it reverts, in order."""
    return list(dict.fromkeys(sha.decode() for sha in _REVERT.findall(raw.message)))


def moment(date: bytes) -> tuple[int, str]:
    """Return seconds and offset; where git cannot read a date it takes it for 1970, and so do we."""
    seconds, _, zone = date.decode().partition(" ")
    return int(seconds or 0), zone or "+0000"


def is_date(date: bytes) -> bool:
    """Whether git could read it, as a number that MongoDB can hold."""
    return bool(date) and moment(date)[0] <= _LARGEST_INT


def readable(date: bytes, seconds: bytes) -> bytes:
    """`date`, or nothing where git could not read it."""
    # For a number that it cannot hold, git says 0 in the date and repeats the number as it stands in the seconds.
    return b"" if date.startswith(b"0 ") and seconds.strip(b"0") else date


def escaped(raw: bytes) -> str:
    """Bytes as text that `unescaped` turns back."""
    return raw.decode(errors="surrogateescape")


def unescaped(escaped: str) -> bytes:
    """The bytes behind `escaped`."""
    return escaped.encode(errors="surrogateescape")


def text_field(name: str, escaped: str) -> dict[str, Any]:
    """Return the field `name`, and the exact bytes beside it where they are no UTF-8."""
    raw = unescaped(escaped)
    text = raw.decode(errors="replace")
    return {name: text} if text == escaped else {name: text, f"{name}_raw": raw}
