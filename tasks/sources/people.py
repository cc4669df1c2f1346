"""People in payloads become keyed hashes before anything is stored. Pure.

A person is told by the shape of the object: GitHub's have a login, Jira's an accountId or (Data Center) a name beside a
displayName, those of commits a name and an e-mail address, Jenkins' a fullName beside an absoluteUrl. The hash of an
e-mail address is that of the `git` source. Free text (titles, descriptions, messages) is left as it is.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from tasks.sources.git_payloads import pseudonym

_KEPT: Final = ("type", "accountType", "active", "date")
"""What of a person's object says nothing about who it is."""
_IDENTITY: Final = ("accountId", "login", "email", "emailAddress", "name", "key", "fullName", "displayName")
"""By what two objects are of one person, best first."""
_NAMES: Final = ("id", "key", "number")
"""What an entity is called by its source."""
_TEXTS: Final = frozenset(("authorEmail", "emailAddress", "userId", "userName", "author_name", "committer_name"))
"""Fields that hold a person as a text."""


def hidden(payload: Any, key: bytes | None) -> Any:
    """`payload` with each person replaced by {"person": 32 hex digits, ...}; unchanged without `key`.

    Raises ValueError for a payload that is nested so deeply that it cannot be walked.
    """
    if key is None:
        return payload
    try:
        return _walk(payload, lambda text: pseudonym(text.encode("utf-8", "replace"), key))
    except RecursionError:
        raise ValueError("it is nested too deeply to look for people in it") from None


def written(record: Any, key: bytes | None) -> bytes:
    """`hidden(record, key)` as JSON, for what is set aside. Of what is nested too deeply only its name."""
    try:
        told = json.dumps(hidden(record, key), ensure_ascii=False)
    except (ValueError, RecursionError):
        shallow = record if isinstance(record, Mapping) else {}
        told = json.dumps({name: one for name, one in shallow.items() if name in _NAMES}, ensure_ascii=False)
    return told.encode("utf-8", "surrogatepass")


def _walk(value: Any, name: Callable[[str], str]) -> Any:
    if isinstance(value, Mapping):
        if _is_person(value):
            who = next(str(value[field]) for field in _IDENTITY if value.get(field))
            return {"person": name(who), **{field: value[field] for field in _KEPT if field in value}}
        return {
            field: name(one) if field in _TEXTS and isinstance(one, str) and one else _walk(one, name)
            for field, one in value.items()
        }
    return [_walk(one, name) for one in value] if isinstance(value, list) else value


def _is_person(value: Mapping[str, Any]) -> bool:
    """Whether the object says who somebody is; one that says nothing is none."""
    shaped = (
        "login" in value
        or "accountId" in value
        or "emailAddress" in value
        or ("displayName" in value and ("name" in value or "key" in value) and "avatarUrls" in value)
        or ("email" in value and "name" in value)
        or ("fullName" in value and "absoluteUrl" in value)
    )
    return shaped and any(value.get(field) for field in _IDENTITY)
