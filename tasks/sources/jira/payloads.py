"""From an issue as Jira gives it to an item. Pure.

Comments, work logs and attachments are not fetched. Dropped are `expand`, and `lastViewed`, which is about whoever
looks. The history is kept in the order of time, without the numbers of its pages. In it people appear as texts: they
are hidden too, as far as the field is one of people or the text names somebody whom the issue shows as a person.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from tasks.sources.contract import Item, Rejected
from tasks.sources.git_payloads import pseudonym
from tasks.sources.people import hidden, written

KIND, STREAM = "jira", "issues"
_PEOPLE: Final = frozenset(("assignee", "reporter", "creator"))
_VALUES: Final = ("from", "fromString", "to", "toString")
_TEMPORARY: Final = ("tmpFromAccountId", "tmpToAccountId")
_NAMES: Final = ("accountId", "emailAddress", "name", "key", "displayName")
_NUMBER: Final = re.compile("[0-9]{1,18}")


class ShapeError(ValueError):
    """A record is no issue; the text says why."""


def number_of(record: Any) -> str:
    """The id of an issue. Raises ShapeError."""
    if not isinstance(record, Mapping):
        raise ShapeError("it is no object")
    number = record.get("id")
    if not isinstance(number, str) or not _NUMBER.fullmatch(number):
        raise ShapeError("it has no id")
    return number


def updated_on(record: Any) -> datetime:
    """When it took its present state, UTC. Raises ShapeError."""
    fields = record.get("fields") if isinstance(record, Mapping) else None
    told = fields.get("updated") if isinstance(fields, Mapping) else None
    try:
        at = datetime.fromisoformat(told) if isinstance(told, str) else None
        if at is not None and at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ShapeError("it has no date of its last update")


def item(record: Mapping[str, Any], origin: str, at: datetime, key: bytes | None) -> Item:
    """Its item; `record` has its whole history. key: of the pseudonyms, None to leave people as they are."""
    raw = {name: value for name, value in record.items() if name not in ("expand", "changelog")}
    if isinstance(fields := raw.get("fields"), Mapping):
        raw["fields"] = {name: value for name, value in fields.items() if name != "lastViewed"}
    told = histories(record)
    raw["changelog"] = {"histories": sorted(told, key=_by_time)}
    if key is not None:
        raw["changelog"] = _hidden_history(raw["changelog"], frozenset(_names(record)), key)
    number = number_of(record)
    return Item(KIND, STREAM, origin, number, at, {"issue": hidden(raw, key)}, place=f"issue {number}")


def tombstone(number: str, origin: str, at: datetime, why: str) -> Item:
    """That the issue is no longer one of the origin; why: "deleted", "moved" or "unmatched"."""
    payload = {"issue": {"id": number}, "gone": why}
    return Item(KIND, STREAM, origin, number, at, payload, deleted=True, place=f"issue {number}")


def rejected(record: Any, origin: str, why: str, key: bytes | None) -> Rejected:
    """What cannot be read; its day, where that can be told. The place is that of the item, once it can be."""
    try:
        at = updated_on(record)
    except ShapeError:
        at = None
    named = record if isinstance(record, Mapping) else {}
    name = next((one for one in (named.get("id"), named.get("key")) if isinstance(one, str)), None)
    place = f"issue {name}" if name else "an issue"
    return Rejected(place, why, written(record, key), origin, STREAM, at)


def histories(record: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """What of its history is with the issue."""
    told = record.get("changelog")
    found = told.get("histories") if isinstance(told, Mapping) else None
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def is_whole(record: Mapping[str, Any]) -> bool:
    """Whether all of its history is with the issue, by Jira's own total."""
    told = record.get("changelog")
    total = told.get("total") if isinstance(told, Mapping) else None
    return isinstance(total, int) and len(histories(record)) >= total


def _by_time(one: Mapping[str, Any]) -> tuple[int, str]:
    number = str(one.get("id", ""))
    return (int(number) if _NUMBER.fullmatch(number) else 0, json.dumps(one, sort_keys=True, default=str))


def _hidden_history(changelog: Mapping[str, Any], names: frozenset[str], key: bytes) -> dict[str, Any]:
    return {
        "histories": [
            {**one, "items": [_hidden_change(change, names, key) for change in one["items"]]}
            if isinstance(one.get("items"), list)
            else one
            for one in changelog["histories"]
        ]
    }


def _hidden_change(change: Any, names: frozenset[str], key: bytes) -> Any:
    if not isinstance(change, Mapping):
        return change
    field = change.get("fieldId") or change.get("field")
    of_people = field in _PEOPLE or any(name in change for name in _TEMPORARY)
    return {
        name: pseudonym(value.encode("utf-8", "replace"), key)
        if isinstance(value, str) and value and _is_person(name, value, names, of_people=of_people)
        else value
        for name, value in change.items()
    }


def _is_person(name: str, value: str, names: frozenset[str], *, of_people: bool) -> bool:
    return name in _TEMPORARY or (name in _VALUES and (of_people or value in names))


def _names(value: Any) -> Iterator[str]:
    """What the people of an issue are called in it."""
    if isinstance(value, Mapping):
        if "accountId" in value or ("displayName" in value and "avatarUrls" in value):
            yield from (value[name] for name in _NAMES if isinstance(value.get(name), str) and value[name])
        else:
            for one in value.values():
                yield from _names(one)
    elif isinstance(value, list):
        for one in value:
            yield from _names(one)
