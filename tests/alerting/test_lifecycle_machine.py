"""Checks, people, the clock and the notifier do what they like with two problems in a real MongoDB: the laws hold.

The model knows of each problem which reports were made of it and what a person has resolved; what is wrong follows from
that in the laws' own words. Of each incident it knows what was told of it.
"""

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from alerting.folding import acknowledge, attach, resolve, silence
from alerting.incidents import Facts, Incident, Key, Kind, Report, State, Told, fingerprint
from alerting.reasons import Reason, due, notify_reason
from alerting.store import SKEW, Store
from config import mongo, schema
from config import settings as configuration
from quality.findings import Severity

START: Final = datetime(2026, 3, 1, tzinfo=UTC)
FIRST: Final = date(2026, 1, 1)
KEYS: Final = (Key("bronze.git.commits", "acme/api", "receipt"), Key("gold.dora_daily", "acme/api", "not_negative"))
LASTING: Final = {KEYS[0]}
"""Only the window itself mends it."""
CAUSE: Final = "0123456789-1"
STORM: Final = "storm-12345678-1"

said = st.tuples(
    st.sampled_from(KEYS),
    st.integers(0, 3),  # which window
    st.booleans(),  # whether it failed
    st.integers(-90, 2),  # judged so many minutes ago; or by a clock that is ahead
    st.sampled_from([Severity.WARNING, Severity.CRITICAL]),
)


