"""Of several notifiers one leads, whatever happens to the others, and knows whether to doubt the one before."""

import threading
from datetime import UTC, timedelta
from typing import Any

import pytest

from alerting.leader import NAME, Leader
from config import mongo, schema, settings
from tests.alerting.notifying import eventually

LEASE = timedelta(seconds=0.2)
LONG = timedelta(seconds=60)


@pytest.fixture
def db(database: str) -> schema.Db:  # noqa: ARG001 - names the database
    return mongo.database(settings.load())


def kept(db: schema.Db) -> Any:
    return db[schema.META].find_one({"_id": NAME})


def test_one_leads_at_a_time_and_keeps_its_fence_for_as_long(db: schema.Db) -> None:
    one, other = Leader(db, LONG), Leader(db, LONG)
    assert (one.acquire(), one.fence, one.doubtful) == (True, 1, False)
    assert (other.acquire(), other.fence, other.hold(0)) == (False, 0, False)
    assert (one.acquire(), one.fence) == (True, 1)


def test_of_many_that_begin_at_once_exactly_one_leads(db: schema.Db) -> None:
    """Nothing is there yet: all of them try to make the document."""
    leaders = [Leader(db, LONG) for _ in range(16)]
    found: list[bool] = []
    start = threading.Barrier(len(leaders))

    def begin(one: Leader) -> None:
        start.wait()
        found.append(one.acquire())

    threads = [threading.Thread(target=begin, args=(one,)) for one in leaders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False] * 15 + [True]


def test_after_a_goodbye_the_next_one_neither_waits_nor_doubts(db: schema.Db) -> None:
    one, other = Leader(db, LONG), Leader(db, LONG)
    assert one.acquire()
    one.release()
    assert (other.acquire(), other.fence, other.doubtful) == (True, 2, False)
    assert not one.acquire()


def test_after_a_goodbye_in_doubt_the_next_one_does_not_wait_but_doubts(db: schema.Db) -> None:
    one, other = Leader(db, LONG), Leader(db, LONG)
    assert one.acquire()
    one.release(certain=False)
    assert (other.acquire(), other.doubtful) == (True, True)


def test_who_ends_without_a_goodbye_is_replaced_after_the_lease_and_doubted(db: schema.Db) -> None:
    one, other = Leader(db, LEASE), Leader(db, LEASE)
    assert one.acquire()
    eventually(other.acquire)
    assert (other.fence, other.doubtful) == (2, True)
    assert (other.hold(0.1), other.doubtful) == (True, True)


def test_who_comes_back_after_another_led_does_not_go_on_as_if_nothing_had_been(db: schema.Db) -> None:
    """It holds the lease again, but what it knew is old: it must begin anew, and doubt the other one."""
    one, other = Leader(db, LEASE), Leader(db, LEASE)
    assert one.acquire()
    eventually(other.acquire)
    eventually(lambda: kept(db)["lease_until"] <= db.command("hello")["localTime"].replace(tzinfo=UTC))
    assert not one.hold(0.1)
    assert kept(db)["owner"] == one.owner
    assert not one.hold(0.0)
    one.release()
    assert kept(db)["owner"] == one.owner, "what it has not begun it does not give back"
    assert (one.acquire(), one.fence, one.doubtful, one.hold(0.0)) == (True, 3, True, True)


def test_who_lost_the_lease_cannot_give_away_that_of_its_successor(db: schema.Db) -> None:
    one, other = Leader(db, LEASE), Leader(db, LONG)
    assert one.acquire()
    eventually(other.acquire)
    one.release()
    assert kept(db)["owner"] == other.owner
    assert not one.acquire()


def test_holding_on_asks_the_server_only_when_the_time_left_is_too_short(db: schema.Db) -> None:
    one = Leader(db, LONG)
    assert one.acquire()
    before = kept(db)["lease_until"]
    assert one.hold(30)
    assert kept(db)["lease_until"] == before
    assert one.hold(60)
    assert kept(db)["lease_until"] > before


def test_only_a_notifier_gives_a_sign_of_life(db: schema.Db) -> None:
    """One that stands in for it for a moment does not."""
    one, other = Leader(db, LONG, heartbeat=False), Leader(db, LONG)
    assert one.acquire()
    assert "seen_at" not in kept(db)
    one.release()
    assert other.acquire()
    assert kept(db)["seen_at"]
