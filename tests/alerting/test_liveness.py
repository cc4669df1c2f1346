"""A run that sees no sign of life of a notifier stands in for it, and says so, once."""

from datetime import timedelta

from alerting import leader, liveness
from alerting.incidents import Kind
from alerting.notifier import Notifier
from alerting.pace import Pace
from alerting.standin.server import StandIn
from alerting.store import Store
from config import mongo, schema, settings
from tests.alerting.notifying import Clock, eventually, is_told, key, leads, of, report, running


def test_without_a_notifier_the_run_tells_what_is_owed_and_that_there_is_none(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    [incident] = store.fold([report(key(), clock())], clock())
    outcome = liveness.check(mongo.database(told), told, clock())
    assert outcome is not None
    assert outcome.told == 2
    [silent] = store.listed({"kind": str(Kind.HEARTBEAT)})
    assert (len(of(slack, incident)), len(of(slack, silent))) == (1, 1)
    assert "none was ever seen" in silent.facts.observed


def test_that_there_is_none_is_said_once_however_many_runs_see_it(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    for _ in range(3):
        assert liveness.check(mongo.database(told), told, clock()) is not None
    assert len(slack.messages) == 1
    [incident] = store.fold([report(key(), clock())], clock())
    assert liveness.check(mongo.database(told), told, clock()) is not None
    assert (len(slack.messages), len(of(slack, incident))) == (2, 1)


def test_while_a_notifier_runs_the_run_leaves_it_to_it(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    with running(told, clock, pace=Pace(0.05)):
        eventually(lambda: leads(told))
        assert liveness.check(mongo.database(told), told, clock()) is None
    assert not store.listed({"kind": str(Kind.HEARTBEAT)})
    assert not slack.messages


def test_a_notifier_that_died_is_missed_and_one_that_runs_again_ends_that(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    """One that was started to look once only has shown itself, too."""
    assert Notifier(told, clock=clock).once().leader
    assert liveness.check(mongo.database(told), told, clock()) is None
    ago = {"$set": {"seen_at": clock() - timedelta(minutes=6)}}
    mongo.database(told)[schema.META].update_one({"_id": leader.NAME}, ago)
    assert liveness.check(mongo.database(told), told, clock()) is not None
    [silent] = store.listed({"kind": str(Kind.HEARTBEAT)})
    assert "the last sign of life was at" in silent.facts.observed
    with running(told, clock, pace=Pace(0.05)):
        slack.wait_for(lambda: of(slack, silent, "reply"))
    after = store.find(silent.id)
    assert after.state == "resolved"
    assert is_told(of(slack, silent)[0], after)


def test_where_nobody_is_to_be_told_nobody_is_missed(told: settings.Settings, store: Store, clock: Clock) -> None:
    nobody = told.model_copy(update={"slack": settings.Slack()})
    assert liveness.check(mongo.database(nobody), nobody, clock()) is None
    assert not store.listed({})
