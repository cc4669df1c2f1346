"""Notifiers that are really killed, or stopped and woken up: each incident is told once, in its last state.

Each step of a notifier is enumerated: its writes to MongoDB and its requests to Slack, before each and when it was done
but not answered. Then many are killed at random while Slack answers as it likes (see `bench.chaos`).
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Literal

import pytest
from pymongo.collection import Collection

from alerting import delivery as deliveries
from alerting import leader as leaders
from alerting import notifier as notifiers
from alerting.incidents import GROUPS, Incident, Told
from alerting.notifier import Notifier
from alerting.pace import Pace
from alerting.slack import transport
from alerting.standin.server import StandIn
from alerting.store import Store
from bench import chaos
from bench.chaos import forked, judged
from config import mongo, schema, settings
from quality.findings import Severity
from tests.alerting.notifying import Clock, configured, eventually, forget, key, of, part, report, scope, store_of

WRITES = ("insert_one", "insert_many", "update_one", "update_many", "replace_one", "delete_many", "find_one_and_update")
MOST_STEPS = 200
Mode = Literal["before", "after"]
WARNING = Severity.WARNING


@pytest.fixture
def told(database: str, slack: StandIn) -> settings.Settings:  # noqa: ARG001 - names the database
    before = datetime.now(UTC) - timedelta(minutes=1)
    route = settings.Route(scope="digest/*", channel="#warnings", digest=f"{before:%H:%M}")
    return configured(slack, routes=(route,))


def look_once(told: settings.Settings) -> None:
    """What a notifier does at its start, without a break between messages."""
    notifier = Notifier(told)
    notifier.pace = Pace(0.0)
    assert notifier.once().leader


def kill_at(number: int, mode: Mode) -> None:
    """From now on the step with this number (from 0) is where this process is killed."""
    numbers = count()

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            is_last = next(numbers) == number
            if is_last and mode == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*args, **kwargs)
            if is_last:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return step

    for name in WRITES:
        setattr(Collection, name, wrapped(getattr(Collection, name)))
    transport.post = wrapped(transport.post)


def opens(store: Store, told: settings.Settings) -> None:
    del told
    store.fold([report(key(scope()), datetime.now(UTC)) for _ in range(2)])


def changes(store: Store, told: settings.Settings) -> None:
    keys = [key(scope()) for _ in range(2)]
    store.fold([report(one, datetime.now(UTC), severity=WARNING) for one in keys])
    look_once(told)
    store.fold([report(one, datetime.now(UTC)) for one in keys])


def ends(store: Store, told: settings.Settings) -> None:
    keys = [key(scope()) for _ in range(2)]
    store.fold([report(one, datetime.now(UTC)) for one in keys])
    look_once(told)
    store.fold([report(one, datetime.now(UTC), failed=False) for one in keys])


def storms(store: Store, told: settings.Settings) -> None:
    del told
    store.fold([report(key(scope()), datetime.now(UTC)) for _ in range(12)])


def digests(store: Store, told: settings.Settings) -> None:
    del told
    earlier = datetime.now(UTC) - timedelta(minutes=5)
    store.fold([report(key(f"digest/{scope()}"), earlier, severity=WARNING) for _ in range(3)])


@pytest.mark.parametrize("mode", ["before", "after"])
@pytest.mark.parametrize("scenario", [opens, changes, ends, storms, digests])
def test_killed_at_any_step_it_loses_and_doubles_nothing(
    told: settings.Settings, slack: StandIn, scenario: Callable[[Store, settings.Settings], None], mode: Mode
) -> None:
    """For every step of one that looks once; the next one brings it to an end."""
    db, store = mongo.database(told), store_of(told)

    def doomed() -> None:
        kill_at(number, mode)
        look_once(told)

    for number in range(MOST_STEPS):
        db[schema.INCIDENTS].delete_many({})
        db[schema.META].delete_one({"_id": leaders.NAME})
        forget(slack)
        scenario(store, told)
        pid = forked(doomed)
        _, status = os.waitpid(pid, 0)
        db[schema.META].update_one({"_id": leaders.NAME}, {"$set": {"lease_until": None}})  # as if it had run out
        look_once(told)
        where = f"killed {mode} step {number}"
        assert judged(store.listed({}), slack.messages) == ((), ()), where
        assert not store.owed(datetime.now(UTC)), where
        assert_groups(store, slack, scenario)
        if not os.WIFSIGNALED(status):
            assert status == 0
            break
    else:
        pytest.fail("it never got through")
    assert number > 4


def assert_groups(store: Store, slack: StandIn, scenario: object) -> None:
    """A storm and a digest are one message each, which counts all."""
    groups = store.listed({"kind": {"$in": [str(kind) for kind in GROUPS]}})
    if scenario not in (storms, digests):
        assert not groups
        return
    [group] = groups
    members = store.listed({"cause": group.id})
    assert len(slack.messages) == 1
    assert f"{len(members)} " in group.facts.title
    assert len(members) == (12 if scenario is storms else 3)


def stopped(work: Callable[[], object], where: tuple[Any, str]) -> int:
    """A child that does `work` and is stopped when it first comes to `where` in a thread that tells; its pid."""

    def doomed() -> None:
        owner, name = where
        original = getattr(owner, name)

        def paused(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread().name.startswith("tell"):
                setattr(owner, name, original)
                os.kill(os.getpid(), signal.SIGSTOP)
                time.sleep(0.05)  # another thread may take the signal: this one must not run on meanwhile
            return original(*args, **kwargs)

        setattr(owner, name, paused)
        work()

    pid = forked(doomed)
    _, status = os.waitpid(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    return pid


def woken(pid: int) -> None:
    os.kill(pid, signal.SIGCONT)
    os.waitpid(pid, 0)


@pytest.mark.parametrize("where", [(leaders.Leader, "hold"), (deliveries.Delivery, "mark")], ids=["post", "mark"])
def test_one_that_wakes_up_after_it_was_replaced_neither_posts_nor_marks(
    told: settings.Settings, slack: StandIn, clock: Clock, where: tuple[Any, str]
) -> None:
    """It slept before it asked whether it may post, or between the post and its mark; then it was told, and changed."""
    told = told.model_copy(update={"notifier": told.notifier.model_copy(update={"lease_seconds": 0.4})})
    store = store_of(told)
    [incident] = store.fold([report(key(), clock(), severity=WARNING)])
    pid = stopped(lambda: Notifier(told).once(), where)
    try:
        patient = told.model_copy(update={"notifier": told.notifier.model_copy(update={"lease_seconds": 30.0})})
        eventually(lambda: Notifier(patient).once().leader)
        store.fold([report(key(), clock())])
        [current] = eventually(lambda: after(patient, store))
    finally:
        woken(pid)
    assert store.find(incident.id).told == current
    assert len(of(slack, incident)) == 1
    assert len(of(slack, incident, "reply")) == 1


def after(told: settings.Settings, store: Store) -> list[Told]:
    """What was told of the only incident, once it was told of its last revision."""
    notifier = Notifier(told)
    notifier.pace = Pace(0.0)
    notifier.once()
    [incident] = store.listed()
    return [incident.told] if incident.told and incident.told.revision == incident.revision else []


def test_what_a_message_shows_that_nobody_marked_is_set_right_at_once(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    """It said that it was over when the notifier was killed; then it went wrong again, no worse than before."""
    [incident] = store.fold([report(key(), clock())])
    look_once(told)
    store.fold([report(key(), clock(), failed=False)])
    pid = stopped(lambda: Notifier(told).once(), (deliveries.Delivery, "mark"))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    mongo.database(told)[schema.META].update_one({"_id": leaders.NAME}, {"$set": {"lease_until": None}})
    assert part(of(slack, incident)[0])[1] == 2
    [incident] = store.fold([report(key(), clock())])
    assert not store.owed(clock()), "what was told last was that it is open, and a change can wait"
    look_once(told)
    assert part(of(slack, incident)[0])[1] == 3
    assert [part(one)[1] for one in of(slack, incident, "reply")] == [2, 3]


@pytest.fixture
def wild(database: str) -> Any:  # noqa: ARG001 - names the database
    """A stand-in of many channels, and settings for it."""
    with StandIn(channels=chaos.channels()) as slack:
        told = chaos.arranged(settings.load(), slack)
        mongo.database(told)
        yield told, slack


@pytest.mark.parametrize("number", [1, 2])
def test_killed_at_random_while_slack_answers_at_random_nothing_is_lost_or_doubled(wild: Any, number: int) -> None:
    """Thirty kills, three hundred incidents; `python -m bench.chaos` does a thousand, and ten thousand."""
    told, slack = wild
    result = chaos.run(told, slack, kills=30, incidents=300, notifiers=number, seed=number)
    assert (result.lost, result.doubled) == ((), ())
    assert (result.incidents, result.kills) == (300, 30)
    assert slack.counts.total() > result.messages


class TokenFirst(deliveries.Delivery):
    """The mutant that marks an incident as told, and then tells it."""

    def deliver(self, incident: Incident, *args: Any, **kwargs: Any) -> bool:
        where = incident.told or Told(0, incident.state, incident.severity, datetime.now(UTC), "C0", "0.0")
        self.mark(incident.id, replace(where, revision=incident.revision, state=incident.state), datetime.now(UTC))
        return super().deliver(incident, *args, **kwargs)


def marks_first() -> None:
    setattr(notifiers, "Delivery", TokenFirst)  # noqa: B010 - mypy knows the module's name as a type


def looks_at_rings_only() -> None:
    """The mutant that does not sweep: what changed before it began is no concern of its."""
    began, original = datetime.now(UTC), Store.owed

    def owed(self: Store, *args: Any, **kwargs: Any) -> list[Incident]:
        return [one for one in original(self, *args, **kwargs) if one.changed_at and one.changed_at >= began]

    setattr(Store, "owed", owed)  # noqa: B010 - likewise


@pytest.mark.parametrize("mutant", [marks_first, looks_at_rings_only])
def test_the_wrong_ways_to_do_it_do_lose_messages(wild: Any, mutant: Callable[[], None]) -> None:
    """What the test above can find."""
    told, slack = wild
    result = chaos.run(told, slack, kills=12, incidents=120, prepare=mutant, patience=3.0)
    assert result.lost
