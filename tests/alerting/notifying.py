"""What the tests of the notifier share: reports to fold, settings that point at the stand-in, and one that runs."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

from alerting.incidents import Facts, Incident, Key, Kind, Report
from alerting.notifier import Notifier
from alerting.standin.server import StandIn
from alerting.standin.workspace import Message
from alerting.store import Store
from config import mongo, schema, settings
from quality.findings import Severity

DAY = date(2026, 11, 1)
CHANNEL = "#data-quality"
T = TypeVar("T")


class Clock:
    """The time of day, and more if it was advanced."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def advance(self, **by: float) -> None:
        self.ahead += timedelta(**by)


def key(scope: str = "acme/api", dataset: str = "silver.changes", check: str = "no_nulls") -> Key:
    return Key(dataset, scope, check)


def report(about: Key, at: datetime, *, failed: bool = True, observed: str = "7 of 9", **fields: Any) -> Report:
    """One finding on DAY, critical unless told otherwise."""
    facts = Facts(f"{about.check} fails in {about.scope}", expected="0", observed=observed if failed else "")
    kept: dict[str, Any] = {"kind": Kind.FINDING, "window": DAY, "severity": Severity.CRITICAL, "facts": facts}
    return Report(about, at, failed=failed, **{**kept, **fields})


def configured(standin: StandIn, **more: Any) -> settings.Settings:
    """Settings of this test's database and the stand-in, with a short lease; `more`: sections of settings."""
    loaded = settings.load()
    update: dict[str, Any] = {"slack": standin.settings(timeout=2.0)}
    notifier = {"lease_seconds": 3.0, **more.pop("notifier", {})}
    update["notifier"] = loaded.notifier.model_copy(update=notifier)
    return loaded.model_copy(update={**update, **more})


def routed(*channels: str) -> tuple[settings.Route, ...]:
    """A route for each channel: the scopes that begin with its name."""
    return tuple(settings.Route(scope=f"{channel.removeprefix('#')}/*", channel=channel) for channel in channels)


def store_of(told: settings.Settings) -> Store:
    return Store.of(mongo.database(told), told)


@contextmanager
def running(told: settings.Settings, clock: Callable[[], datetime], **attributes: Any) -> Iterator[Notifier]:
    """A notifier in a thread, until the end of the block; raises what ended it before."""
    mongo.database(told)  # connected here, as two threads would connect twice
    notifier, stop, failed = Notifier(told, clock=clock), threading.Event(), list[BaseException]()
    for name, value in attributes.items():
        setattr(notifier, name, value)

    def work() -> None:
        try:
            notifier.run(stop)
        except BaseException as error:  # noqa: BLE001 - raised below
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield notifier
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
        if failed:
            raise failed[0]


def eventually(predicate: Callable[[], T], seconds: float = 30.0) -> T:
    """What `predicate` returns as soon as that is true."""
    until = time.monotonic() + seconds
    while not (found := predicate()):
        assert time.monotonic() < until, f"not within {seconds:g} s"
        time.sleep(0.005)
    return found


def leads(told: settings.Settings) -> bool:
    """Whether a notifier is the leader."""
    kept = mongo.database(told)[schema.META].find_one({"_id": "notifier"})
    return kept is not None and kept.get("owner") is not None


def part(message: Message) -> tuple[str, int, str]:
    """Of which incident it is, of which revision, and which part."""
    carried: Mapping[str, Any] = (message.metadata or {})["event_payload"]
    return carried["incident"], carried["revision"], carried["part"]


def of(slack: StandIn, incident: Incident | str, kind: str = "root") -> list[Message]:
    """The messages of an incident."""
    name = incident if isinstance(incident, str) else incident.id
    return [one for one in slack.messages if part(one)[0] == name and part(one)[2].startswith(kind)]


def is_told(message: Message, incident: Incident) -> bool:
    """Whether `message` shows the incident as it is."""
    return part(message)[:2] == (incident.id, incident.revision)


def forget(slack: StandIn) -> None:
    """As if nothing had ever been posted: storms and digests have the same ids in each case."""
    slack.workspace.messages.clear()
    for channel in slack.workspace.channels.values():
        for kept in (channel.shown, channel.replies, channel.by_ts):
            kept.clear()


def scope() -> str:
    return f"acme/{secrets.token_hex(4)}"
