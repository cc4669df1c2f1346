"""One message arrives once: what was posted and not marked is found, and what cannot be taken is made smaller."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from alerting import folding
from alerting.delivery import Delivery
from alerting.incidents import Incident, State
from alerting.reasons import Reason, notify_reason
from alerting.slack.client import Client, DeliveryError, Posted
from alerting.standin import faults
from alerting.standin.server import StandIn
from alerting.store import Store
from config import settings
from quality.findings import Severity
from tests.alerting.notifying import CHANNEL, Clock, key, of, part, report


@pytest.fixture
def client(told: settings.Settings) -> Client:
    return Client(told.slack.model_copy(update={"timeout_seconds": 0.3}))


@pytest.fixture
def delivery(store: Store, client: Client) -> Delivery:
    return Delivery(store, client, fence=1)


def opened(store: Store, clock: Clock, **fields: Any) -> Incident:
    [incident] = store.fold([report(key(), clock(), **fields)], clock())
    return incident


def now_of(store: Store, incident: Incident) -> Incident:
    return store.find(incident.id)


def tell(delivery: Delivery, incident: Incident, clock: Clock) -> bool:
    """As the notifier would: settle first, then tell what is owed, if anything is."""
    for channel in list(delivery.unsettled):
        delivery.settle(channel, clock())
    current = delivery.store.find(incident.id)
    reason = notify_reason(current, clock(), delivery.store.policy)
    return reason is not Reason.NONE and delivery.deliver(current, reason, CHANNEL, (), clock())


def test_what_is_told_is_marked_with_where_it_is(
    store: Store, delivery: Delivery, slack: StandIn, clock: Clock
) -> None:
    incident = opened(store, clock)
    assert tell(delivery, incident, clock)
    [message], told = slack.messages, now_of(store, incident).told
    assert told is not None
    assert (told.channel, told.ts, told.revision, told.state) == (message.channel, message.ts, 1, State.OPEN)
    assert (told.severity, told.fence, delivery.is_certain) == (Severity.CRITICAL, 1, True)
    assert not tell(delivery, incident, clock)


LOST_ANSWERS = [
    faults.dropped(),
    faults.cut(),
    faults.reset(done=True),
    faults.server_error(done=True),
    faults.slow(1.0),
]


@pytest.mark.parametrize("fault", LOST_ANSWERS, ids=lambda fault: f"{fault.end} {fault.status} {fault.delay}")
def test_what_arrived_though_the_answer_was_lost_is_not_posted_again(
    store: Store, delivery: Delivery, slack: StandIn, clock: Clock, fault: faults.Fault
) -> None:
    incident = opened(store, clock)
    slack.fail("chat.postMessage", fault)
    with pytest.raises(DeliveryError) as raised:
        tell(delivery, incident, clock)
    assert raised.value.doubt
    assert delivery.unsettled
    assert not tell(delivery, incident, clock), "it is told already"
    assert delivery.is_certain
    assert len(slack.messages) == 1
    told = now_of(store, incident).told
    assert told is not None
    assert told.ts == slack.messages[0].ts


NOT_DONE = [faults.reset(), faults.server_error(), faults.slow(1.0, done=False), faults.login_page()]


@pytest.mark.parametrize("fault", NOT_DONE, ids=lambda fault: f"{fault.end} {fault.status} {fault.delay}")
def test_what_did_not_arrive_is_posted_by_the_next_attempt(
    store: Store, delivery: Delivery, slack: StandIn, clock: Clock, fault: faults.Fault
) -> None:
    incident = opened(store, clock)
    slack.fail("chat.postMessage", fault)
    with pytest.raises(DeliveryError):
        tell(delivery, incident, clock)
    assert tell(delivery, incident, clock)
    assert len(slack.messages) == 1


def test_what_was_resolved_before_the_next_attempt_ends_as_resolved(
    store: Store, delivery: Delivery, slack: StandIn, clock: Clock
) -> None:
    """It arrived, nobody knew, and nothing was owed any more."""
    incident = opened(store, clock)
    slack.fail("chat.postMessage", faults.dropped())
    with pytest.raises(DeliveryError):
        tell(delivery, incident, clock)
    [resolved] = store.fold([report(key(), clock(), failed=False)], clock())
    assert notify_reason(resolved, clock()) is Reason.NONE
    assert tell(delivery, incident, clock)
    assert part(of(slack, incident)[0]) == (incident.id, 2, "root")
    assert len(of(slack, incident)) == 1
    assert not tell(delivery, incident, clock)


def test_what_worsened_before_it_was_found_is_told_as_worse(
    store: Store, delivery: Delivery, slack: StandIn, clock: Clock
) -> None:
    incident = opened(store, clock, severity=Severity.WARNING)
    slack.fail("chat.postMessage", faults.dropped())
    with pytest.raises(DeliveryError):
        tell(delivery, incident, clock)
    store.fold([report(key(), clock())], clock())
    delivery.settle(CHANNEL, clock())
    assert notify_reason(now_of(store, incident), clock()) is Reason.WORSENED


def test_a_lost_answer_to_a_reply_does_not_double_it(
    store: Store, delivery: Delivery, slack: StandIn, clock: Clock
) -> None:
    incident = opened(store, clock)
    assert tell(delivery, incident, clock)
    [incident] = store.fold([report(key(), clock(), failed=False)], clock())
    slack.fail("chat.postMessage", faults.dropped())
    with pytest.raises(DeliveryError):
        tell(delivery, incident, clock)
    assert tell(delivery, incident, clock)
    assert [part(one) for one in slack.messages] == [(incident.id, 2, "root"), (incident.id, 2, "reply")]
    assert delivery.is_certain


def test_what_a_lost_reply_has_said_the_next_one_does_not_say_again(
    store: Store, delivery: Delivery, slack: StandIn, clock: Clock
) -> None:
    """Between the attempt and the next one it changed once more."""
    incident = opened(store, clock, severity=Severity.WARNING)
    assert tell(delivery, incident, clock)
    store.fold([report(key(), clock())], clock())
    slack.fail("chat.postMessage", faults.dropped())
    with pytest.raises(DeliveryError):
        tell(delivery, incident, clock)
    [incident] = store.fold([report(key(), clock(), failed=False)], clock())
    assert tell(delivery, incident, clock)
    replies = of(slack, incident, "reply")
    assert [part(one)[1] for one in replies] == [2, 3]
    assert "worsened" in str(replies[0].blocks)
    assert "worsened" not in str(replies[1].blocks)


def told_long_ago(incident: Incident) -> Incident:
    """As if a day had gone by; Slack's clock cannot be advanced."""
    assert incident.told is not None
    return replace(incident, told=replace(incident.told, at=incident.told.at - timedelta(hours=25), reminded_at=None))


