"""Routes: who hears of an incident, and when."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerting import routes
from alerting.incidents import Incident, State, Told
from alerting.reasons import Reason, notify_reason
from alerting.reports import Key, Kind
from alerting.routes import Destination, destination, wait_until
from config.settings import Settings, Slack
from quality.findings import Severity

BERLIN = "Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def incident(
    dataset: str = "gold.dora_daily",
    scope: str = "acme/api",
    severity: Severity = Severity.CRITICAL,
    kind: Kind = Kind.FINDING,
) -> Incident:
    return Incident("i-1", Key(dataset, scope, "rule"), kind, severity, State.OPEN, openings=(at("2026-03-10T00:00"),))


def told(one: Incident, state: State = State.OPEN) -> Incident:
    return replace(one, told=Told(1, state, one.severity, at("2026-03-10T00:00"), "C1", "1.0"))


def settings(*declared: dict[str, Any], teams: Any = (), channel: str | None = "#default") -> Settings:
    return Settings(routes=declared, teams=teams, slack=Slack(channel=channel))  # type: ignore[arg-type]


TEAMS = (
    {"name": "core", "scopes": ["acme/api", "acme/core-*"], "mention": ["S0CORE"]},
    {"name": "web", "scopes": ["acme/*"], "mention": ["S0WEB"]},
)
ROUTES = (
    {"dataset": "shop.*", "channel": "#shop"},
    {"team": "core", "severity": ["critical"], "channel": "#core", "mention": ["U0ANN", "S0CORE"]},
    {"dataset": "silver.changes", "scope": "acme/core-*", "channel": "#changes"},
    {"dataset": "tasks", "channel": "#ops", "mention": ["here"]},
    {"scope": "legacy/*", "severity": ["warning", "info"], "channel": "#legacy"},
)


@pytest.mark.parametrize(
    ("dataset", "scope", "severity", "channel", "mention"),
    [
        ("shop.orders", "EU", "critical", "#shop", ()),  # the start of names
        ("shopping", "EU", "critical", "#default", ()),
        ("gold.dora_daily", "acme/api", "critical", "#core", ("U0ANN", "S0CORE")),  # route, then team, each once
        ("gold.dora_daily", "acme/api", "warning", "#default", ("S0CORE",)),  # of another severity: the owner is told
        ("silver.changes", "acme/core-x", "critical", "#core", ("U0ANN", "S0CORE")),  # the first that fits
        ("silver.changes", "acme/core-x", "warning", "#changes", ("S0CORE",)),
        ("gold.dora_daily", "acme/web", "critical", "#default", ("S0WEB",)),
        ("tasks", "Unit code/acme-api", "critical", "#ops", ("here",)),
        ("notifier", "", "critical", "#default", ()),
        ("gold.dora_daily", "legacy/a", "info", "#legacy", ()),
        ("gold.dora_daily", "legacy/a", "critical", "#default", ()),
        ("gold.dora_daily", "*", "critical", "#default", ()),  # a star in a name is a letter like others
    ],
)
def test_the_first_route_that_fits_decides(
    dataset: str, scope: str, severity: str, channel: str, mention: tuple[str, ...]
) -> None:
    to = destination(incident(dataset, scope, Severity(severity)), settings(*ROUTES, teams=TEAMS))
    assert to == Destination(channel, mention)


def test_without_a_channel_there_is_nobody_to_tell() -> None:
    assert destination(incident(), settings({"dataset": "shop.*", "channel": "#shop"}, channel=None)) is None


@pytest.mark.parametrize("kind", [Kind.STORM, Kind.DIGEST])
def test_a_storm_or_digest_is_told_in_its_own_channel_at_once(kind: Kind) -> None:
    catching = {"channel": "#all", "quiet": "00:00-23:59", "digest": "09:00", "mention": ["here"]}
    group = incident("notifier", "#core", Severity.WARNING, kind)
    to = destination(group, settings(catching))
    assert to == Destination("#core")
    assert to is not None
    assert wait_until(group, Reason.OPENED, to, at("2026-03-10T03:00")) is None


def test_the_destination_tells_when_to_be_quiet() -> None:
    declared = {"channel": "#core", "quiet": "22:00-07:00", "digest": "09:00", "timezone": BERLIN}
    assert destination(incident(), settings(declared)) == Destination("#core", (), "22:00-07:00", "09:00", BERLIN)


@pytest.mark.parametrize(
    ("hours", "zone", "now", "until"),
    [
        ("22:00-07:00", "UTC", "2026-03-10T21:59:59", None),
        ("22:00-07:00", "UTC", "2026-03-10T22:00:00", "2026-03-11T07:00"),  # over midnight
        ("22:00-07:00", "UTC", "2026-03-11T06:59:59", "2026-03-11T07:00"),
        ("22:00-07:00", "UTC", "2026-03-11T07:00:00", None),
        ("12:00-13:30", "UTC", "2026-03-10T12:30", "2026-03-10T13:30"),
        ("12:00-13:30", "UTC", "2026-03-10T23:30", None),
        ("22:00-07:00", BERLIN, "2026-03-10T21:00", "2026-03-11T06:00"),
        ("22:00-07:00", BERLIN, "2026-03-28T22:00", "2026-03-29T05:00"),  # summer time begins in that night
        ("22:00-07:00", BERLIN, "2026-10-24T22:00", "2026-10-25T06:00"),  # and ends
        ("22:00-02:30", BERLIN, "2026-03-29T00:30", "2026-03-29T01:00"),  # 02:30 is skipped: until the clocks jump
        ("22:00-02:30", BERLIN, "2026-10-25T01:10", None),  # the second 02:10: it was 02:30 before
        ("22:00-02:30", BERLIN, "2026-10-25T00:20", "2026-10-25T00:30"),
        ("20:00-08:00", "Asia/Kathmandu", "2026-03-10T14:15", "2026-03-11T02:15"),
    ],
)
def test_quiet_hours(hours: str, zone: str, now: str, until: str | None) -> None:
    warning = incident(severity=Severity.WARNING)
    to = Destination("#core", quiet=hours, timezone=zone)
    assert wait_until(warning, Reason.OPENED, to, at(now)) == (at(until) if until else None)


@pytest.mark.parametrize("zone", [BERLIN, "Australia/Lord_Howe", "America/New_York", "Pacific/Apia"])
def test_quiet_hours_end_once_and_for_as_long_as_they_are_not(zone: str) -> None:
    """Through a year: what waits is told at the end of the quiet hours, at which it is not quiet."""
    for n in range(365 * 8):
        now = at("2025-07-01T00:00") + n * timedelta(hours=3)
        until = routes.quiet_until("22:00-02:30", zone, now)
        if until is not None:
            assert now < until <= now + timedelta(hours=6)
            assert routes.quiet_until("22:00-02:30", zone, until) is None


QUIET = Destination("#core", quiet="22:00-07:00")
NIGHT, MORNING = at("2026-03-10T03:00"), at("2026-03-10T07:00")


@pytest.mark.parametrize(
    ("severity", "reason", "until"),
    [
        ("critical", Reason.OPENED, None),
        ("critical", Reason.WORSENED, None),
        ("critical", Reason.REOPENED, None),
        ("critical", Reason.CHANGED, MORNING),
        ("critical", Reason.REMINDER, MORNING),
        ("critical", Reason.RESOLVED, None),
        ("warning", Reason.OPENED, MORNING),
        ("warning", Reason.REOPENED, MORNING),
        ("warning", Reason.CHANGED, MORNING),
        ("warning", Reason.RESOLVED, None),
        ("info", Reason.OPENED, MORNING),
    ],
)
def test_what_waits_for_the_morning(severity: str, reason: Reason, until: datetime | None) -> None:
    assert wait_until(told(incident(severity=Severity(severity))), reason, QUIET, NIGHT) == until


@pytest.mark.parametrize(
    ("one", "reason", "waits"),
    [
        (incident(severity=Severity.WARNING), Reason.OPENED, True),
        (incident(severity=Severity.INFO), Reason.OPENED, True),
        (incident(severity=Severity.CRITICAL), Reason.OPENED, False),
        (told(incident(severity=Severity.WARNING), State.RESOLVED), Reason.REOPENED, True),
        (told(incident(severity=Severity.WARNING)), Reason.CHANGED, False),  # its message is there: no digest tells it
        (told(incident(severity=Severity.WARNING)), Reason.RESOLVED, False),
    ],
)
def test_what_waits_for_the_digest(one: Incident, reason: Reason, *, waits: bool) -> None:
    to = Destination("#core", digest="09:00", timezone=BERLIN)
    until = wait_until(one, reason, to, at("2026-03-10T07:59"))
    assert until == (at("2026-03-10T08:00") if waits else None)
    assert routes.waits_for_digest(one) or not waits


def test_at_the_digest_time_what_is_new_waits_for_the_next_day() -> None:
    to = Destination("#core", digest="09:00", timezone=BERLIN)
    warning = incident(severity=Severity.WARNING)
    assert wait_until(warning, Reason.OPENED, to, at("2026-03-28T08:00")) == at("2026-03-29T07:00")


def test_digest_times_are_one_a_day_by_the_local_clock() -> None:
    """Through both changes of clocks, also where the time is skipped or comes twice."""
    now, last = at("2026-03-01T12:00"), None
    while now < at("2026-11-15T00:00"):
        day, moment = routes.last_digest("02:30", BERLIN, now)
        assert moment <= now < routes.next_digest("02:30", BERLIN, now)
        assert last is None or day - last in (timedelta(0), timedelta(days=1))
        now, last = now + timedelta(hours=5), day
        assert routes.last_digest("02:30", BERLIN, moment) == (day, moment)


def test_yesterdays_digest_ends_without_a_word() -> None:
    over = replace(told(incident("notifier", "#core", Severity.WARNING, Kind.DIGEST)), state=State.RESOLVED)
    assert notify_reason(over, NIGHT) is Reason.NONE
    other = replace(told(incident()), state=State.RESOLVED)
    assert notify_reason(other, NIGHT) is Reason.RESOLVED
