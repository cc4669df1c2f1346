"""What Jenkins says of a build becomes an item. Pure.

Raw, through `people.hidden`, but for: `shortDescription` of causes that name a user (it names them in a text),
`estimatedDuration` and `keepLog` (they change without the build), actions that say nothing but their class, and
`_links` of stages. What cannot be read as a build is kept likewise: its `raw` is what is left once people are hidden.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeGuard

from tasks.sources.contract import Item, Rejected, instant
from tasks.sources.jenkins.api import number
from tasks.sources.people import hidden

KIND: Final = "jenkins"
STREAM: Final = "builds"

_DROPPED: Final = frozenset(("estimatedDuration", "keepLog"))
_NAMING: Final = frozenset(("userId", "userName"))


@dataclass(frozen=True, slots=True)
class About:
    """The job that builds are of."""

    origin: str
    """Its full name as it is configured, or as it was found."""
    full_name: str
    name: str
    kind: str
    """Its class in Jenkins."""

    @property
    def is_pipeline(self) -> bool:
        """Whether its builds may have stages."""
        return "workflow" in self.kind

    @property
    def payload(self) -> dict[str, str]:
        """As it is kept with each build."""
        return {"fullName": self.full_name, "name": self.name, "_class": self.kind}


def item(
    about: About,
    build: Mapping[str, Any],
    stages: Sequence[Any] | None,
    key: bytes | None,
    *,
    observed: datetime | None = None,
) -> Item:
    """The item of a readable build. observed: the state was seen then, and no time of its own tells it from others."""
    kept = {name: value for name, value in build.items() if name not in _DROPPED}
    if isinstance(actions := kept.get("actions"), list):
        kept["actions"] = [_without_names(one) for one in actions if _says_something(one)]
    payload: dict[str, Any] = {"job": about.payload, "build": kept}
    if stages is not None:
        payload["stages"] = [_stage(one) for one in stages]
    own = _updated_on(build)
    updated_on = own if observed is None else max(own, observed)
    raw = hidden(payload, key)
    return Item(KIND, STREAM, about.origin, str(build["number"]), updated_on, raw, place=_place(about, build["number"]))


def tombstone(about: About, gone: int, now: datetime) -> Item:
    """Build number `gone` was deleted; seen now."""
    payload = {"job": about.payload, "build": {"number": gone}, "deleted": True}
    return Item(KIND, STREAM, about.origin, str(gone), now, payload, deleted=True)


def is_readable(build: Any) -> bool:
    """Whether it has a number and a time."""
    return (
        isinstance(build, Mapping)
        and number(build.get("number")) is not None
        and is_time(build.get("timestamp"))
        and (build.get("building") is True or is_time(build.get("duration", 0)))
    )


def is_time(value: Any) -> TypeGuard[int]:
    """Whether it is a number of milliseconds."""
    return isinstance(value, int) and not isinstance(value, bool)


def unreadable(about: About, wanted: int, build: Any, key: bytes | None, at: datetime | None) -> Rejected:
    """Build number `wanted`, which cannot be read: as Jenkins gave it, with people hidden. at: when it ended."""
    reason = "a build without a number, or without times that are numbers"
    try:
        kept = build if key is None else hidden(_without_names(build), key)
        raw = json.dumps(kept, ensure_ascii=False).encode("utf-8", "backslashreplace")
    except (ValueError, RecursionError):
        reason = "a build that is nested too deeply"
        raw = json.dumps({"number": wanted}).encode()
    return Rejected(_place(about, wanted), reason, raw, about.origin, STREAM, at)


def ended_ms(timestamp: int, duration: int) -> int:
    """When a build was finished: always after it began, so that a finished build is newer than the same one running."""
    return timestamp + max(duration, 1)


def moment(milliseconds: int) -> datetime:
    """As an aware datetime, to the millisecond."""
    whole = instant(milliseconds // 1000)
    return whole.astimezone(UTC) + timedelta(milliseconds=milliseconds % 1000)


def _updated_on(build: Mapping[str, Any]) -> datetime:
    if build.get("building") is True:
        return moment(build["timestamp"])
    return moment(ended_ms(build["timestamp"], build.get("duration", 0)))


def _place(about: About, named: int) -> str:
    return f"{about.origin} #{named}"


def _says_something(action: Any) -> bool:
    return not isinstance(action, Mapping) or bool(action.keys() - {"_class"})


def _without_names(value: Any) -> Any:
    """Without the texts that repeat the name of the user beside them; causes may have causes."""
    if isinstance(value, Mapping):
        left_out = {"shortDescription"} if _NAMING & value.keys() else frozenset[str]()
        return {name: _without_names(one) for name, one in value.items() if name not in left_out}
    return [_without_names(one) for one in value] if isinstance(value, list) else value


def _stage(stage: Any) -> Any:
    return {name: value for name, value in stage.items() if name != "_links"} if isinstance(stage, Mapping) else stage
