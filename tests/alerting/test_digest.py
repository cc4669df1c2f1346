"""The daily digest: each warning in one message a day, none lost, none twice, whatever is killed when."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from alerting import digest, routes
from alerting.folding import attach, silence
from alerting.incidents import Incident, State, Told
from alerting.reasons import Reason, notify_reason
from alerting.reports import Facts, Key, Kind, Report
from alerting.store import Store
from config import settings
from config.settings import Route, Settings
from quality.findings import Severity
from tasks.context import Context

NINE = datetime(2026, 3, 10, 8, tzinfo=UTC)
"""Nine o'clock in Berlin on a Tuesday: the time of the digest."""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
def store(context: Context) -> Store:
    return Store(context.db)


def routed(*more: Any, digest: str | None = "09:00") -> Settings:
    """One route with a digest, for all that is acme's; `more` are others, in front of it."""
    acme = Route(scope="acme/*", channel="#acme", digest=digest, timezone="Europe/Berlin")
    return settings.load().model_copy(update={"routes": (*more, acme)})


def report(name: str, at: datetime, severity: str = "warning", *, failed: bool = True, scope: str = "acme/") -> Report:
    key = Key("silver.changes", f"{scope}{name}", "some")
    facts = Facts(f"{name} is odd")
    return Report(key, at, failed, Kind.FINDING, at.date(), Severity(severity), facts=facts)


def warn(store: Store, name: str, at: datetime, severity: str = "warning", **more: Any) -> Incident:
    (changed,) = store.fold([report(name, at, severity, **more)], at)
    return changed


def digests(store: Store, day: int = 10) -> Incident | None:
    """The digest of #acme on that day of March."""
    key = Key("notifier", "#acme", "digest", f"2026-03-{day}")
    return next((one for one in store.listed({"kind": "digest"}) if one.key == key), None)


def named(one: Incident | None) -> list[str]:
    """Which warnings a digest names, by their scopes."""
    assert one is not None
    return sorted(line.split()[2].removeprefix("acme/").removesuffix(":") for line in one.facts.examples)


def members(store: Store, one: Incident | None) -> list[str]:
    assert one is not None
    return sorted(member.key.scope.removeprefix("acme/") for member in store.listed({"cause": one.id}))


def tell(store: Store, loaded: Settings, now: datetime) -> list[str]:
    """Deliver as the notifier does: what is owed and need not wait is marked as told. Returns what was."""
    sent = []
    for one in store.owed(now):
        reason, to = notify_reason(one, now, store.policy), routes.destination(one, loaded)
        if reason is Reason.NONE or to is None:
            continue
        if (until := routes.wait_until(one, reason, to, now)) is not None:
            store.defer(one, until)
            continue
        mark(store, one, now)
        sent.append(f"{one.key.check if one.kind is Kind.DIGEST else one.key.scope} {reason}")
    return sorted(sent)


def mark(store: Store, one: Incident, now: datetime) -> None:
    store.change(
        one.id, lambda kept: replace(kept, told=Told(kept.revision, kept.state, kept.severity, now, "C1", "1.0")), now
    )


def test_warnings_are_told_once_a_day_in_one_message(store: Store) -> None:
    loaded = routed()
    for n, name in enumerate("abc"):
        warn(store, name, NINE - 20 * HOUR + n * HOUR)
    warn(store, "d", NINE - HOUR, "info")
    warn(store, "urgent", NINE - HOUR, "critical")
    digest.gather(store, loaded, NINE - SECOND)
    assert tell(store, loaded, NINE - SECOND) == ["acme/urgent opened"]
    digest.gather(store, loaded, NINE)
    assert tell(store, loaded, NINE) == ["digest opened"]
    made = digests(store)
    assert made is not None
    assert (made.severity, made.key.scope) == (Severity.WARNING, "#acme")
    assert made.facts.title == "Daily digest: 4 warnings open, 4 new"
    assert made.facts.examples[0] == f"{store.listed({'key.scope': 'acme/d'})[0].id} silver.changes acme/d: d is odd"
    assert named(made) == members(store, made) == ["a", "b", "c", "d"]
    assert made.facts.command == "touchstone incidents list"


def test_what_comes_after_the_time_is_for_the_next_day(store: Store) -> None:
    """Also where there was nothing to tell at the time, so that there is no digest of that day."""
    loaded = routed()
    digest.gather(store, loaded, NINE)
    warn(store, "a", NINE + SECOND)
    for hours in (1, 5, 14, 23.99):
        digest.gather(store, loaded, NINE + hours * HOUR)
        assert tell(store, loaded, NINE + hours * HOUR) == []
    assert digests(store) is None
    digest.gather(store, loaded, NINE + DAY)
    assert named(digests(store, 11)) == ["a"]


