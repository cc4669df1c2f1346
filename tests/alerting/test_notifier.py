"""The notifier as a whole, with a real MongoDB and a Slack that answers over HTTP, rightly and wrongly."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from alerting import delivery as deliveries
from alerting import folding, watchdog
from alerting.incidents import Incident, Key, Kind
from alerting.notifier import Notifier
from alerting.pace import Pace
from alerting.slack import blocks
from alerting.standin import faults
from alerting.standin.faults import Call, Fault
from alerting.standin.server import StandIn
from alerting.store import Store
from config import mongo, schema, settings
from quality.findings import Severity
from tests.alerting.notifying import (
    CHANNEL,
    Clock,
    configured,
    eventually,
    is_told,
    key,
    leads,
    of,
    part,
    report,
    routed,
    running,
    store_of,
)
from tests.tasks.test_crash import forked

QUICK = 0.05


@pytest.fixture
def told(database: str, slack: StandIn) -> settings.Settings:  # noqa: ARG001 - names the database
    return configured(slack, routes=routed("#alerts", "#warnings"))


@pytest.fixture
def notifier(told: settings.Settings, clock: Clock) -> Iterator[Notifier]:
    with running(told, clock, pace=Pace(QUICK)) as one:
        eventually(lambda: leads(told))
        yield one


def calm(store: Store, clock: Clock) -> None:
    """Wait until nothing is owed."""
    eventually(lambda: not store.owed(clock()))


@pytest.mark.usefixtures("notifier")
def test_an_incident_is_posted_once_and_soon_after_it_is_there(store: Store, slack: StandIn, clock: Clock) -> None:
    """Measured: 6 ms; a second leaves room for a machine that is busy with something else."""
    [incident] = store.fold([report(key(), clock())], clock())
    committed = time.time()
    [message] = slack.wait_for(lambda: of(slack, incident))
    assert message.arrived - committed < 1.0
    calm(store, clock)
    assert len(slack.messages) == 1


@pytest.mark.usefixtures("notifier")
def test_a_change_edits_the_message_and_adds_one_reply_and_its_end_both(
    store: Store, slack: StandIn, clock: Clock
) -> None:
    [incident] = store.fold([report(key(), clock(), severity=Severity.WARNING)], clock())
    slack.wait_for(lambda: of(slack, incident))
    for failed in (True, False):
        [incident] = store.fold([report(key(), clock(), failed=failed)], clock())
        slack.wait_for(partial(shows, slack, incident))
        calm(store, clock)
    assert [part(one)[1:] for one in slack.messages] == [(3, "root"), (2, "reply"), (3, "reply")]
    assert len(slack.messages[0].versions) == 2


@pytest.mark.usefixtures("notifier")
def test_nobody_hears_of_the_end_of_what_nobody_was_told_of(store: Store, slack: StandIn, clock: Clock) -> None:
    at = clock()
    store.fold([report(key(), at), report(key(), at + timedelta(seconds=1), failed=False)], clock())
    [incident] = store.fold([report(key("acme/web"), clock())], clock())
    slack.wait_for(lambda: of(slack, incident))
    calm(store, clock)
    assert len(slack.messages) == 1


@pytest.mark.usefixtures("notifier")
def test_what_people_do_with_an_incident_is_shown_at_once(store: Store, slack: StandIn, clock: Clock) -> None:
    [incident] = store.fold([report(key(), clock())], clock())
    slack.wait_for(lambda: of(slack, incident))
    calm(store, clock)
    incident = store.change(incident.id, lambda one: folding.acknowledge(one, "maria", clock(), "looking"), clock())
    slack.wait_for(lambda: is_told(of(slack, incident)[0], incident))
    assert "maria" in str(of(slack, incident)[0].blocks)
    calm(store, clock)
    until = clock() + timedelta(hours=2)
    incident = store.change(incident.id, lambda one: folding.silence(one, until, "maria", clock(), "known"), clock())
    slack.wait_for(lambda: is_told(of(slack, incident)[0], incident))
    assert len(of(slack, incident)) == 1


@pytest.mark.usefixtures("notifier")
def test_what_is_silenced_is_told_when_the_silence_is_over(store: Store, slack: StandIn, clock: Clock) -> None:
    """The clock goes on; nothing else happens."""
    until = clock() + timedelta(hours=2)
    [incident] = store.fold(
        [report(key(), clock())], clock(), lambda one: folding.silence(one, until, "maria", clock(), "known")
    )
    [other] = store.fold([report(key("acme/web"), clock())], clock())
    slack.wait_for(lambda: of(slack, other))
    assert not of(slack, incident)
    clock.advance(hours=3)
    slack.wait_for(lambda: of(slack, incident))


def test_an_effect_is_told_only_when_it_stands_by_itself(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    told = told.model_copy(update={"notifier": told.notifier.model_copy(update={"sweep_seconds": 0.1})})
    source = Key("bronze.git.commits", "acme/api", "receipt")
    with running(told, clock, pace=Pace(QUICK)):
        [cause] = store.fold([report(source, clock(), kind=Kind.RECEIPT, scopes=("acme/api",))], clock())
        slack.wait_for(lambda: of(slack, cause))
        [effect] = store.fold(
            [report(key(), clock(), scopes=("acme/api",))], clock(), lambda one: folding.attach(one, cause.id)
        )
        [other] = store.fold([report(key("acme/web"), clock())], clock())
        slack.wait_for(lambda: of(slack, other))
        assert not of(slack, effect)
        store.fold([report(source, clock(), kind=Kind.RECEIPT, failed=False)], clock())
        slack.wait_for(lambda: of(slack, effect))


@pytest.mark.usefixtures("notifier")
def test_each_incident_goes_where_its_route_points(store: Store, slack: StandIn, clock: Clock) -> None:
    scopes = {"#alerts": "alerts/a", "#warnings": "warnings/b", CHANNEL: "acme/c"}
    found = store.fold([report(key(scope), clock()) for scope in scopes.values()], clock())
    slack.wait_for(lambda: len(slack.messages) == 3)
    where = {one.key.scope: slack.name_of(of(slack, one)[0].channel) for one in found}
    assert where == {scope: channel for channel, scope in scopes.items()}


def test_without_a_channel_an_incident_is_kept_and_told_when_there_is_one(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    nowhere = told.model_copy(update={"slack": told.slack.model_copy(update={"channel": None})})
    [incident] = store.fold([report(key(), clock())], clock())
    assert Notifier(nowhere, clock=clock).once().told == 0
    assert not store.owed(clock())
    clock.advance(hours=2)
    assert Notifier(told, clock=clock).once().told == 1
    assert of(slack, incident)


def test_a_channel_that_is_told_to_wait_is_left_alone_for_as_long(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    """And only that one; the other one's message does not wait."""
    attempts: list[tuple[float, str]] = []

    def decide(call: Call) -> Fault | None:
        if call.method == "chat.postMessage":
            attempts.append((time.monotonic(), call.arguments["channel"]))
        is_first = sum(channel == "#alerts" for _, channel in attempts) == 1
        return faults.limited(2) if is_first and call.arguments.get("channel") == "#alerts" else None

    slack.decide = decide
    found = store.fold([report(key("alerts/a"), clock()), report(key("warnings/b"), clock())], clock())
    with running(told, clock, pace=Pace(QUICK)):
        slack.wait_for(lambda: len(slack.messages) == 2)
    tries = [at for at, channel in attempts if channel == "#alerts"]
    assert len(tries) == 2
    assert tries[1] - tries[0] >= 2.0
    other = next(one for one in found if one.key.scope == "warnings/b")
    assert of(slack, other)[0].ts < slack.messages[-1].ts


