"""Many incidents at once are told as one, exactly counted, and none of them is lost, wherever it is cut short."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from pymongo.collection import Collection

from alerting import storms
from alerting.incidents import Incident, Kind
from alerting.notifier import Notifier
from alerting.pace import Pace
from alerting.standin.server import StandIn
from alerting.store import Store
from config import mongo, schema, settings
from quality.findings import Severity
from tests.alerting.notifying import (
    CHANNEL,
    Clock,
    configured,
    eventually,
    forget,
    key,
    of,
    part,
    report,
    running,
    store_of,
)  # fmt: skip


@pytest.fixture
def db(told: settings.Settings) -> schema.Db:
    return mongo.database(told)


def many(store: Store, clock: Clock, number: int, **fields: Any) -> list[Incident]:
    return store.fold([report(key(f"acme/{n:05}"), clock(), **fields) for n in range(number)], clock())


def the_storm(store: Store) -> Incident:
    [storm] = store.listed({"kind": str(Kind.STORM)})
    return storm


def total(store: Store, storm: Incident) -> int:
    """As its facts say."""
    return int(store.find(storm.id).facts.observed.split(" from ")[0].replace(",", ""))


def members(store: Store, storm: Incident) -> list[Incident]:
    return store.listed({"cause": storm.id})


def test_few_incidents_are_told_one_by_one(told: settings.Settings, store: Store, slack: StandIn, clock: Clock) -> None:
    many(store, clock, told.notifier.storm)
    notifier = Notifier(told, clock=clock)
    notifier.pace = Pace(0.0)
    assert notifier.once().told == told.notifier.storm
    assert not store.listed({"kind": str(Kind.STORM)})
    assert len(slack.messages) == told.notifier.storm


def test_many_incidents_are_told_as_one_with_exact_counts(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    found = many(store, clock, 30)
    store.fold([report(key("acme/00003", check="range"), clock(), severity=Severity.WARNING)], clock())
    assert Notifier(told, clock=clock).once().told == 1
    storm = the_storm(store)
    [message] = slack.messages
    assert part(message)[0] == storm.id
    assert "31 from" in storm.facts.observed
    assert "30 critical, 1 warning; 31 open" in storm.facts.observed
    assert "31 incidents at once" in message.text
    assert {one.id for one in members(store, storm)} >= {one.id for one in found}
    assert not store.owed(clock())


def test_what_comes_during_a_storm_joins_it_and_the_count_follows(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    many(store, clock, 20)
    assert Notifier(told, clock=clock).once().told == 1
    store.fold([report(key("acme/late"), clock())], clock())
    clock.advance(seconds=21)
    assert Notifier(told, clock=clock).once().told == 1
    [message] = slack.messages
    assert total(store, the_storm(store)) == 21
    assert "21 incidents at once" in message.text
    assert message.edited_at


def test_what_is_worse_than_before_or_over_is_counted_too(
    told: settings.Settings, db: schema.Db, store: Store, clock: Clock
) -> None:
    many(store, clock, 20, severity=Severity.WARNING)
    Notifier(told, clock=clock).once()
    storm = the_storm(store)
    store.fold([report(key("acme/00001"), clock(), failed=False)], clock())
    clock.advance(seconds=1)
    storms.tend(store, db, 8, clock())
    assert "20 warning; 19 open" in store.find(storm.id).facts.observed


def test_a_storm_ends_when_nothing_new_comes_and_the_few_that_are_left_are_told(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    """In that order; the storm's message says how many there were."""
    found = many(store, clock, 20)
    notifier = Notifier(told, clock=clock)
    notifier.pace = Pace(0.0)
    notifier.once()
    storm = the_storm(store)
    clock.advance(seconds=10)
    store.fold([report(one.key, clock(), failed=False) for one in found[3:]], clock())
    assert notifier.once().told == 0, "it goes on for a while, and its count is not told at each change"
    clock.advance(minutes=3)
    assert notifier.once().told == 4
    clock.advance(minutes=3)
    notifier.once()
    assert store.find(storm.id).state == "resolved"
    assert len(of(slack, storm)) == 1
    assert "20 from" in store.find(storm.id).facts.observed
    assert [len(of(slack, one)) for one in found] == [1] * 3 + [0] * 17
    assert not store.owed(clock())


