"""How a payload is read: a value of the wrong shape is a RowError that names its path. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias

Payload: TypeAlias = Mapping[str, Any]
Fields: TypeAlias = dict[str, Any]
"""What a row has beside its head."""

PRODUCTION: Final = "PRODUCTION"
"""The environment of a build or run that is production by its name: it names none itself."""


class RowError(ValueError):
    """The payload lacks what the row needs. Carries the path and the value."""

    def __init__(self, path: str, value: Any, expected: str) -> None:
        super().__init__(f"{path} should be {expected}, is {type(value).__name__}")
        self.path = path
        self.value = value


def text(payload: Payload, path: str) -> str:
    """A text that must be there. Here `path` is a key, as wherever something must be there: most rows are read so."""
    value = payload.get(path)
    if not isinstance(value, str):
        raise RowError(path, value, "a text")
    return value


def text_or(payload: Payload, path: str, default: str = "") -> str:
    """A text; `default` where there is none, or null."""
    value = _at(payload, path)
    if value is None:
        return default
    if not isinstance(value, str):
        raise RowError(path, value, "a text")
    return value


def title(payload: Payload, path: str) -> str:
    """What something is called, "" if nothing: without the NULs that a form can bring in, and no screen shows."""
    return text_or(payload, path).replace("\0", "")


def texts(payload: Payload, path: str) -> list[str]:
    """A list of texts that must be there."""
    value = payload.get(path)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise RowError(path, value, "a list of texts")
    return value


def whole(payload: Payload, path: str, what: str = "a whole number") -> int:
    """A whole number that must be there."""
    value = payload.get(path)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RowError(path, value, what)
    return value


def seconds(payload: Payload, path: str) -> int:
    """Epoch seconds that must be there."""
    value = payload.get(path)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RowError(path, value, "whole seconds since 1970")
    return value


def moment(payload: Payload, path: str) -> int:
    """An ISO 8601 time with its offset that must be there, as whole epoch seconds."""
    value = _at(payload, path)
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        at = None
    if at is None or at.tzinfo is None:
        raise RowError(path, value, "a time with its offset")
    return int(at.timestamp() // 1)


def moment_or_none(payload: Payload, path: str) -> int | None:
    """The same; None where there is none, or null."""
    return None if _at(payload, path) is None else moment(payload, path)


def member(payload: Payload, path: str) -> Payload:
    """An object; an empty one where there is none, or null."""
    value = _at(payload, path)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise RowError(path, value, "an object")
    return value


def members(payload: Payload, path: str) -> list[Payload]:
    """A list of objects; empty where there is none, or null."""
    value = _at(payload, path)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise RowError(path, value, "a list of objects")
    return value


def names(payload: Payload, path: str) -> list[str]:
    """What the objects of a list are called, e.g. labels; GitHub has labels that are plain texts, too."""
    value = _at(payload, path)
    if value is None:
        return []
    if not isinstance(value, list):
        raise RowError(path, value, "a list")
    return list(_names(value, path))


def who(payload: Payload, path: str) -> str | None:
    """The pseudonym of a person, or the login where identities are kept; None where the account is gone."""
    person = member(payload, path)
    found = person.get("person") or person.get("login")
    return found if isinstance(found, str) else None


def _names(value: list[Any], path: str) -> Iterator[str]:
    for one in value:
        name = one.get("name") if isinstance(one, Mapping) else one
        if not isinstance(name, str):
            raise RowError(path, one, "something with a name")
        yield name


def _at(payload: Payload, path: str) -> Any:
    """What is at the dotted `path`; None where there is nothing."""
    if "." not in path:
        return payload.get(path)
    value: Any = payload
    for key in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value