class Lives(RuleBasedStateMachine):
    """What may happen, in any order."""

    def __init__(self, db: schema.Db) -> None:
        super().__init__()
        self.db = db
        self.db[schema.INCIDENTS].delete_many({})
        self.now = START
        self.store = Store(self.db)
        self.reports: dict[Key, list[Report]] = defaultdict(list)
        self.cleared: dict[Key, datetime] = {}
        self.excused: set[tuple[Key, date | None, datetime]] = set()
        self.heard: dict[str, list[Reason]] = defaultdict(list)
        self.versions: dict[str, dict[str, Any]] = {}

    # What happens

    @rule(batch=st.lists(said, min_size=1, max_size=5))
    def checks_run(self, batch: list[tuple[Key, int, bool, int, Severity]]) -> None:
        reports = [
            Report(
                key, self.now + timedelta(minutes=ago), failed, Kind.FINDING, FIRST + timedelta(days=day),
                severity, key in LASTING, Facts(f"{day} is {severity}"),
            )
            for key, day, failed, ago, severity in batch
        ]  # fmt: skip
        self.store.fold(reports, self.now)
        for key in KEYS:
            known = self.reports[key] + [one for one in reports if one.key == key]
            if self.of(key) or self.wrong(key, known):  # that nothing was ever wrong is not kept
                self.reports[key] = known

    @rule()
    def everything_is_derived_anew(self) -> None:
        before = self.documents()
        assert self.store.fold([one for reports in self.reports.values() for one in reports], self.now) == []
        assert self.documents() == before

    @rule(minutes=st.sampled_from([0, 1, 5, 10, 31, 24 * 60 + 1]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(key=st.sampled_from(KEYS), act=st.sampled_from(["acknowledge", "silence", "resolve"]))
    def a_person_acts(self, key: Key, act: str) -> None:
        if not (mine := self.of(key)) or mine[-1].state is not State.OPEN:
            return
        if act == "resolve":
            for one in self.newest(self.reports[key]).values():
                if one.failed and one.at > self.now:
                    self.excused.add((key, one.window, one.at))
            self.cleared[key] = self.now
        acts = {
            "acknowledge": lambda one: acknowledge(one, "kim", self.now, ""),
            "silence": lambda one: silence(one, self.now + timedelta(minutes=45), "kim", self.now, ""),
            "resolve": lambda one: resolve(one, "kim", self.now, ""),
        }
        self.store.change(mine[-1].id, acts[act], self.now)

    @rule(key=st.sampled_from(KEYS), cause=st.sampled_from([CAUSE, STORM, None]))
    def a_cause_is_found_or_is_over(self, key: Key, cause: str | None) -> None:
        if mine := self.of(key):
            self.store.change(mine[-1].id, lambda one: attach(one, cause), self.now)

    @rule()
    def the_notifier_looks(self) -> None:
        self.deliver()
        for incident in self.store.owed(self.now - SKEW):
            assert notify_reason(incident, self.now) is Reason.NONE

    @rule(wait=st.integers(0, 60))
    def each_minute_is_tried(self, wait: int) -> None:
        """What is due is due at the first minute at which somebody is to be told."""
        since = self.now + timedelta(minutes=wait)
        for incident in self.store.listed({}):
            at = due(incident, since)
            minutes = (since + timedelta(minutes=minute) for minute in range(25 * 60))
            seen = next((one for one in minutes if notify_reason(incident, one) is not Reason.NONE), None)
            assert (seen is None) == (at is None or at > since + timedelta(minutes=25 * 60 - 1))
            assert seen is None or at is None or at <= seen < at + timedelta(minutes=1)

    # What always holds

    @invariant()
    def what_is_wrong_follows_from_what_was_said(self) -> None:
        for key in KEYS:
            incidents = self.of(key)
            assert [one.id.rsplit("-", 1)[1] for one in incidents] == [str(n + 1) for n in range(len(incidents))]
            assert [one.state for one in incidents[:-1]] == [State.RESOLVED] * (len(incidents) - 1)
            wrong = self.wrong(key, self.reports[key])
            last = incidents[-1] if incidents else None
            assert sorted(wrong) == [date.fromisoformat(one) for one in (last.failing if last else ())]
            assert (last is not None and last.state is State.OPEN) == bool(wrong)
            if last is not None and wrong:
                newest = self.newest(self.reports[key])
                told = max(wrong, key=lambda day: (newest[day].severity is Severity.CRITICAL, newest[day].at, day))
                assert (last.severity, last.facts) == (newest[told].severity, newest[told].facts)

    @invariant()
    def each_write_raises_the_version_and_each_change_the_revision(self) -> None:
        for one in self.documents():
            before = self.versions.get(one["_id"], {"version": 0, "revision": 0, "story": [], "failing": []})
            assert one == before or one["version"] > before["version"]
            assert (one["revision"] > before["revision"]) or one["failing"] == before["failing"]
            assert one["revision"] >= before["revision"]
            assert one["openings"] == sorted(one["openings"])
            self.versions[one["_id"]] = one

    @invariant()
    def what_is_due_is_owed(self) -> None:
        owed = {one.id for one in self.store.owed(self.now)}
        for one in self.store.listed({}):
            at = due(one, self.now)
            if at is not None and at <= self.now + SKEW:
                assert one.id in owed
            elif one.id in owed:  # of clocks that are ahead
                assert notify_reason(one, self.now) is Reason.NONE

    def teardown(self) -> None:
        """Left alone for long enough, what is known is what is true."""
        for one in self.store.listed({}):
            self.store.change(one.id, lambda each: attach(each, None), self.now)
        for _ in range(95):  # longer than a silence, then than it takes a flapping incident to settle
            self.now += timedelta(minutes=1)
            self.deliver()
        for one in self.store.listed({}):
            if one.state is State.OPEN:
                assert one.told is not None
                assert (one.told.state, one.told.revision) == (State.OPEN, one.revision)
            else:
                assert one.told is None or one.told.state is State.RESOLVED
        self.db[schema.INCIDENTS].delete_many({})

    # The model

    def newest(self, reports: list[Report]) -> dict[date, Report]:
        """The last word on each window; of the same moment, the worse."""
        ordered = sorted(reports, key=lambda one: (one.at, one.failed, one.severity is Severity.CRITICAL))
        return {one.window: one for one in ordered if one.window}

    def wrong(self, key: Key, reports: list[Report]) -> set[date]:
        """The windows that failed, and that neither a check nor a person has mended."""
        newest = self.newest(reports)
        return {
            day
            for day, one in newest.items()
            if one.failed
            and one.at > self.cleared.get(key, datetime.min.replace(tzinfo=UTC))
            and (key, day, one.at) not in self.excused
            and (
                key in LASTING
                or not any(later > day and other.at > one.at and not other.failed for later, other in newest.items())
            )
        }

    def of(self, key: Key) -> list[Incident]:
        """All incidents of that problem, in order."""
        found = self.store.listed({"fingerprint": fingerprint(key)})
        return sorted(found, key=lambda one: int(one.id.rsplit("-", 1)[1]))

    def documents(self) -> list[dict[str, Any]]:
        return list(self.db[schema.INCIDENTS].find(sort=[("_id", 1)]))

    def deliver(self) -> None:
        """What the notifier does, without Slack."""
        for incident in self.store.owed(self.now):
            if (reason := notify_reason(incident, self.now)) is Reason.NONE:
                continue
            self.hear(incident, reason)
            before = incident.told.reminded_at if incident.told else None
            reminded = self.now if reason is Reason.REMINDER else before
            sent = Told(incident.revision, incident.state, incident.severity, self.now, "C1", "17.1", reminded)
            self.store.change(incident.id, lambda one, sent=sent: replace(one, told=sent), self.now)  # type: ignore[misc]

    def hear(self, incident: Incident, reason: Reason) -> None:
        """What is told makes sense after what was told before."""
        heard = self.heard[incident.id]
        is_known = bool(heard) and heard[-1] is not Reason.RESOLVED
        assert is_known == (reason not in {Reason.OPENED, Reason.REOPENED})
        assert (reason is Reason.OPENED) == (not heard)
        assert (reason is Reason.RESOLVED) == (incident.state is State.RESOLVED)
        if reason is not Reason.RESOLVED:
            assert incident.cause is None
            assert reason is Reason.CHANGED or not incident.is_silenced(self.now)
        heard.append(reason)


@pytest.mark.timeout(600)
def test_whatever_happens_the_laws_hold(database: str) -> None:  # noqa: ARG001 - names the database
    db = mongo.database(configuration.load())
    run_state_machine_as_test(
        lambda: Lives(db),  # type: ignore[arg-type]  # a factory will do, as its documentation says
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