def test_a_storm_of_which_many_are_left_ends_where_it_points_to_them(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    found = many(store, clock, 20)
    notifier = Notifier(told, clock=clock)
    notifier.once()
    storm = the_storm(store)
    clock.advance(minutes=3)
    notifier.once()
    assert store.find(storm.id).state == "resolved"
    assert {one.cause for one in store.listed({"_id": {"$in": [one.id for one in found]}})} == {storm.id}
    assert len(slack.messages) == 1 + len(of(slack, storm, "reply"))


def test_after_a_storm_the_next_one_is_another_one(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    many(store, clock, 20)
    notifier = Notifier(told, clock=clock)
    notifier.pace = Pace(0.0)
    notifier.once()
    clock.advance(minutes=3)
    notifier.once()
    store.fold([report(key(f"other/{n}"), clock()) for n in range(12)], clock())
    notifier.once()
    both = store.listed({"kind": str(Kind.STORM)})
    assert sorted(total(store, one) for one in both) == [12, 20]
    assert [len(of(slack, one)) for one in both] == [1, 1]


@pytest.mark.usefixtures("database")
def test_each_channel_has_a_storm_of_its_own(slack: StandIn, clock: Clock) -> None:
    told = configured(slack, routes=(settings.Route(scope="a/*", channel="#alerts"),))
    store = store_of(told)
    store.fold([report(key(f"{where}/{n}"), clock()) for n in range(10) for where in ("a", "b")], clock())
    store.fold([report(key("b/more"), clock())], clock())
    Notifier(told, clock=clock).once()
    found = {one.key.scope: total(store, one) for one in store.listed({"kind": str(Kind.STORM)})}
    assert found == {"#alerts": 10, CHANNEL: 11}
    assert {slack.name_of(one.channel) for one in slack.messages} == {"#alerts", CHANNEL}


@pytest.mark.usefixtures("database")
def test_two_thousand_incidents_are_few_messages_and_none_is_lost(clock: Clock) -> None:
    """Folded while the notifier runs; a message a second at most."""
    with StandIn(pace=1.0) as slack:
        told = configured(slack)
        store = store_of(told)
        with running(told, clock):
            for n in range(0, 2000, 100):
                store.fold([report(key(f"acme/{n + m:05}"), clock()) for m in range(100)], clock())
            untold = {"told": None, "cause": None, "kind": str(Kind.FINDING)}
            eventually(lambda: not store.listed(untold, limit=1))
            clock.advance(seconds=30)
            eventually(lambda: not store.owed(clock()) and "incidents at once" in slack.messages[-1].text)
            storm = the_storm(store)
            alone = store.listed({"kind": str(Kind.FINDING), "told": {"$ne": None}})
            eventually(lambda: f"{2000 - len(alone):,} incidents at once" in of(slack, storm)[0].text)
        assert total(store, storm) == len(members(store, storm)) == 2000 - len(alone)
        assert sorted(part(one)[0] for one in slack.roots()) == sorted([storm.id, *(one.id for one in alone)])
        assert len(slack.messages) <= 20
        assert slack.violations == 0


class KilledError(Exception):
    """Instead of a process: what was done is done, and nothing else is."""


WRITES = ("insert_one", "update_one", "update_many")


@contextmanager
def killed_at(number: int, *, after: bool) -> Iterator[None]:
    """The write of that number (from 0) is the last one: not done any more, or done. In this thread only."""
    numbers = count()

    def wrapped(original: Any) -> Any:
        def write(*args: Any, **kwargs: Any) -> Any:
            mine = next(numbers)
            if mine > number or (mine == number and not after):
                raise KilledError
            result = original(*args, **kwargs)
            if mine == number:
                raise KilledError
            return result

        return write

    with pytest.MonkeyPatch.context() as patch:
        for name in WRITES:
            patch.setattr(Collection, name, wrapped(getattr(Collection, name)))
        yield


@pytest.mark.parametrize("what", ["absorb", "tend"])
@pytest.mark.parametrize("after", [False, True])
def test_cut_short_at_any_write_it_loses_and_doubles_nothing(  # noqa: PLR0917 - fixtures, and a table
    told: settings.Settings,
    store: Store,
    db: schema.Db,
    slack: StandIn,
    what: str,
    after: bool,  # noqa: FBT001 - a table
) -> None:
    """The beginning of a storm, or its end: four of twenty are left, and are told one by one."""
    for number in count():
        db[schema.INCIDENTS].delete_many({})
        forget(slack)
        clock = Clock()
        found = many(store, clock, 20)
        notifier = Notifier(told, clock=clock)
        notifier.pace = Pace(0.0)
        if what == "tend":
            notifier.once()
            clock.advance(seconds=5)
            store.fold([report(one.key, clock(), failed=False) for one in found[4:]], clock())
            storms.tend(store, db, told.notifier.storm, clock())
            clock.advance(minutes=3)
        got_through = False
        with suppress(KilledError), killed_at(number, after=after):
            if what == "absorb":
                storms.absorb(store, db, CHANNEL, store.listed(), clock())
            else:
                storms.tend(store, db, told.notifier.storm, clock())
            got_through = True
        for minutes in (0.5, 3, 3, 3):
            clock.advance(minutes=minutes)
            notifier.once()
        [storm] = store.listed({"kind": str(Kind.STORM)})
        alone = store.listed({"kind": str(Kind.FINDING), "told": {"$ne": None}})
        assert "20 from" in storm.facts.observed, number
        assert sorted(part(one)[0] for one in slack.roots()) == sorted([storm.id, *(one.id for one in alone)]), number
        assert len(alone) == (4 if what == "tend" else 0), number
        assert (
            len(store.listed({"kind": str(Kind.FINDING), "$or": [{"told": {"$ne": None}}, {"cause": storm.id}]})) == 20
        )
        assert not store.owed(clock()), number
        if got_through:
            assert number > (2 if what == "absorb" else 3)
            return


def test_a_storm_says_more_than_its_members_do_not_fit(store: Store, db: schema.Db, clock: Clock) -> None:
    """Of many datasets the largest are named and the rest counted."""
    found = store.fold(
        [report(key(f"s/{m}", dataset=f"silver.d{n:02}"), clock()) for n in range(20) for m in range(n + 1)], clock()
    )
    storms.absorb(store, db, CHANNEL, found, clock())
    storm = the_storm(store)
    assert total(store, storm) == 210
    assert len(storm.facts.examples) == storms.GROUPS_SHOWN + 1
    assert storm.facts.examples[0] == "20 critical of silver.d19 in 20 scopes"
    assert storm.facts.examples[-1] == f"{sum(range(1, 9))} of 8 others"


def test_only_what_nobody_was_told_of_joins_a_storm(
    told: settings.Settings, store: Store, slack: StandIn, clock: Clock
) -> None:
    [early] = store.fold([report(key("acme/early"), clock(), severity=Severity.WARNING)], clock())
    notifier = Notifier(told, clock=clock)
    notifier.pace = Pace(0.0)
    notifier.once()
    many(store, clock, 12)
    [early] = store.fold([report(early.key, clock() + timedelta(seconds=1))], clock())
    assert notifier.once().told == 2
    assert part(of(slack, early)[0]) == (early.id, early.revision, "root")
    assert total(store, the_storm(store)) == 12
    assert not storms.is_one(replace(early, told=store.find(early.id).told))