def test_the_next_day_tells_what_is_still_open_what_is_new_and_what_is_over(store: Store) -> None:
    loaded = routed()
    for name in "abcd":
        warn(store, name, NINE - HOUR)
    digest.gather(store, loaded, NINE)
    assert tell(store, loaded, NINE) == ["digest opened"]
    warn(store, "a", NINE + 2 * HOUR, failed=False)
    warn(store, "e", NINE + 3 * HOUR)
    assert tell(store, loaded, NINE + 4 * HOUR) == []
    digest.gather(store, loaded, NINE + DAY)
    assert tell(store, loaded, NINE + DAY) == ["digest opened"]
    today, yesterday = digests(store, 11), digests(store)
    assert today is not None
    assert yesterday is not None
    assert today.facts.title == "Daily digest: 4 warnings open, 1 new, 1 resolved since yesterday"
    assert named(today) == members(store, today) == ["b", "c", "d", "e"]
    assert yesterday.state is State.RESOLVED
    assert [one.id for one in store.listed({"open": True, "kind": "digest"})] == [today.id]


def test_when_all_is_over_that_is_told_and_then_nothing(store: Store) -> None:
    loaded = routed()
    warn(store, "a", NINE - HOUR)
    digest.gather(store, loaded, NINE)
    tell(store, loaded, NINE)
    warn(store, "a", NINE + HOUR, failed=False)
    digest.gather(store, loaded, NINE + DAY)
    today = digests(store, 11)
    assert today is not None
    assert today.facts.title == "Daily digest: 0 warnings open, 0 new, 1 resolved since yesterday"
    assert tell(store, loaded, NINE + DAY) == ["digest opened"]
    digest.gather(store, loaded, NINE + 2 * DAY)
    assert digests(store, 12) is None
    assert store.listed() == []
    assert tell(store, loaded, NINE + 2 * DAY) == []


def test_what_becomes_critical_leaves_the_digest_and_is_told_at_once(store: Store) -> None:
    loaded = routed()
    for name in "abc":
        warn(store, name, NINE - HOUR)
    digest.gather(store, loaded, NINE)
    tell(store, loaded, NINE)
    store.fold([report("a", NINE + HOUR, "critical")], NINE + HOUR)
    assert tell(store, loaded, NINE + HOUR) == ["acme/a opened"]
    warn(store, "b", NINE + HOUR, failed=False)
    store.fold([report("b", NINE + 2 * HOUR, "critical")], NINE + 2 * HOUR)  # reopened as critical
    digest.gather(store, loaded, NINE + 2 * HOUR)
    assert tell(store, loaded, NINE + 2 * HOUR) == ["acme/b opened"]
    digest.gather(store, loaded, NINE + DAY)
    assert named(digests(store, 11)) == ["c"]


def test_a_late_digest_is_made_when_the_notifier_is_back(store: Store) -> None:
    loaded = routed()
    warn(store, "a", NINE - HOUR)
    warn(store, "b", NINE + HOUR)
    digest.gather(store, loaded, NINE + 20 * HOUR)
    assert named(digests(store)) == ["a"]
    digest.gather(store, loaded, NINE + 3 * DAY)  # away for two days: one message, of all that is open
    assert [digests(store, day) is None for day in (11, 12, 13)] == [True, True, False]
    assert named(digests(store, 13)) == ["a", "b"]


def test_a_digest_names_thirty_and_counts_the_rest(store: Store) -> None:
    for n in range(35):
        warn(store, f"s{n:02}", NINE - HOUR + n * SECOND)
    digest.gather(store, routed(), NINE)
    made = digests(store)
    assert made is not None
    assert made.facts.title.startswith("Daily digest: 35 warnings open, 35 new")
    assert len(made.facts.examples) == 31
    assert made.facts.examples[-1] == "and 5 more"
    assert len(members(store, made)) == 35


def test_each_channel_has_its_own(store: Store) -> None:
    web = Route(scope="acme/web*", channel="#web", digest="18:00")
    plain = Route(scope="acme/now", channel="#now")
    loaded = routed(web, plain)
    for name in ("web1", "api", "now"):
        warn(store, name, NINE - HOUR)
    warn(store, "other", NINE - HOUR, scope="foreign/")
    digest.gather(store, loaded, NINE)
    assert tell(store, loaded, NINE) == ["acme/now opened", "digest opened"]
    assert named(digests(store)) == ["api"]
    digest.gather(store, loaded, NINE.replace(hour=18))
    assert tell(store, loaded, NINE.replace(hour=18)) == ["digest opened"]


