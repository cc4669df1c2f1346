"""Incidents in a real MongoDB: many hands on one incident, and what is owed."""

import multiprocessing
import random
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import pytest
from pymongo.errors import DuplicateKeyError

from alerting import store as storage
from alerting.folding import acknowledge, attach, fold_all, resolve, silence
from alerting.incidents import Facts, Incident, Key, Kind, Policy, Report, State, Told, fingerprint, from_document
from alerting.reasons import Reason, due, notify_reason
from alerting.store import SKEW, ContendedError, Store, UnknownIncidentError, policy_of
from config import mongo, schema, settings
from quality.findings import Severity

START: Final = datetime(2026, 3, 1, tzinfo=UTC)
FIRST: Final = date(2026, 1, 1)
THREADS: Final = 8
Act = Callable[[Incident], Incident]


@pytest.fixture
def db(database: str) -> schema.Db:  # noqa: ARG001 - names the database
    return mongo.database(settings.load())


@pytest.fixture
def store(db: schema.Db) -> Store:
    return Store(db)


def moment(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def key(scope: str = "acme/api") -> Key:
    return Key("gold.dora_daily", scope, "not_negative", "change_lead_time")


def said(day: int, minute: float, scope: str = "acme/api", **more: Any) -> Report:
    facts = Facts(f"day {day} judged at {minute}", examples=("a: b = 3 ≠ 4",))
    kept = {"failed": True, "facts": facts, "scopes": (scope,), **more}
    return Report(key(scope), moment(minute), kind=Kind.FINDING, window=FIRST + timedelta(days=day), **kept)


def kept(db: schema.Db) -> list[dict[str, Any]]:
    """All that is there."""
    return list(db[schema.INCIDENTS].find(sort=[("_id", 1)]))


def told(incident: Incident, now: datetime) -> Incident:
    sent = Told(incident.revision, incident.state, incident.severity, now, "C1", "17.1")
    return replace(incident, told=sent)


def deliver(store: Store, now: datetime) -> list[tuple[str, Reason]]:
    """What a notifier does, without Slack."""
    heard: list[tuple[str, Reason]] = []
    for incident in store.owed(now):
        if (reason := notify_reason(incident, now, store.policy)) is not Reason.NONE:
            heard.append((incident.id, reason))
            store.change(incident.id, lambda current: told(current, now), now)
    return heard


def test_what_was_folded_is_found_as_it_was(store: Store, db: schema.Db) -> None:
    reports = [said(1, 0), said(2, 3, severity=Severity.WARNING, lasting=True), said(3, 1, failed=False)]
    (incident,) = store.fold(reports, moment(4))
    assert store.listed() == [store.find(incident.id)] == [incident]
    (document,) = kept(db)
    assert (document["failing"], document["open"], document["version"]) == (["2026-01-03"], True, 1)
    assert (document["fingerprint"], document["opened_at"]) == (fingerprint(key()), moment(3))


def test_folding_the_same_again_writes_nothing(store: Store, db: schema.Db) -> None:
    reports = [said(day, day, scope) for day in range(30) for scope in ("acme/api", "acme/web")]
    assert len(store.fold(reports, moment(60))) == 2
    before = kept(db)
    assert store.fold(reports[::-1], moment(61)) == []
    assert store.fold([said(5, 5)], moment(62)) == []
    assert kept(db) == before


def test_a_pass_alone_is_no_incident(store: Store, db: schema.Db) -> None:
    assert store.fold([said(1, 0, failed=False)], moment(1)) == []
    assert kept(db) == []


def test_each_write_raises_the_version(store: Store, db: schema.Db) -> None:
    (incident,) = store.fold([said(1, 0)], moment(0))
    steps: list[Callable[[], Any]] = [
        lambda: store.fold([said(2, 1)], moment(1)),
        lambda: store.fold([said(0, 2, failed=False)], moment(2)),
        lambda: store.change(incident.id, lambda one: attach(one, "other"), moment(2)),
        lambda: store.change(incident.id, lambda one: attach(one, None), moment(2)),
        lambda: store.change(incident.id, lambda one: told(one, moment(3)), moment(3)),
        lambda: store.defer(store.find(incident.id), moment(9)),
        lambda: store.change(incident.id, lambda one: resolve(one, "kim", moment(4), ""), moment(4)),
        lambda: store.fold([said(1, 9)], moment(9)),
    ]
    for version, step in enumerate(steps, 2):
        step()
        (document,) = kept(db)
        assert document["version"] == version
    store.change(incident.id, lambda one: one)
    assert kept(db)[0]["version"] == len(steps) + 1


def test_eight_threads_that_fold_the_same_in_any_order_make_one_incident(db: schema.Db) -> None:
    reports = [said(day % 12, 7 * day % 60, failed=day % 4 != 0, lasting=day % 5 == 0) for day in range(40)]
    expected = fold_all(None, reports)

    def work(seed: int) -> int:
        mine, chance = list(reports), random.Random(seed)  # noqa: S311 - an order
        chance.shuffle(mine)
        written = 0
        while mine:
            size = chance.randint(1, 9)
            written += len(Store(db).fold(mine[:size], moment(60)))
            mine = mine[size:]
        return written

    with ThreadPoolExecutor(THREADS) as pool:
        written = sum(pool.map(work, range(THREADS)))
    (document,) = kept(db)
    incident = from_document(document)
    assert incident.marks == expected.marks
    assert (incident.failing, incident.facts) == (expected.failing, expected.facts)
    assert (incident.severity, incident.id[-2:]) == (expected.severity, "-1")
    assert document["version"] == written  # each write followed another


def test_processes_that_open_the_same_problems_at_once_open_each_once(store: Store, db: schema.Db) -> None:
    """Each Luigi worker is a process, and all of them see that the source is broken."""
    scopes = [f"acme/{number}" for number in range(12)]
    together = multiprocessing.get_context("fork")
    gate = together.Barrier(4)

    def work() -> None:
        gate.wait(30)
        for scope in scopes:
            Store(mongo.database(settings.load())).fold([said(1, 0, scope)], moment(1))

    workers = [together.Process(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert sorted(one.key.scope for one in store.listed()) == sorted(scopes)
    assert [one["version"] for one in kept(db)] == [1] * len(scopes)


def test_what_people_and_checks_and_the_notifier_do_at_once_is_all_there(store: Store, db: schema.Db) -> None:
    (incident,) = store.fold([said(0, 0)], moment(0))
    acts: list[Act] = [
        lambda one: acknowledge(one, "kim", moment(1), "looking"),
        lambda one: silence(one, moment(500), "ada", moment(1), "deploying"),
        lambda one: attach(one, "0123456789-1"),
        lambda one: told(one, moment(2)),
    ]

    def checks(half: int) -> None:
        for day in range(half, 40, 2):
            Store(db).fold([said(day, day)], moment(60))

    with ThreadPoolExecutor(THREADS) as pool:
        jobs: list[Future[Any]] = [pool.submit(checks, half) for half in (0, 1)]
        jobs += [pool.submit(Store(db).change, incident.id, act, moment(60)) for act in acts]
        for job in jobs:
            job.result()
    after = store.find(incident.id)
    assert len(after.failing) == 40
    assert (after.acknowledged and after.acknowledged.by, after.silenced and after.silenced.by) == ("kim", "ada")
    assert (after.cause, after.told and after.told.ts) == ("0123456789-1", "17.1")
    assert {"acknowledged", "silenced"} < {event.what for event in after.story}
    assert [event.revision for event in after.story][1:] == sorted({one.revision for one in after.story})[1:]


def test_one_problem_has_one_open_incident_whoever_writes(store: Store, db: schema.Db) -> None:
    store.fold([said(1, 0)], moment(0))
    (document,) = kept(db)
    with pytest.raises(DuplicateKeyError):
        db[schema.INCIDENTS].insert_one({**document, "_id": "another-2"})


def test_two_problems_under_one_id_are_an_error_and_no_endless_loop(
    store: Store, db: schema.Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "TRIES", 3)
    (incident,) = store.fold([said(1, 0)], moment(0))
    db[schema.INCIDENTS].update_one({"_id": incident.id}, {"$set": {"fingerprint": "of something else"}})
    with pytest.raises(ContendedError, match="acme/api"):
        store.fold([said(1, 0)], moment(0))


def test_the_next_incident_is_found_though_the_clock_of_the_first_was_ahead(store: Store) -> None:
    (first,) = store.fold([said(1, 9_000)], moment(0))
    store.change(first.id, lambda one: resolve(one, "kim", moment(1), ""), moment(1))
    (second,) = store.fold([said(2, 99_000)], moment(99_000))
    assert second.id.endswith("-2")
    store.fold([said(3, 99_001)], moment(99_001))
    store.fold([said(3, 99_002, failed=False)], moment(99_002))
    (third,) = store.fold([said(4, 999_000)], moment(999_000))
    assert (third.id[-2:], [one.id for one in store.listed()]) == ("-3", [third.id])
    assert len(store.listed({})) == 3


def test_what_is_attached_in_the_same_write_is_never_owed(store: Store, db: schema.Db) -> None:
    store.fold([said(1, 0)], moment(0), adjust=lambda one: attach(one, "0123456789-1"))
    assert (kept(db)[0]["owed_at"], store.owed(moment(9_999)), store.next_due()) == (None, [], None)
    store.change(store.listed()[0].id, lambda one: attach(one, None), moment(5))
    assert deliver(store, moment(5)) == [(store.listed()[0].id, Reason.OPENED)]


def test_what_is_owed_is_what_is_due_by_then_and_the_longest_owed_comes_first(store: Store, db: schema.Db) -> None:
    acts: list[Act] = [
        lambda one: one,
        lambda one: told(one, moment(30)),
        lambda one: silence(one, moment(90), "kim", moment(20)),
        lambda one: attach(one, "0123456789-1"),
        lambda one: told(acknowledge(one, "kim", moment(20)), moment(21)),
        lambda one: acknowledge(told(one, moment(20)), "kim", moment(22)),
        lambda one: told(resolve(one, "kim", moment(20), ""), moment(21)),
    ]
    for number in range(4 * len(acts)):
        (incident,) = store.fold([said(1, number, f"acme/{number}")], moment(number))
        store.change(incident.id, acts[number % len(acts)], moment(30))
    everything = store.listed({})
    assert len(everything) == 4 * len(acts)
    for minute in (30, 31, 89.9, 89.95, 90, 30 + 24 * 60 - 0.1, 30 + 24 * 60 - SKEW / timedelta(minutes=1), 99_999):
        at = moment(minute)
        expected = {one.id for one in everything if (when := due(one, moment(30))) and when <= at + SKEW}
        found = store.owed(at)
        assert {one.id for one in found} == expected
        assert [one.id for one in store.owed(at, 3)] == [one.id for one in found][:3]
    owed = [one["owed_at"] for one in db[schema.INCIDENTS].find({"_id": {"$in": [one.id for one in found]}})]
    assert store.next_due() == min(owed)
    by_id = {one["_id"]: one["owed_at"] for one in kept(db)}
    assert [by_id[one.id] for one in found] == sorted(by_id[one.id] for one in found)


def test_what_is_owed_is_found_by_an_index(store: Store, db: schema.Db) -> None:
    """With ten thousand incidents that nobody waits for, each look is still cheap."""
    for number in range(30):
        (incident,) = store.fold([said(1, number, f"acme/{number}")], moment(number))
        store.change(incident.id, lambda one: attach(one, "0123456789-1"), moment(30))
    store.fold([said(1, 0)], moment(0))
    db.command("profile", 2)
    assert len(store.owed(moment(30))) == 1
    assert store.next_due() == moment(0)
    db.command("profile", 0)
    looks = list(db["system.profile"].find({"op": "query", "ns": f"{db.name}.{schema.INCIDENTS}"}))
    assert [one["docsExamined"] for one in looks] == [1, 1]


def test_what_is_put_off_waits_until_then_or_until_it_changes(store: Store, db: schema.Db) -> None:
    (incident,) = store.fold([said(1, 0)], moment(0))
    store.defer(incident, moment(60))
    assert (store.owed(moment(59)), store.next_due()) == ([], moment(60))
    assert [one.id for one in store.owed(moment(60))] == [incident.id]
    store.fold([said(2, 1)], moment(1))
    assert [one.id for one in store.owed(moment(1))] == [incident.id]
    store.defer(incident, moment(60))  # of what it was before: too late
    assert [one.id for one in store.owed(moment(1))] == [incident.id]
    current = store.find(incident.id)
    store.change(incident.id, lambda one: attach(one, "storm-12345678-1"), moment(2))
    store.change(incident.id, lambda one: attach(one, None), moment(3))
    db[schema.INCIDENTS].update_one({"_id": incident.id}, {"$set": {"cause": "storm-12345678-1"}})
    store.defer(current, None)
    assert kept(db)[0]["owed_at"] is not None


def test_what_says_wrongly_that_nobody_waits_for_it_is_put_right(store: Store, db: schema.Db) -> None:
    (incident,) = store.fold([said(1, 0)], moment(0))
    assert not store.reschedule(incident, moment(1))
    db[schema.INCIDENTS].update_one({"_id": incident.id}, {"$set": {"owed_at": None}})
    assert store.reschedule(incident, moment(1))
    assert deliver(store, moment(1)) == [(incident.id, Reason.OPENED)]


def test_it_is_found_by_the_start_of_its_id(store: Store) -> None:
    ids = [store.fold([said(1, 0, f"acme/{number}")], moment(0))[0].id for number in range(20)]
    assert store.find(ids[3]).id == store.find(ids[3][:8]).id == ids[3]
    for wrong, why in (("", "no incident"), ("zz", "no incident"), (".*", "no incident"), ("\uffff", "no incident")):
        with pytest.raises(UnknownIncidentError, match=why):
            store.find(wrong)
    start = min((a[:1] for a in ids), key=lambda one: -sum(name.startswith(one) for name in ids))
    with pytest.raises(UnknownIncidentError, match="more than one"):
        store.find(start)
    with pytest.raises(UnknownIncidentError):
        store.change("nothing-1", lambda one: one)


def test_what_an_act_refuses_is_not_written(store: Store, db: schema.Db) -> None:
    (incident,) = store.fold([said(1, 0)], moment(0))
    before = kept(db)
    with pytest.raises(ValueError, match="is past"):
        store.change(incident.id, lambda one: silence(one, moment(1), "kim", moment(2)))
    assert kept(db) == before


def test_texts_of_any_kind_are_kept(store: Store) -> None:
    hostile = Facts("\ud800 {$set: 1} 日本 \x00", observed="x" * 20_000_000)
    (incident,) = store.fold([said(1, 0, "acmé/🌙.$x", facts=hostile)], moment(0))
    assert store.find(incident.id) == incident
    assert store.listed({"state": str(State.OPEN)}) == [incident]


def test_five_thousand_windows_of_one_problem_are_one_small_document(store: Store, db: schema.Db) -> None:
    reports = [said(day, day, lasting=True) for day in range(5_000)]
    (incident,) = store.fold(reports, moment(9_000))
    assert store.fold(reports, moment(9_001)) == []
    assert incident.failing[-1] == (FIRST + timedelta(days=4_999)).isoformat()
    (size,) = db[schema.INCIDENTS].aggregate([{"$project": {"size": {"$bsonSize": "$$ROOT"}}}])
    assert size["size"] < 100_000


def test_the_policy_is_as_configured(db: schema.Db) -> None:
    assert policy_of(settings.Settings()) == Policy()
    notifier = settings.Notifier(remind_hours=0, reopen_hours=2)
    of = Store.of(db, settings.Settings(notifier=notifier)).policy
    assert (of.remind, of.reopen) == (None, timedelta(hours=2))


def test_no_resolution_is_told_before_its_opening_and_each_thing_is_told_once(store: Store) -> None:
    heard: list[Reason] = []
    for minute, failed in enumerate([True, False, True, True, False, False]):
        store.fold([said(minute, minute, failed=failed)], moment(minute))
        if minute:  # the first opening and its resolution pass before anybody looks
            heard += [reason for _, reason in deliver(store, moment(minute))]
        assert not minute or deliver(store, moment(minute)) == []
    assert heard == [Reason.OPENED, Reason.RESOLVED]
