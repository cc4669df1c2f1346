"""Recorded items from files: JSON Lines, plain or gzip, one item a line (docs/replay.md has the two formats).

A line that cannot be read is set aside with its file and number, and the rest goes on. What a file proves is the time
from the day of its first item to the day of its last: a recording says nothing about what came after it.
"""

import glob
import gzip
import hashlib
import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final

from quality.shapes import safe
from tasks.sources.contract import EARLIEST, LATEST, Coverage, Cursor, Feed, Item, Rejected, SourceError, Swept, instant

UNIT: Final = "files"
"""All files of one source are swept together: one origin may be spread over several."""

_GZIP_MAGIC: Final = b"\x1f\x8b"
_STREAMS: Final = {"commit": "commits", "tag": "tags", "revert": "reverts"}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")
_ORIGIN: Final = re.compile(r"[^|\x00-\x1f\ud800-\udfff]{1,200}")
_ID_LENGTH: Final = 1000
"""Characters of an id, which is repeated in every row that speaks of it."""
_BOM: Final = b"\xef\xbb\xbf"


class _LineError(ValueError):
    """Why a line is no item."""


@dataclass(slots=True)
class _Span:
    first: datetime
    last: datetime
    items: int
    streams: set[str]
    end: datetime | None = None
    """When the recording ended, if that was on the day of its last item."""


class ReplaySource:
    """Files that match `paths` (glob patterns), read in the order of their names."""

    def __init__(self, name: str, paths: Sequence[str]) -> None:
        self.name = name
        self.paths = paths

    def units(self) -> Sequence[str]:
        """The one unit."""
        return (UNIT,)

    def feeds(self, unit: str) -> Sequence[Feed]:  # noqa: ARG002 - the contract's
        """Nothing: what the files hold is known when they are read."""
        return ()

    def sweep(self, unit: str, cursor: Cursor | None, now: datetime) -> Iterator[Item | Rejected | Swept]:
        """Yield the items of the files that are new since `cursor`; of all, once one is gone or has changed."""
        files = self._files()
        states = _states(files)
        if cursor and "states" not in cursor:
            cursor = None  # of an older version: read all again
        known = set(cursor["states"]) if cursor else set()
        whole = not cursor or not known <= set(states)
        spans = {} if whole or not cursor else _spans_of(cursor)
        fresh = [path for path, state in zip(files, states, strict=True) if whole or state not in known]
        if cursor and not fresh:
            yield Swept(cursor, _coverages(spans, now), unchanged=True)
            return
        written = datetime.fromtimestamp(max(path.stat().st_mtime for path in files), UTC)
        for path in fresh:
            for part in _read(path):
                if isinstance(part, Item):
                    _extend(spans, part, now)
                yield part
        for span in spans.values():
            if span.last.date() == written.date():  # the recording was cut on its last day: nothing is known after
                span.end = written
        if _states(files) != states:
            raise SourceError(f"{self.name}/{unit}: a file changed while it was read; the next run reads it again")
        yield Swept(
            {"states": states, "spans": _spans_document(spans)}, _coverages(spans, now), whole=whole, replaces=whole
        )

    def _files(self) -> list[Path]:
        files: set[Path] = set()
        for pattern in self.paths:
            matches = [Path(match) for match in glob.glob(pattern, recursive=True)]  # noqa: PTH207 - absolute patterns
            if not matches:
                raise SourceError(f"{self.name}: no file matches {safe(pattern)}; check `paths` of this source")
            files.update(match for match in matches if match.is_file())
        if not files:
            raise SourceError(f"{self.name}: {safe(', '.join(self.paths))} matches folders only; name files")
        return sorted(files)


def _states(files: Sequence[Path]) -> list[str]:
    """For each file a short hash that changes when it is written or replaced."""
    try:
        facts = [(str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino) for path in files for stat in [path.stat()]]
    except OSError as error:
        raise SourceError(f"{safe(str(error.filename))}: cannot be read: {error.strerror}") from None
    return [hashlib.sha256(repr(fact).encode()).hexdigest()[:16] for fact in facts]


def _read(path: Path) -> Iterator[Item | Rejected]:
    number, name = 0, safe(path.name)
    try:
        with _open(path) as lines:
            for number, raw in enumerate(lines, start=1):
                if raw.strip():
                    yield _item(raw, f"{name}:{number}")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield Rejected(f"{name}:{number + 1}", f"the gzip file breaks off here: {error}", b"")
    except OSError as error:
        raise SourceError(f"{safe(str(path))}: cannot be read: {error.strerror}") from None


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        compressed = file.read(2) == _GZIP_MAGIC
    return gzip.open(path, "rb") if compressed else path.open("rb")  # type: ignore[return-value]


def _item(raw: bytes, place: str) -> Item | Rejected:
    try:
        record = _DECODER.decode(raw.removeprefix(_BOM).decode())
    except (ValueError, RecursionError) as error:
        why = "nested too deep" if isinstance(error, RecursionError) else str(error)
        return _rejected(raw, place, f"not JSON: {why}"[:_REASON])
    try:
        if not isinstance(record, dict):
            raise _LineError("not a JSON object")
        read = _event if "type" in record and "payload" not in record else _envelope
        return read(record, place, raw)
    except _LineError as error:
        return _rejected(raw, place, str(error))


_REASON: Final = 300


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Python keeps the last of several equal keys and forgets the others; which one was meant, nobody knows."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {safe(twice)[:100]!r} is there more than once")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"{text[:100]} is more than a number can be")
    return number


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite)
"""Made once: `json.loads` with hooks makes one for each line, which costs more than these hooks do."""


