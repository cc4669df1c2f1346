"""What an answer means: take it, wait so long and ask again, or give up with this reason. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final, Self

from config.sources import Requests
from tasks.sources.http.answers import Reason

TAKEN: Final = frozenset({200, 201, 304})
"""What is an answer, if its body is one."""
_MOVED: Final = frozenset({301, 307, 308})
_PASSING: Final = frozenset({408, 425, 500, 502, 503, 504})
_REASONS: Final = {401: Reason.REFUSED, 403: Reason.REFUSED, 404: Reason.GONE, 410: Reason.GONE}
_LIMIT_WORDS: Final = re.compile(r"secondary rate limit|abuse detection|rate limit exceeded", re.IGNORECASE)
_MINUTE: Final = 60.0
_EPOCH_FROM: Final = 10**8
"""A reset below is in seconds from now, as the draft of the IETF has it; GitHub and others name the epoch's."""
_RESET_GRACE: Final = 1.0
"""Seconds: a reset is told in whole ones."""
_RESERVED_SHARE: Final = 10
"""Of a small limit a tenth is left to others, not the whole reserve."""
_FAR: Final = 10.0**9
"""Seconds, 31 years: no clock and no limit is taken to be further off, so that all times can be written down."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient and how greedy a client is."""

    timeout_seconds: float = 30.0
    """To connect, to write, and to wait for the next bytes, each."""
    retries: int = 5
    """Further tries after the first one, for one request."""
    longest_wait_seconds: float = 300.0
    """A single wait that a server asks for and that is longer ends the request."""
    answer_bytes: int = 64 * 2**20
    """Of one answer, decompressed."""
    concurrency: int = 8
    """Requests under way at once, for one host and credential, in this process."""
    reserve: int = 50
    """So many requests of the rate limit are left to others; of a small limit at most a tenth."""

    @classmethod
    def of(cls, asked: Requests) -> Self:
        """As it is configured."""
        return cls(
            timeout_seconds=asked.timeout_seconds,
            retries=asked.retries,
            longest_wait_seconds=asked.longest_wait_seconds,
            answer_bytes=asked.answer_megabytes * 2**20,
            concurrency=asked.concurrency,
            reserve=asked.reserve,
        )


class Act(StrEnum):
    """What to do about an answer."""

    TAKE = "take"
    FOLLOW = "follow"
    AGAIN = "again"
    END = "end"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an answer means."""

    act: Act
    reason: Reason | None = None
    """Of the error, if it comes to one."""
    wait: float | None = None
    """Seconds, above 0, that the server asks for; None if it names no time."""
    everybody: bool = False
    """A limit: all who share the credential are to wait."""


def meaning(status: int, headers: Mapping[str, str], text: str, *, at: datetime, tries: int) -> Meaning:
    """What the answer means. text: the beginning of its body; at: now, by the server's clock; tries: before this."""
    if status in TAKEN:
        return Meaning(Act.TAKE)
    if status < 300:  # noqa: PLR2004 - the class of what went well
        return Meaning(Act.END, Reason.CONTENT)
    if status in _MOVED:
        return Meaning(Act.FOLLOW, Reason.REDIRECTED)
    if 300 <= status < 400:  # noqa: PLR2004 - the class of redirects
        return Meaning(Act.END, Reason.REDIRECTED)
    wait = named_wait(headers, at)
    if status == 429 or (status == 403 and _is_limit(headers, text)):  # noqa: PLR2004
        patient = status == 403 or is_limit_text(text)  # noqa: PLR2004
        return limited(headers, at, tries) if patient else Meaning(Act.AGAIN, Reason.LIMITED, wait, everybody=True)
    if status in _PASSING:
        return Meaning(Act.AGAIN, Reason.BROKEN, wait)
    return Meaning(Act.END, _REASONS.get(status, Reason.BROKEN))


def limited(headers: Mapping[str, str], at: datetime, tries: int) -> Meaning:
    """A limit that may name no time. GitHub: "wait for at least one minute", then exponentially longer."""
    wait = named_wait(headers, at)
    return Meaning(Act.AGAIN, Reason.LIMITED, _MINUTE * 2**tries if wait is None else wait, everybody=True)


def is_limit_text(text: str) -> bool:
    """Whether an error says that it is about a rate limit."""
    return _LIMIT_WORDS.search(text) is not None


def _is_limit(headers: Mapping[str, str], text: str) -> bool:
    return "retry-after" in headers or remaining(headers) == 0 or is_limit_text(text)


def named_wait(headers: Mapping[str, str], at: datetime) -> float | None:
    """Seconds until one may ask again, above 0; None where the server says nothing that makes sense."""
    told = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", told):
        return float(told) or None
    if told and (date := http_date(told)) is not None:
        seconds = (date - at).total_seconds()
        return seconds if seconds > 0 else None
    if remaining(headers) == 0 and (end := reset(headers, at)) is not None:
        return max((end - at).total_seconds(), 0.0) + _RESET_GRACE
    return None


def remaining(headers: Mapping[str, str]) -> int | None:
    """How many requests are left of the rate limit."""
    return _count(headers, "remaining")


def reserved(headers: Mapping[str, str], reserve: int) -> int:
    """How many requests to leave to others, of the limit that the headers tell."""
    limit = _count(headers, "limit")
    return reserve if limit is None else min(reserve, limit // _RESERVED_SHARE)


def reset(headers: Mapping[str, str], at: datetime) -> datetime | None:
    """When the rate limit begins anew, by the server's clock; `at` is now by that."""
    told = _limit_header(headers, "reset").strip()
    if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", told):
        seconds = float(told)
        return _shifted(at, seconds if seconds < _EPOCH_FROM else seconds - at.timestamp())
    try:
        date = datetime.fromisoformat(told)
    except ValueError:
        return None
    return _shifted(at, ((date if date.tzinfo else date.replace(tzinfo=UTC)) - at).total_seconds())


def http_date(text: str) -> datetime | None:
    """As of Date and Retry-After."""
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError, TypeError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def skew_seconds(headers: Mapping[str, str], at: datetime) -> float | None:
    """The server's clock minus ours, which is `at`; an answer from a cache is older by its Age."""
    date = http_date(headers.get("date", ""))
    if date is None:
        return None
    age = headers.get("age", "").strip()
    skew = (date - at).total_seconds() + (int(age) if re.fullmatch("[0-9]{1,9}", age) else 0)
    return max(-_FAR, min(skew, _FAR))


def _count(headers: Mapping[str, str], name: str) -> int | None:
    told = _limit_header(headers, name).strip()
    return int(told) if re.fullmatch("[0-9]{1,15}", told) else None


def _limit_header(headers: Mapping[str, str], name: str) -> str:
    return headers.get(f"x-ratelimit-{name}") or headers.get(f"ratelimit-{name}") or ""


def _shifted(start: datetime, seconds: float) -> datetime:
    return start + timedelta(seconds=max(-_FAR, min(seconds, _FAR)))
