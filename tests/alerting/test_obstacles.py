"""What stands in the way of one message keeps neither that one from being told, nor the others."""

import time
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from alerting import delivery as deliveries
from alerting import folding, storms
from alerting.incidents import Incident, Kind
from alerting.notifier import Notifier, Outcome
from alerting.pace import Pace
from alerting.slack.blocks import Payload, root
from alerting.standin import faults
from alerting.standin.faults import Call, Fault
from alerting.standin.server import StandIn
from alerting.store import Store
from config import mongo, settings
from config.settings import Route
from quality.findings import Severity
from tests.alerting.notifying import Clock, is_told, key, of, part, report, running

WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL


def once(told: settings.Settings, clock: Clock) -> Outcome:
    notifier = Notifier(told, clock=clock)
    notifier.pace = Pace(0.01)
    return notifier.once()


def fold(store: Store, clock: Clock, severity: Severity = WARNING, scope: str = "acme/api", **more: Any) -> Incident:
    [incident] = store.fold([report(key(scope), clock(), severity=severity, **more)], clock())
    return incident


def troubled(store: Store) -> list[str]:
    return [one.key.scope for one in store.listed({}) if one.kind is Kind.DELIVERY]


def test_what_was_told_in_a_channel_that_is_archived_is_told_where_it_is_routed_now(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    incident = fold(store, clock)
    once(told, clock)
    slack.workspace.channel("#data-quality").archived = True
    moved = told.model_copy(update={"routes": (Route(channel="#alerts", mention=("U012AB3CD",)),)})
    fold(store, clock, CRITICAL, observed="9 of 9")
    assert once(moved, clock) == Outcome(told=1)
    old, new = of(slack, incident)
    assert (slack.name_of(old.channel), slack.name_of(new.channel)) == ("#data-quality", "#alerts")
    assert "U012AB3CD" in str(new.blocks), "nobody hears of it in its thread"
    assert troubled(store) == []
    incident = fold(store, clock, failed=False)
    once(moved, clock)
    assert is_told(new, incident)


def test_a_channel_that_is_archived_and_still_configured_is_to_blame(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    fold(store, clock)
    once(told, clock)
    slack.workspace.channel("#data-quality").archived = True
    fold(store, clock, CRITICAL, observed="9 of 9")
    assert once(told, clock).told == 0
    assert troubled(store) == ["#data-quality"]


def test_an_incident_that_fails_again_and_again_lets_the_others_go_first(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    fails = [True]

    def decide(call: Call) -> Fault | None:
        is_poison = call.method == "chat.postMessage" and "acme/poison" in str(call.arguments)
        return faults.server_error(500) if is_poison and fails[0] else None

    slack.decide = decide
    poison = fold(store, clock, CRITICAL, "acme/poison")
    others = [fold(store, clock, CRITICAL, f"acme/{n}") for n in range(3)]
    with running(told, clock, pace=Pace(0.01)):
        for one in others:
            slack.wait_for(partial(of, slack, one))
        fails[0] = False
        slack.wait_for(lambda: of(slack, poison))
    assert len(slack.messages) == 4


LOCKED = "restricted_action_thread_locked"


def test_a_locked_thread_is_no_trouble_of_its_channel(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    fold(store, clock)
    once(told, clock)
    slack.decide = lambda call: faults.refused(LOCKED) if call.arguments.get("thread_ts") else None
    incident = fold(store, clock, CRITICAL, observed="9 of 9")
    assert once(told, clock) == Outcome(told=1)
    assert once(told, clock) == Outcome()
    assert is_told(slack.messages[0], incident)
    assert troubled(store) == []


def test_a_message_made_smaller_still_mentions_whom_it_should(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    told = told.model_copy(update={"routes": (Route(channel="#alerts", mention=("here", "U012AB3CD")),)})
    for n in (1, 2):
        for _ in range(n):
            slack.fail("chat.postMessage", faults.refused("invalid_blocks"))
        fold(store, clock, CRITICAL, f"acme/{n}")
        once(told, clock)
    small, smallest = slack.messages
    assert "<!here> <@U012AB3CD>" in str(small.blocks)
    assert not smallest.blocks
    assert smallest.text.startswith("<!here> <@U012AB3CD> ")


def test_what_could_not_be_told_is_well_again_once_the_next_notifier_tells_it(
    told: settings.Settings, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = fold(store, clock)
    real = root

    def defective(one: Incident, *args: Any, **more: Any) -> Payload:
        if one.id == incident.id:
            raise KeyError("bug")
        return real(one, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(deliveries, "root", defective)
        once(told, clock)
    assert [one.key.scope for one in store.listed({"kind": str(Kind.DELIVERY)})] == [incident.id]
    clock.advance(minutes=6)
    once(told, clock)
    assert not store.listed({"kind": str(Kind.DELIVERY), "open": True})


def test_a_clock_behind_the_end_of_the_last_storm_neither_hides_incidents_nor_the_next_storm(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    clock.advance(hours=1)
    for n in range(told.notifier.storm + 1):
        fold(store, clock, scope=f"acme/{n}")
    once(told, clock)
    clock.advance(minutes=3)
    once(told, clock)
    [first] = store.listed({"kind": str(Kind.STORM)})
    assert first.resolved_at is not None
    clock.ahead = timedelta(0)
    late = [fold(store, clock, CRITICAL, f"late/{n}") for n in range(told.notifier.storm + 1)]
    once(told, clock)
    second, _ = store.listed({"kind": str(Kind.STORM)})
    assert {one.id for one in store.listed({"cause": second.id})} == {one.id for one in late}
    assert f"{len(late)} incidents at once" in store.find(second.id).facts.title
    [message] = of(slack, second)
    assert part(message)[1] == second.revision


def test_where_no_storm_can_be_opened_incidents_are_told_one_by_one(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storms, "current", lambda *_: None)
    late = [fold(store, clock, CRITICAL, f"late/{n}") for n in range(told.notifier.storm + 1)]
    once(told, clock)
    assert all(of(slack, one) for one in late)


def test_what_hangs_on_a_storm_of_days_ago_is_let_go_once_they_are_few(
    told: settings.Settings, store: Store, clock: Clock
) -> None:
    limit = told.notifier.storm
    found = [fold(store, clock, scope=f"acme/{n}") for n in range(limit + 3)]
    once(told, clock)
    clock.advance(days=3)
    once(told, clock)
    [storm] = store.listed({"kind": str(Kind.STORM)})
    assert (storm.resolved_at is not None, len(store.listed({"cause": storm.id, "open": True}))) == (True, limit + 3)
    clock.advance(days=3)
    for one in found[:3]:
        store.fold([report(one.key, clock(), failed=False)], clock())
    storms.tend(store, mongo.database(told), limit, clock())
    assert not store.listed({"cause": storm.id, "open": True})


def test_a_warning_in_a_digest_that_has_a_message_of_its_own_leaves_it(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    told = told.model_copy(update={"routes": (Route(channel="#warnings", digest="09:00"),)})
    clock.ahead = timedelta(days=1) - timedelta(seconds=time.time() % 86400) + timedelta(hours=6)
    fold(store, clock, CRITICAL)
    once(told, clock)
    clock.advance(minutes=20)
    fold(store, clock, failed=False)
    once(told, clock)
    clock.advance(minutes=20)
    incident = fold(store, clock, observed="1 of 9")
    clock.advance(hours=4)
    once(told, clock)
    held = store.find(incident.id)
    assert (held.cause or "").startswith("digest-")
    assert held.told is not None
    shown = replace(held, told=replace(held.told, state=held.state, revision=held.revision))
    store.change(incident.id, lambda _: shown, clock())
    clock.advance(hours=1)
    incident = fold(store, clock, observed="2 of 9")
    once(told, clock)
    assert store.find(incident.id).cause is None
    assert is_told(of(slack, incident)[0], incident)


def test_what_hangs_on_a_digest_that_is_over_waits_for_the_next_one(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    told = told.model_copy(update={"routes": (Route(channel="#warnings", digest="09:00"),)})
    incident = fold(store, clock)
    clock.advance(days=1)
    once(told, clock)
    until = clock() + timedelta(hours=36)
    store.change(incident.id, lambda one: folding.silence(one, until, "maria", clock(), "known"), clock())
    clock.advance(days=1)
    once(told, clock)
    assert store.find(incident.id).cause is None
    sent = len(slack.messages)
    clock.advance(days=1)
    once(told, clock)
    assert (store.find(incident.id).cause or "").startswith("digest-")
    assert len(slack.messages) == sent + 1