def test_each_reminder_is_told_once_and_none_is_taken_for_another(
    store: Store, delivery: Delivery, slack: StandIn, clock: Clock
) -> None:
    """Three of one revision; the answers to the second one and to the third are lost."""
    incident = opened(store, clock)
    assert tell(delivery, incident, clock)
    for fault in ([], [faults.dropped()], [faults.reset()]):
        store.change(incident.id, told_long_ago)
        slack.fail("chat.postMessage", *fault)
        if fault:
            with pytest.raises(DeliveryError):
                tell(delivery, incident, clock)
        assert tell(delivery, incident, clock)
        assert not tell(delivery, incident, clock)
    assert len(of(slack, incident, "reminder")) == 3
    assert len(of(slack, incident)) == 1


def test_what_is_too_much_is_made_smaller_until_it_is_taken(
    store: Store, delivery: Delivery, slack: StandIn, clock: Clock
) -> None:
    incident = opened(store, clock)
    slack.fail("chat.postMessage", faults.refused("invalid_blocks"), faults.refused("msg_too_long"))
    assert tell(delivery, incident, clock)
    assert len(slack.messages) == 1
    assert slack.messages[0].text


def test_what_is_refused_for_another_reason_stays_owed(
    store: Store, delivery: Delivery, slack: StandIn, clock: Clock
) -> None:
    incident = opened(store, clock)
    slack.fail("chat.postMessage", faults.refused("not_in_channel"))
    with pytest.raises(DeliveryError) as raised:
        tell(delivery, incident, clock)
    assert (raised.value.permanent, delivery.is_certain) == (True, True)
    assert [one.id for one in store.owed(clock())] == [incident.id]


def test_a_message_that_somebody_deleted_gets_one_successor(
    store: Store, delivery: Delivery, slack: StandIn, clock: Clock
) -> None:
    """Also if the answer to the successor was lost."""
    incident = opened(store, clock)
    assert tell(delivery, incident, clock)
    [incident] = store.fold([report(key(), clock(), failed=False)], clock())
    slack.workspace.channels[slack.messages[0].channel].by_ts.clear()
    slack.fail("chat.postMessage", faults.dropped())
    with pytest.raises(DeliveryError):
        tell(delivery, incident, clock)
    assert tell(delivery, incident, clock)
    assert [part(one)[1:] for one in slack.messages] == [(1, "root"), (2, "root")]
    told = now_of(store, incident).told
    assert told is not None
    assert told.ts == slack.messages[1].ts