def _event(event: Mapping[str, Any], place: str, raw: bytes) -> Item:
    """A line in the git_events format."""
    kind = event["type"]
    if not isinstance(kind, str) or kind not in _STREAMS:
        raise _LineError(f"`type` should be one of {', '.join(_STREAMS)}")
    entity = _text(event, "name" if kind == "tag" else "sha")
    if kind == "revert":
        entity += ":" + _text(event, "reverted_sha_raw")
    seconds = event.get("tag_ts" if kind == "tag" else "commit_ts")
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        raise _LineError(f"`{'tag_ts' if kind == 'tag' else 'commit_ts'}` should be whole seconds since 1970")
    return Item("git", _STREAMS[kind], _origin(event, "repo"), entity, instant(seconds), event, place=place, raw=raw)


def _envelope(record: Mapping[str, Any], place: str, raw: bytes) -> Item:
    """A line in the general envelope."""
    payload = record.get("payload")
    if not isinstance(payload, dict):
        raise _LineError("`payload` should be an object")
    if not isinstance(deleted := record.get("deleted", False), bool):
        raise _LineError("`deleted` should be true or false")
    names = [_text(record, key) for key in ("source", "stream")]
    for name in names:
        if not _NAME.fullmatch(name):
            raise _LineError("`source` and `stream` should be letters, digits, _ and -")
    return Item(
        names[0], names[1], _origin(record, "origin"), _text(record, "id"), _time(record.get("updated_on")), payload,
        deleted=deleted, place=place, raw=raw,
    )  # fmt: skip


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value:
        raise _LineError(f"`{key}` should be a text")
    if len(value) > _ID_LENGTH:
        raise _LineError(f"`{key}` should be at most {_ID_LENGTH:,} characters")
    return value


def _origin(record: Mapping[str, Any], key: str) -> str:
    value = _text(record, key)
    if not _ORIGIN.fullmatch(value):
        raise _LineError(f"`{key}` should be at most 200 characters, without | and control characters")
    return value


def _time(value: Any) -> datetime:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return instant(value)
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise _LineError("`updated_on` should be ISO 8601 with a zone, or seconds since 1970") from None
    if at.tzinfo is None:
        raise _LineError("`updated_on` has no zone; write 2026-01-31T12:00:00Z or with an offset")
    try:
        return max(EARLIEST, min(at.astimezone(UTC), LATEST))
    except OverflowError:
        raise _LineError("`updated_on` lies outside of the years 1 to 9999") from None


_SALVAGE: Final = {
    "origin": re.compile(rb'"(?:repo|origin)"\s*:\s*"([^"\\]{1,800})"'),
    "stream": re.compile(rb'"(?:type|stream)"\s*:\s*"([^"\\]{1,60})"'),
    "time": re.compile(rb'"(?:commit_ts|tag_ts|updated_on)"\s*:\s*("[^"\\]{1,60}"|-?\d{1,12}(?=\s*[,}]))'),
}


def _rejected(raw: bytes, place: str, reason: str) -> Rejected:
    """Set a line aside; what is left of its origin, stream and time says which window it is missing from.

    Where it says two things, it may be two records that ran together: then it may be missing from any window.
    """
    origin, stream, time = (_only(pattern, raw) for pattern in _SALVAGE.values())
    updated_on = None
    if time:
        try:
            updated_on = _time(time.strip('"') if time.startswith('"') else int(time))
        except _LineError:
            updated_on = None
    return Rejected(
        place, reason, raw,
        origin=origin if origin and _ORIGIN.fullmatch(origin) else None,
        stream=_STREAMS.get(stream, stream) if stream and _NAME.fullmatch(stream) else None,
        updated_on=updated_on,
    )  # fmt: skip


def _only(pattern: re.Pattern[bytes], raw: bytes) -> str | None:
    """What all matches say, None if there is none or they differ."""
    first = pattern.search(raw)
    if first is None or any(other[1] != first[1] for other in pattern.finditer(raw, first.end())):
        return None
    return first[1].decode("utf-8", "replace")


def _extend(spans: dict[tuple[str, str], _Span], item: Item, now: datetime) -> None:
    """A date that lies in the future is broken, and proves nothing about the time until then."""
    at = min(item.updated_on, now)
    span = spans.setdefault((item.source, item.origin), _Span(at, EARLIEST, 0, set()))
    span.first = min(span.first, at)
    span.last = span.last if item.updated_on > now else max(span.last, at)
    span.items += 1
    span.streams.add(item.stream)


def _coverages(spans: Mapping[tuple[str, str], _Span], now: datetime) -> tuple[Coverage, ...]:
    return tuple(
        Coverage(
            source, origin,
            tuple(sorted({*span.streams, *(_STREAMS.values() if source == "git" else ())})),
            start=span.first.replace(hour=0, minute=0, second=0, microsecond=0),
            end=min(now, span.end or _end_of_day(span.last)),
            evidence={"items": span.items},
        )
        for (source, origin), span in sorted(spans.items())
    )  # fmt: skip


def _end_of_day(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _spans_document(spans: Mapping[tuple[str, str], _Span]) -> list[dict[str, Any]]:
    return [
        {"source": source, "origin": origin, "first": span.first, "last": span.last, "end": span.end,
         "items": span.items, "streams": sorted(span.streams)}
        for (source, origin), span in sorted(spans.items())
    ]  # fmt: skip


def _spans_of(cursor: Cursor) -> dict[tuple[str, str], _Span]:
    return {
        (one["source"], one["origin"]): _Span(one["first"], one["last"], one["items"], set(one["streams"]), one["end"])
        for one in cursor["spans"]
    }
