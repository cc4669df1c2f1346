"""What a leader does that follows one which said no goodbye: it looks, it does not talk; and what it tells it marks."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from alerting import folding, troubles
from alerting.delivery import Delivery
from alerting.incidents import Incident, State
from alerting.leader import NAME, Leader
from alerting.notifier import Notifier, Outcome
from alerting.pace import Pace
from alerting.reasons import Reason
from alerting.slack import blocks
from alerting.slack import client as clients
from alerting.slack.client import Client, Posted
from alerting.standin import faults
from alerting.standin.faults import Call, Fault
from alerting.standin.server import StandIn
from alerting.store import Store
from config import mongo, schema, settings
from config.settings import Route
from quality.findings import Severity
from tests.alerting.notifying import (
    CHANNEL,
    Clock,
    configured,
    eventually,
    is_told,
    key,
    of,
    part,
    report,
    routed,
    running,
)  # fmt: skip

LONG = timedelta(seconds=60)
WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL


def once(told: settings.Settings, clock: Clock) -> Outcome:
    notifier = Notifier(told, clock=clock)
    notifier.pace = Pace(0.01)
    return notifier.once()


def crash(told: settings.Settings) -> None:
    """As if the last leader had died a lease ago."""
    died = {"$set": {"owner": "dead:1:x", "lease_until": None}}
    mongo.database(told)[schema.META].update_one({"_id": NAME}, died, upsert=True)


def written(slack: StandIn) -> list[tuple[str, int]]:
    """All that was ever sent: what it says, and how often it was edited."""
    return [(one.text, len(one.versions)) for one in slack.messages]


def fold(store: Store, clock: Clock, severity: Severity = WARNING, scope: str = "acme/api", **more: Any) -> Incident:
    [incident] = store.fold([report(key(scope), clock(), severity=severity, **more)], clock())
    return incident


def silenced(store: Store, clock: Clock, incident: Incident) -> Incident:
    until = clock() + timedelta(days=9)
    return store.change(incident.id, lambda one: folding.silence(one, until, "maria", clock(), "known"), clock())


def test_what_is_silenced_stays_quiet_after_a_crash_and_is_no_doubt_of_the_next_one(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    incident = fold(store, clock)
    once(told, clock)
    silenced(store, clock, incident)
    once(told, clock)
    fold(store, clock, CRITICAL, observed="9 of 9")
    before = written(slack)
    crash(told)
    assert once(told, clock) == Outcome()
    assert written(slack) == before
    kept = mongo.database(told)[schema.META].find_one({"_id": NAME})
    assert kept is not None
    assert kept["owner"] is None, "it has looked, and is sure"


def test_what_is_attached_stays_quiet_after_a_crash(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    incident, cause = fold(store, clock), fold(store, clock, scope="acme/web")
    once(told, clock)
    store.change(incident.id, lambda one: folding.attach(one, cause.id), clock())
    fold(store, clock, WARNING, observed="8 of 9")
    before = written(slack)
    crash(told)
    assert once(told, clock).told == 0
    assert written(slack) == before


def test_the_digests_of_the_days_before_stay_as_they_are_after_a_crash(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    told = told.model_copy(update={"routes": (Route(channel="#warnings", digest="09:00"),)})
    fold(store, clock)
    for _ in range(4):
        clock.advance(days=1)
        once(told, clock)
    before = written(slack)
    assert len(before) == 4
    crash(told)
    once(told, clock)
    assert written(slack) == before
    assert not troubles.suspected(store, clock())


def test_a_message_that_was_edited_and_not_marked_is_known_to_show_that(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    """The leader showed the end, and died; it has been open again since, which nobody could know to tell."""
    fold(store, clock)
    once(told, clock)
    resolved = fold(store, clock, failed=False)
    [message] = slack.messages
    Client(told.slack).update(Posted(message.channel, message.ts), blocks.root(resolved, clock()))
    fold(store, clock, WARNING, observed="1 of 9")
    crash(told)
    once(told, clock)
    [incident] = store.listed()
    assert incident.told is not None
    assert incident.told.state is State.OPEN
    assert is_told(of(slack, incident)[0], incident)
    assert [part(one)[2] for one in slack.messages] == ["root", "reply"]
    assert "open again" in slack.messages[1].text


@pytest.fixture
def by_severity(told: settings.Settings) -> settings.Settings:
    return told.model_copy(
        update={"routes": (Route(severity=("critical",), channel="#alerts"), Route(channel="#warnings"))}
    )


def test_what_was_posted_before_a_crash_is_found_though_it_is_routed_elsewhere_by_now(
    by_severity: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    incident = fold(store, clock)
    Client(by_severity.slack).post("#warnings", blocks.root(incident, clock()))
    crash(by_severity)
    fold(store, clock, CRITICAL, observed="9 of 9")
    once(by_severity, clock)
    assert [slack.name_of(one.channel) for one in of(slack, incident)] == ["#warnings"]
    assert part(of(slack, incident)[0])[1] == 2


def test_what_may_have_arrived_is_held_until_its_channel_is_looked_at_though_it_is_routed_elsewhere(
    by_severity: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    fails = [True]

    def decide(call: Call) -> Fault | None:
        return faults.server_error(503) if call.method == "conversations.history" and fails[0] else None

    slack.fail("chat.postMessage", faults.dropped())
    slack.decide = decide
    with running(by_severity, clock, pace=Pace(0.02)):
        incident = fold(store, clock)
        slack.wait_for(lambda: of(slack, incident))
        eventually(lambda: slack.counts["conversations.history"])
        fold(store, clock, CRITICAL, observed="9 of 9")
        other = fold(store, clock, CRITICAL, scope="acme/web")
        slack.wait_for(lambda: of(slack, other))
        assert len(of(slack, incident)) == 1
        fails[0] = False
        slack.wait_for(lambda: part(of(slack, incident)[0])[1] == 2)
    assert [slack.name_of(one.channel) for one in of(slack, incident)] == ["#warnings"]


def test_what_was_never_due_is_not_looked_for(slack: StandIn, store: Store) -> None:
    told = configured(slack, routes=(Route(scope="acme/*", channel="#warnings", digest="09:00"), *routed("#alerts")))
    at = datetime.fromisoformat("2026-11-02T10:00:00+00:00")
    store.fold([report(key("acme/api"), at, severity=WARNING)], at)
    quiet = report(key("other/api"), at)
    until = at + timedelta(days=9)
    store.fold([quiet], at, lambda one: folding.silence(one, until, "maria", at, "known"))
    store.fold([report(key("other/web"), at)], at, lambda one: folding.attach(one, "0123456789-1"))
    assert troubles.doubted(store, told, at + timedelta(hours=1)) == {}
    [loud] = store.fold([report(key("other/loud"), at)], at)
    assert troubles.doubted(store, told, at + timedelta(hours=1)) == {CHANNEL: (at, {loud.id})}


def test_a_lease_made_anew_is_above_all_that_was_told_and_doubts(
    told: settings.Settings, store: Store, clock: Clock
) -> None:
    for n in range(3):
        fold(store, clock, scope=f"acme/{n}")
        once(told, clock)
    lease = mongo.database(told)[schema.META]
    lease.delete_one({"_id": NAME})
    leader = Leader(mongo.database(told), LONG)
    assert (leader.acquire(), leader.fence, leader.doubtful) == (True, 4, True)


def test_a_lease_that_was_restored_is_lifted_above_what_was_told_since(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    incident = fold(store, clock)
    for _ in range(5):
        once(told, clock)
    store.change(incident.id, lambda one: one, clock())
    mongo.database(told)[schema.INCIDENTS].update_one({"_id": incident.id}, {"$set": {"told.fence": 40}})
    fold(store, clock, CRITICAL, observed="9 of 9")
    for _ in range(3):
        once(told, clock)
    kept = store.find(incident.id)
    assert kept.told is not None
    assert (kept.told.fence, kept.told.revision) == (41, kept.revision)
    assert len(of(slack, incident, "reply")) == 1


def test_who_does_not_lead_any_more_cannot_lift_its_fence(told: settings.Settings, store: Store, clock: Clock) -> None:
    db = mongo.database(told)
    one, other = Leader(db, timedelta(0)), Leader(db, LONG)
    assert one.acquire()
    assert other.acquire()
    incident = fold(store, clock)
    late = Delivery(store, Client(told.slack), one.fence, lift=one.lift)
    assert Delivery(store, Client(told.slack), other.fence).deliver(incident, Reason.OPENED, CHANNEL, (), clock())
    seen = store.find(incident.id)
    assert seen.told is not None
    late.mark(incident.id, replace(seen.told, revision=0, fence=one.fence), clock())
    assert store.find(incident.id).told == seen.told
    assert (one.fence, other.fence) == (1, 2)


def test_a_history_of_many_pages_that_is_limited_in_the_middle_goes_on_where_it_was(
    told: settings.Settings, slack: StandIn, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "PAGE", 10)
    channel = slack.workspace.channel(CHANNEL)
    for _ in range(45):
        slack.workspace.add(channel, {"text": "people talk"})
    limited: list[str] = []

    def decide(call: Call) -> Fault | None:
        cursor = str(call.arguments.get("cursor") or "")
        if call.method != "conversations.history" or not cursor or cursor in limited:
            return None
        limited.append(cursor)
        return faults.limited(0)

    slack.decide = decide
    assert Client(told.slack).posted(CHANNEL, clock() - LONG) == {}
    assert len(limited) == 4
    assert slack.counts["conversations.history"] == 5 + 4