def test_nothing_is_sent_once_the_lease_is_not_sure(
    store: Store, delivery: Delivery, slack: StandIn, clock: Clock
) -> None:
    """It is asked before each request, also before the reply that follows an edit."""
    incident = opened(store, clock)
    assert not delivery.deliver(incident, Reason.OPENED, CHANNEL, (), clock(), lambda: False)
    assert slack.counts.total() == 0
    assert tell(delivery, incident, clock)
    [incident] = store.fold([report(key(), clock(), failed=False)], clock())
    answers = iter([True, False])
    assert not delivery.deliver(incident, Reason.RESOLVED, CHANNEL, (), clock(), lambda: next(answers))
    assert (slack.counts["chat.update"], len(slack.messages)) == (1, 1)
    assert tell(delivery, incident, clock)


def test_the_late_mark_of_one_that_lost_its_lease_overwrites_nothing(
    store: Store, client: Client, slack: StandIn, clock: Clock
) -> None:
    incident = opened(store, clock)
    late, next_one = Delivery(store, client, fence=1), Delivery(store, client, fence=2)
    assert tell(next_one, incident, clock)
    told = now_of(store, incident).told
    assert told is not None
    late.mark(incident.id, replace(told, fence=1, revision=0, ts="0.1"), clock())
    assert now_of(store, incident).told == told
    assert len(slack.messages) == 1


def test_a_chart_that_was_tried_meanwhile_stays_tried(store: Store, delivery: Delivery, clock: Clock) -> None:
    """Another thread draws it: the mark of the edit must not ask for a second one."""
    facts = replace(report(key(), clock()).facts, series=("silver.changes", "acme/api", "rows"))
    incident = opened(store, clock, facts=facts)
    assert tell(delivery, incident, clock)
    before = now_of(store, incident)
    assert before.told is not None
    assert not before.told.chart
    known = before.told
    store.change(incident.id, lambda one: replace(one, told=replace(known, chart=True)))
    delivery.mark(incident.id, replace(known, revision=2), clock())
    after = now_of(store, incident).told
    assert after is not None
    assert (after.chart, after.revision) == (True, 2)


def test_what_a_webhook_posts_is_marked_and_never_edited(store: Store, slack: StandIn, clock: Clock) -> None:
    delivery = Delivery(store, Client(slack.settings(webhook=True)), fence=1)
    incident = opened(store, clock)
    assert tell(delivery, incident, clock)
    assert not tell(delivery, incident, clock)
    store.fold([report(key(), clock(), failed=False)], clock())
    assert tell(delivery, incident, clock)
    assert not tell(delivery, incident, clock)
    assert [part(one)[1] for one in slack.messages] == [1, 2]
    assert slack.counts["chat.update"] == 0


def test_what_a_webhook_told_a_bot_takes_over_with_a_message_of_its_own(
    store: Store, delivery: Delivery, slack: StandIn, clock: Clock
) -> None:
    incident = opened(store, clock)
    assert tell(Delivery(store, Client(slack.settings(webhook=True)), fence=1), incident, clock)
    store.fold([report(key(), clock(), failed=False)], clock())
    slack.fail("chat.postMessage", faults.dropped())
    with pytest.raises(DeliveryError):
        tell(delivery, incident, clock)
    tell(delivery, incident, clock)
    assert [part(one)[1] for one in slack.messages] == [1, 2]
    assert notify_reason(now_of(store, incident), clock()) is Reason.NONE


def test_an_incident_that_is_gone_when_it_is_marked_stops_nobody(
    store: Store, delivery: Delivery, clock: Clock
) -> None:
    incident = opened(store, clock)
    store._incidents.delete_many({})
    assert delivery.deliver(incident, Reason.OPENED, CHANNEL, (), clock())


def test_what_is_acknowledged_while_it_is_told_is_not_lost(store: Store, client: Client, clock: Clock) -> None:
    """A person writes between the look and the mark; the mark tells of the revision that was sent."""
    incident = opened(store, clock)

    class Meanwhile:
        can_edit = True

        def post(self, channel: str, payload: dict[str, Any], thread_ts: str | None = None) -> Posted:
            store.change(incident.id, lambda one: folding.acknowledge(one, "maria", clock()), clock())
            return client.post(channel, payload, thread_ts)

        def update(self, posted: Posted, payload: dict[str, Any]) -> None:
            client.update(posted, payload)

        def posted(self, channel: str, since: datetime, thread_ts: str | None = None) -> Any:
            return client.posted(channel, since, thread_ts)

    delivery = Delivery(store, Meanwhile(), fence=1)
    assert delivery.deliver(incident, Reason.OPENED, CHANNEL, (), clock())
    current = now_of(store, incident)
    assert current.acknowledged is not None
    assert current.told is not None
    assert (current.revision, current.told.revision) == (2, 1)
    assert notify_reason(current, clock()) is Reason.CHANGED