def test_one_message_arrives_in_the_end_however_often_the_attempts_fail(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    """Among others the first attempt arrives, and its answer does not."""
    spoilt = [faults.dropped(), faults.server_error(500), faults.reset(), faults.cut(), faults.login_page()]
    slack.fail("chat.postMessage", *spoilt)
    slack.fail("conversations.history", faults.server_error(503), faults.reset())
    [incident] = store.fold([report(key(), clock())], clock())
    with running(told, clock, pace=Pace(QUICK)):
        eventually(lambda: store.find(incident.id).told)
    assert len(slack.messages) == 1


def test_attempts_that_fail_come_at_ever_longer_pauses(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    attempts: list[float] = []

    def decide(call: Call) -> Fault | None:
        if call.method != "chat.postMessage":
            return None
        attempts.append(time.monotonic())
        return faults.refused("service_unavailable") if len(attempts) < 6 else None

    slack.decide = decide
    store.fold([report(key(), clock())], clock())
    with running(told, clock, pace=Pace(QUICK)):
        slack.wait_for(lambda: slack.messages)
    pauses = [later - one for one, later in pairwise(attempts)]
    assert all(pause >= QUICK * 2**n for n, pause in enumerate(pauses))


def test_a_channel_that_refuses_is_an_incident_of_its_own_until_it_takes_messages(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    """Told in the channel that is left."""
    missing = slack.workspace.channels.pop(slack.id_of("#alerts"))
    [incident] = store.fold([report(key("alerts/a"), clock())], clock())
    with running(told, clock, pace=Pace(QUICK)):
        slack.wait_for(lambda: slack.messages)
        [trouble] = store.listed({"kind": str(Kind.DELIVERY)})
        assert "#alerts" in trouble.facts.title
        assert slack.name_of(of(slack, trouble)[0].channel) == CHANNEL
        slack.workspace.channels[missing.id] = missing
        clock.advance(minutes=6)
        slack.wait_for(lambda: of(slack, incident))
        slack.wait_for(lambda: is_told(of(slack, trouble)[0], store.find(trouble.id)) and len(slack.messages) > 2)
        eventually(lambda: not store.listed({"open": True, "kind": str(Kind.DELIVERY)}))


@pytest.mark.usefixtures("notifier")
def test_a_message_that_somebody_deleted_is_followed_by_a_new_one(store: Store, slack: StandIn, clock: Clock) -> None:
    [incident] = store.fold([report(key(), clock())], clock())
    slack.wait_for(lambda: of(slack, incident))
    calm(store, clock)
    slack.workspace.channels[slack.messages[0].channel].by_ts.clear()
    [incident] = store.fold([report(key(), clock(), failed=False)], clock())
    slack.wait_for(lambda: len(of(slack, incident)) == 2)
    calm(store, clock)
    assert is_told(of(slack, incident)[1], incident)


@pytest.mark.usefixtures("database")
def test_a_webhook_gets_one_message_for_each_telling(slack: StandIn, clock: Clock) -> None:
    told = configured(slack, slack=slack.settings(webhook=True))
    store = store_of(told)
    with running(told, clock, pace=Pace(QUICK)):
        for failed in (True, False):
            [incident] = store.fold([report(key(), clock(), failed=failed)], clock())
            eventually(partial(is_marked, store, incident))
    assert [part(one)[1] for one in slack.messages] == [1, 2]


def is_marked(store: Store, incident: Incident) -> bool:
    kept = store.find(incident.id).told
    return kept is not None and kept.revision == incident.revision


def shows(slack: StandIn, incident: Incident) -> bool:
    """Whether its message shows it as it is."""
    return is_told(of(slack, incident)[0], incident)


def test_channels_do_not_wait_for_each_other(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    """One hangs until the request is given up."""
    slack.decide = lambda call: faults.slow(1.5, done=False) if call.arguments.get("channel") == "#alerts" else None
    with running(told, clock, pace=Pace(QUICK)):
        eventually(lambda: leads(told))
        store.fold([report(key("alerts/a"), clock())], clock())
        slack.wait_for(lambda: slack.counts["chat.postMessage"])
        [incident] = store.fold([report(key(), clock())], clock())
        committed = time.time()
        [message] = slack.wait_for(lambda: of(slack, incident))
        assert message.arrived - committed < 1.0
        slack.decide = lambda _: None


@pytest.mark.usefixtures("database")
def test_a_channel_gets_no_more_than_one_message_a_second(clock: Clock) -> None:
    """Openings, changes and ends, told by three notifiers in turn."""
    with StandIn(pace=1.0) as slack:
        told = configured(slack)
        store = store_of(told)
        found = store.fold([report(key(f"acme/{n}"), clock()) for n in range(3)], clock())
        assert Notifier(told, clock=clock).once().told == 3
        store.fold([report(found[0].key, clock(), failed=False)], clock())
        assert Notifier(told, clock=clock).once().told == 1
        store.fold([report(key("acme/new"), clock())], clock())
        with running(told, clock):
            slack.wait_for(lambda: len(slack.messages) == 5)
        assert slack.violations == 0
        arrived = [one.arrived for one in slack.messages]
        assert min(later - one for one, later in pairwise(arrived)) >= 1.0


def test_an_opening_does_not_wait_behind_a_queue_of_edits(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    told = told.model_copy(update={"notifier": told.notifier.model_copy(update={"storm": 50})})
    store.fold([report(key(f"acme/{n}"), clock()) for n in range(30)], clock())
    notifier = Notifier(told, clock=clock)
    notifier.pace = Pace(0.0)
    assert notifier.once().told == 30
    store.fold([report(key(f"acme/{n}"), clock(), failed=False) for n in range(30)], clock())
    [late] = store.fold([report(key("acme/late"), clock())], clock())
    assert notifier.once().told == 31
    assert part(slack.messages[30])[0] == late.id


def test_a_message_that_cannot_be_made_stops_no_other_and_is_an_incident(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect of ours must not be found by silence."""
    rendered = blocks.root

    def root(incident: Any, *args: Any, **kwargs: Any) -> Any:
        if incident.key.scope == "acme/bad":
            raise ValueError("no such colour")
        return rendered(incident, *args, **kwargs)

    monkeypatch.setattr(deliveries, "root", root)
    [bad] = store.fold([report(key("acme/bad"), clock())], clock())
    [good] = store.fold([report(key("acme/good"), clock())], clock())
    with running(told, clock, pace=Pace(QUICK)):
        slack.wait_for(lambda: len(slack.messages) == 2)
        [trouble] = store.listed({"kind": str(Kind.DELIVERY)})
        assert (bad.id in trouble.facts.title, "no such colour" in trouble.facts.observed) == (True, True)
        assert of(slack, good)
        monkeypatch.undo()
        clock.advance(minutes=6)
        slack.wait_for(lambda: of(slack, bad))
        eventually(lambda: not store.listed({"open": True, "kind": str(Kind.DELIVERY)}))


def test_a_duty_that_fails_stops_no_message_and_is_an_incident(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reports(*_: Any) -> Any:
        raise KeyError("cron")

    monkeypatch.setattr(watchdog, "reports", reports)
    with running(told, clock, pace=Pace(QUICK)):
        slack.wait_for(lambda: slack.messages)
        [incident] = store.fold([report(key(), clock())], clock())
        slack.wait_for(lambda: of(slack, incident))
        monkeypatch.undo()
        eventually(lambda: not store.listed({"open": True, "kind": str(Kind.TASK)}))


def test_a_change_stream_that_lost_its_history_costs_a_sweep_and_is_an_incident(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    """The collection was dropped, and made anew by those who fold."""
    with running(told, clock, pace=Pace(QUICK)):
        [early] = store.fold([report(key("acme/early"), clock())], clock())
        slack.wait_for(lambda: of(slack, early))
        mongo.database(told)[schema.INCIDENTS].drop()
        schema.ensure(mongo.database(told))
        [incident] = store.fold([report(key(), clock())], clock())
        slack.wait_for(lambda: of(slack, incident))
        [lost] = eventually(lambda: store.listed({"kind": str(Kind.HISTORY)}))
        slack.wait_for(lambda: of(slack, lost))
        [later] = store.fold([report(key("acme/web"), clock())], clock())
        slack.wait_for(lambda: of(slack, later))


def test_of_two_notifiers_one_delivers_and_the_other_one_takes_over(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    with running(told, clock, pace=Pace(QUICK)):
        with running(told, clock, pace=Pace(QUICK)):
            found = store.fold([report(key(f"acme/{n}"), clock()) for n in range(5)], clock())
            slack.wait_for(lambda: len(slack.messages) == 5)
            calm(store, clock)
        [late] = store.fold([report(key("acme/late"), clock())], clock())
        slack.wait_for(lambda: of(slack, late))
    assert sorted(part(one)[0] for one in slack.messages) == sorted(one.id for one in (*found, late))


def test_many_at_once_that_only_look_once_tell_each_incident_once(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    """As runs do that end at the same moment."""
    found = store.fold([report(key(f"acme/{n}"), clock()) for n in range(4)], clock())
    outcomes: list[Any] = []

    def once() -> None:
        notifier = Notifier(told, clock=clock)
        notifier.pace = Pace(QUICK)
        outcomes.append(notifier.once())

    threads = [threading.Thread(target=once) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one.told for one in outcomes) == 4
    assert sorted(part(one)[0] for one in slack.messages) == sorted(one.id for one in found)
    assert any(one.leader for one in outcomes)


def test_a_notifier_that_is_asked_to_end_gives_its_place_to_the_next_one(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    """A process of its own, ended by SIGTERM: the next one leads at once though the lease is a minute."""
    long = told.model_copy(update={"notifier": told.notifier.model_copy(update={"lease_seconds": 60.0})})

    def run() -> None:
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        Notifier(long).run(stop)

    pid = forked(run)
    try:
        eventually(lambda: leads(long))
        [incident] = store.fold([report(key(), clock())], clock())
        slack.wait_for(lambda: of(slack, incident))
        calm(store, clock)
    finally:
        os.kill(pid, signal.SIGTERM)
        _, status = os.waitpid(pid, 0)
    assert status == 0
    store.fold([report(key(), clock(), failed=False)], clock())
    begun = time.monotonic()
    assert Notifier(long, clock=clock).once().told == 1
    assert time.monotonic() - begun < 20
    assert slack.counts["conversations.history"] == 0, "there was nothing to doubt"
