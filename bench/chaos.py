"""Notifiers are killed at random while incidents are folded and Slack answers as it likes; each is told once.

Usage: python -m bench.chaos [--rounds N] [--kills N] [--incidents N] [--notifiers N] [--seed N]

Notifiers are forked from one process that has loaded everything, so that a start costs milliseconds; they are killed
with SIGKILL. The stand-in for Slack spoils a fifth of the calls: 429, 500, a reset, no answer in time, and, worst, a
message that is taken and not answered.
"""

import argparse
import logging
import os
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from alerting.incidents import GROUPS, Facts, Incident, Key, Kind, Report, State
from alerting.notifier import Notifier
from alerting.pace import Pace
from alerting.reasons import Reason, notify_reason
from alerting.standin import faults
from alerting.standin.faults import Call, Fault
from alerting.standin.server import StandIn
from alerting.standin.workspace import Message
from alerting.store import Store
from config import mongo, mongod, settings
from quality.findings import Severity

LEASE: Final = 0.25
"""Seconds; a killed notifier is replaced after that."""
TIMEOUT: Final = 0.1
"""Seconds that a call may take; shorter than the lease."""
CHANNELS: Final = 60
EACH: Final = ("kills", "incidents", "notifiers")
PATIENCE: Final = 180.0
"""Seconds for the end of a round: what is only late is not lost."""
SPOILT: Final = 0.2
"""Part of the calls that go wrong."""
WINDOW: Final = date(2026, 11, 1)
_WRONG: Final[Sequence[Fault]] = (
    Fault(status=429, headers=(("Retry-After", "0.05"),), error="ratelimited"), faults.server_error(500),
    faults.server_error(503, done=True), faults.reset(), faults.reset(done=True), faults.dropped(), faults.cut(),
    faults.slow(3 * TIMEOUT), faults.slow(3 * TIMEOUT, done=False), faults.login_page(),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it."""

    incidents: int
    messages: int
    kills: int
    lost: tuple[str, ...]
    """What somebody should have been told of, and was not, or not of its last state."""
    doubled: tuple[str, ...]
    """What was told twice."""
    seconds: float


def run(  # noqa: PLR0913 - what it is made of
    told: settings.Settings,
    slack: StandIn,
    *,
    kills: int,
    incidents: int,
    notifiers: int = 1,
    seed: int = 0,
    prepare: Callable[[], None] = lambda: None,
    patience: float = 30.0,
) -> Result:
    """Let it happen, then let one notifier bring it to an end.

    told: see `arranged`. prepare: called in each notifier before it begins. patience: seconds for the end.
    """
    started, chance = time.monotonic(), random.Random(seed)  # noqa: S311 - no secret
    slack.decide = _spoiling(random.Random(seed + 1))  # noqa: S311
    folding = forked(lambda: _fold(told, incidents, random.Random(seed + 2)))  # noqa: S311
    pids = [forked(lambda: _notify(told, prepare)) for _ in range(notifiers)]
    folded = threading.Event()

    def watch() -> None:
        _wait(folding)
        folded.set()

    threading.Thread(target=watch, daemon=True).start()
    done = 0
    while done < kills or not folded.is_set():
        time.sleep(chance.uniform(0.0, 2 * LEASE if done < kills else LEASE))
        if done < kills:
            doomed = pids.pop(chance.randrange(len(pids)))
            os.kill(doomed, signal.SIGKILL)
            _wait(doomed)
            pids.append(forked(lambda: _notify(told, prepare)))
            done += 1
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        _wait(pid)
    _finish(told, slack, prepare, patience)
    found = Store.of(mongo.database(told), told).listed({"kind": str(Kind.FINDING)})
    lost, doubled = judged(found, slack.messages)
    return Result(len(found), len(slack.messages), done, lost, doubled, time.monotonic() - started)


def arranged(told: settings.Settings, slack: StandIn) -> settings.Settings:
    """`told`, with a short lease and a route to each of the channels of `slack`; no storms."""
    names = [f"#{one.name}" for one in slack.workspace.channels.values()]
    routes = tuple(settings.Route(scope=f"{name[1:]}/*", channel=name) for name in names)
    notifier = told.notifier.model_copy(update={"lease_seconds": LEASE, "storm": 1_000_000, "sweep_seconds": 5.0})
    changed = {"slack": slack.settings(timeout=TIMEOUT), "routes": routes, "notifier": notifier}
    return told.model_copy(update=changed)


def channels(number: int = CHANNELS) -> list[str]:
    """Names of so many channels."""
    return [f"#c{n:03}" for n in range(number)]


def judged(incidents: Sequence[Incident], messages: Sequence[Message]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What was lost and what was doubled, each with what is wrong with it.

    One that is over before anybody was told of it says nothing. Any other has one root message, which shows it as it
    is, and what has happened since that was posted is said in one reply each.
    """
    roots: dict[str, list[Message]] = {}
    replies: dict[str, list[Message]] = {}
    for one in messages:
        name, _, part = _key(one)
        (roots if part == "root" else replies).setdefault(name, []).append(one)
    lost: list[str] = []
    doubled: list[str] = []
    for incident in incidents:
        mine, is_told_by_another = roots.get(incident.id, []), incident.told is None and incident.cause in roots
        if mine:
            less, more = _judged(incident, mine, replies.get(incident.id, []))
            lost += less
            doubled += more
        elif incident.told is not None or (incident.state is State.OPEN and not is_told_by_another):
            lost.append(f"{incident.id}: not told")
    return tuple(lost), tuple(doubled)


def _judged(incident: Incident, roots: Sequence[Message], replies: Sequence[Message]) -> tuple[list[str], list[str]]:
    name, root = incident.id, roots[0]
    if incident.told is None or notify_reason(incident, datetime.now(UTC)) is not Reason.NONE:
        return [f"{name}: {incident.state}, told {incident.told}"], []
    lost: list[str] = []
    doubled = [f"{name}: {len(roots)} root messages"] if len(roots) > 1 else []
    now = incident.told.revision  # a change that is no worse may wait to be told
    if _key(root)[1] != now:
        lost.append(f"{name}: shows revision {_key(root)[1]} of {now}")
    if incident.kind in GROUPS:
        return lost, doubled  # counts are edited, and need no reply
    revisions = [_key(one)[1] for one in replies]
    if len(set(revisions)) < len(revisions):
        doubled.append(f"{name}: replies {revisions}")
    first = root.versions[0]["metadata"]["event_payload"]["revision"] if root.versions else now
    events = Counter(event.what for event in incident.story if first < event.revision <= now)
    text = "".join(str(one.blocks[1:]) for one in replies)
    for what, number in events.items():
        if (there := text.count(f"*{what}*")) != number:
            (lost if there < number else doubled).append(f"{name}: {there} of {number} {what}")
    return lost, doubled


def forked(work: Callable[[], object]) -> int:
    """Run `work` in a child process that holds none of our connections; its pid."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of threads; the child makes its own client
        pid = os.fork()
    if pid:
        return pid
    try:
        os.closerange(3, 1024)  # a connection that we close is to be closed
        work()
    except BaseException:  # noqa: BLE001 - a child ends here, whatever happens
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _notify(told: settings.Settings, prepare: Callable[[], None]) -> None:
    logging.disable(logging.CRITICAL)
    prepare()
    notifier = Notifier(told)
    notifier.pace = Pace(0.01)
    notifier.run(threading.Event())


def _fold(told: settings.Settings, number: int, chance: random.Random) -> None:
    """Open `number` incidents, some of which get worse, end, or come back, over about a second for each thirty."""
    store = Store.of(mongo.database(told), told)
    scopes = [route.scope.removesuffix("*") for route in told.routes]
    opened: list[Key] = []
    for n in range(number):
        about = Key("silver.changes", f"{scopes[n % len(scopes)]}{n:05}", "no_nulls")
        severity = chance.choice([Severity.WARNING, Severity.CRITICAL])
        store.fold([_report(about, severity=severity)])
        opened.append(about)
        if chance.random() < 0.7:
            again = chance.choice(opened[-40:])
            store.fold([_report(again, failed=chance.random() < 0.5)])
        time.sleep(chance.uniform(0.0, 0.05))


def _report(about: Key, *, failed: bool = True, severity: Severity = Severity.CRITICAL) -> Report:
    facts = Facts(f"{about.check} fails in {about.scope}", expected="0", observed="7 of 9" if failed else "")
    now = datetime.now(UTC)
    return Report(about, now, failed=failed, kind=Kind.FINDING, window=WINDOW, severity=severity, facts=facts)


def _finish(told: settings.Settings, slack: StandIn, prepare: Callable[[], None], patience: float) -> None:
    """Slack is well again, and nobody is killed any more."""
    slack.decide = lambda _: None
    store = Store.of(mongo.database(told), told)
    pid = forked(lambda: _notify(told, prepare))
    until = time.monotonic() + patience
    calls = -1
    while time.monotonic() < until:
        time.sleep(4 * LEASE)
        if calls == slack.counts.total() and not store.owed(datetime.now(UTC)):
            break
        calls = slack.counts.total()
    os.kill(pid, signal.SIGKILL)
    _wait(pid)


def _spoiling(chance: random.Random) -> Callable[[Call], Fault | None]:
    return lambda _: chance.choice(_WRONG) if chance.random() < SPOILT else None


def _key(message: Message) -> tuple[str, int, str]:
    carried = (message.metadata or {})["event_payload"]
    return carried["incident"], carried["revision"], carried["part"]


def _wait(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status) and status:
        raise RuntimeError("a process of the test failed, see above")


def main() -> int:
    """Print what came of it, round by round; 1 if anything was lost or doubled."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, usual in (("rounds", 10), ("kills", 100), ("incidents", 1000), ("notifiers", 2), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=usual, help="of each round" if name in EACH else None)
    asked = parser.parse_args()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder, mongod.embedded(Path(folder)) as server:
        os.environ["TOUCHSTONE_MONGO_URI"] = server.uri
        for number in range(asked.rounds):
            os.environ["TOUCHSTONE_MONGO_DATABASE"] = f"chaos{number}"
            settings.load.cache_clear()
            with StandIn(channels=channels()) as slack:
                told = arranged(settings.load(), slack)
                mongo.database(told)
                result = run(
                    told, slack, kills=asked.kills, incidents=asked.incidents, notifiers=asked.notifiers,
                    seed=asked.seed + number, patience=PATIENCE,
                )  # fmt: skip
            mongo.close()
            figures = f"{result.incidents:,} incidents, {result.kills:,} kills, {result.messages:,} messages"
            told_of = f"lost: {len(result.lost)}, doubled: {len(result.doubled)}"
            print(f"{figures} in {result.seconds:.0f} s; {told_of}", flush=True)
            wrong += [*result.lost, *result.doubled]
    print("\n".join(wrong[:20]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