def test_who_was_silenced_is_not_named_until_that_ends(store: Store) -> None:
    loaded = routed()
    one = warn(store, "a", NINE - HOUR)
    store.change(one.id, lambda kept: silence(kept, NINE + 30 * HOUR, "ann", NINE - SECOND), NINE - SECOND)
    digest.gather(store, loaded, NINE)
    digest.gather(store, loaded, NINE + DAY)
    assert (digests(store), digests(store, 11)) == (None, None)
    digest.gather(store, loaded, NINE + 2 * DAY)
    assert named(digests(store, 12)) == ["a"]


def test_a_digest_that_was_made_takes_nothing_in_any_more(store: Store) -> None:
    """Who would tell of it? What could not be told at the time is for the next day."""
    loaded = routed()
    warn(store, "a", NINE - HOUR)
    one = warn(store, "b", NINE - HOUR)
    store.change(one.id, lambda kept: silence(kept, NINE + 2 * HOUR, "ann", NINE - SECOND), NINE - SECOND)
    for hours in (0, 3):
        digest.gather(store, loaded, NINE + hours * HOUR)
        tell(store, loaded, NINE + hours * HOUR)
    assert members(store, digests(store)) == ["a"]
    digest.gather(store, loaded, NINE + DAY)
    assert named(digests(store, 11)) == ["a", "b"]


def test_effects_of_a_cause_and_what_was_told_by_itself_are_in_no_digest(store: Store) -> None:
    loaded = routed()
    effect, told = warn(store, "effect", NINE - HOUR), warn(store, "told", NINE - HOUR)
    store.change(effect.id, lambda kept: attach(kept, "0123456789-1"), NINE)
    mark(store, told, NINE - HOUR)
    digest.gather(store, loaded, NINE)
    assert digests(store) is None


def test_where_the_digest_is_given_up_its_warnings_are_told(store: Store) -> None:
    warn(store, "a", NINE - HOUR)
    digest.gather(store, routed(), NINE)
    tell(store, routed(), NINE)
    plain = routed(digest=None)
    digest.gather(store, plain, NINE + HOUR)
    assert tell(store, plain, NINE + HOUR) == ["acme/a opened"]
    assert [one.key.scope for one in store.listed()] == ["acme/a"]


def test_to_gather_again_changes_nothing(context: Context, store: Store) -> None:
    loaded = routed()
    for name in "abc":
        warn(store, name, NINE - HOUR)
    digest.gather(store, loaded, NINE)
    before = list(context.db["incidents"].find())
    for seconds in (5, 10, 3600, 80_000):
        digest.gather(store, loaded, NINE + timedelta(seconds=seconds))
    assert list(context.db["incidents"].find()) == before


class KilledError(Exception):
    """As if the process had died here."""


@pytest.mark.parametrize("wait", [5 * SECOND, 3 * HOUR])
def test_killed_before_any_write_no_warning_is_lost_or_told_twice_a_day(
    store: Store, monkeypatch: pytest.MonkeyPatch, wait: timedelta
) -> None:
    """Two days, some warnings of the first still open on the second; killed before each of the writes in turn."""
    loaded = routed()
    killed = 0
    for fatal in count():
        store._incidents.delete_many({})
        for name in "abcd":
            warn(store, name, NINE - HOUR)
        real = Store._write
        writes = count()

        def deadly(self: Store, *args: Any, _real: Any = real, _writes: Any = writes, _fatal: int = fatal) -> bool:
            if next(_writes) == _fatal:
                raise KilledError
            return bool(_real(self, *args))

        monkeypatch.setattr(Store, "_write", deadly)
        before = killed
        for day in range(2):
            now = NINE + day * DAY
            sent = []
            for moment in (now, now + wait, now + wait + 5 * SECOND):
                try:
                    digest.gather(store, loaded, moment)
                except KilledError:
                    killed += 1
                monkeypatch.setattr(Store, "_write", real)
                sent += tell(store, loaded, moment)
                monkeypatch.setattr(Store, "_write", deadly)
            assert sent == ["digest opened"], fatal
            made = digests(store, 10 + day)
            wanted = ["a", "b", "c", "d"] if day == 0 else ["b", "c", "d", "e"]
            assert named(made) == wanted, fatal
            assert set(members(store, made)) - {"a"} == set(wanted) - {"a"}, fatal
            monkeypatch.setattr(Store, "_write", real)
            if day == 0:
                warn(store, "a", now + 5 * HOUR, failed=False)
                warn(store, "e", now + 6 * HOUR)
            monkeypatch.setattr(Store, "_write", deadly)
        monkeypatch.setattr(Store, "_write", real)
        if killed == before:
            break
    assert killed >= 10
