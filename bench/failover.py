"""What is lost or doubled while primaries and notifiers are killed: the promise is nothing of either.

Three mongods, two notifiers as processes of their own. Incidents are folded meanwhile, as checks do it: again after an
error, since to fold the same report twice is to fold it once.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pymongo.errors import PyMongoError

from alerting.incidents import first_id
from alerting.store import Store
from bench.loopback import Loopback
from bench.notifying import TICK_SECONDS, Row, Site, database, end, report, wait_for
from bench.replicas import Replicas
from config import schema

if TYPE_CHECKING:
    from subprocess import Popen

CHANNELS: Final = tuple(f"#fail-{n:02}" for n in range(60))
NOTIFIERS: Final = 2
LEASE_SECONDS: Final = 3.0
ALONE: Final = 1_000_000
"""Each incident is told by itself, however many are owed."""
AGAIN_SECONDS: Final = 0.2
SEED: Final = 20261101


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens."""

    incidents: int = 300
    seconds: float = 36.0
    """Over which they are folded."""
    primary_every: float = 8.0
    """Seconds between two kills of the primary; it comes back in the middle between them."""
    notifier_every: float = 3.0


FULL: Final = Plan(incidents=3000, seconds=360.0)


@dataclass(slots=True)
class Kills:
    """How many there were."""

    primaries: int = 0
    notifiers: int = 0
    errors: int = 0
    """How often whoever folds was told that MongoDB cannot be written to."""


def figures(folder: Path, _: str, *, full: bool) -> list[Row]:
    """Lines of the table."""
    plan, kills = FULL if full else Plan(), Kills()
    with Replicas(folder) as replicas, Loopback([*CHANNELS, "#rest"], pace=1.0) as slack:
        site = Site(folder, replicas.uri, database(), slack, CHANNELS, lease_seconds=LEASE_SECONDS, storm=ALONE)
        db = site.open(serverSelectionTimeoutMS=5000)
        notifiers = [site.notify() for _ in range(NOTIFIERS)]
        try:
            wait_for(lambda: site.leads(db, notifiers[0]), f"a notifier that leads; see {site.log}")
            with ThreadPoolExecutor(1) as pool:
                writing = pool.submit(_write, Store(db), plan, kills)
                _kill(replicas, site, notifiers, plan, kills, writing.done)
                names = writing.result()
            began = time.monotonic()
            wait_for(lambda: _is_all_told(db, len(names)), f"everything told; see {site.log}", 180)
            settled = time.monotonic() - began
        finally:
            for process in notifiers:
                end(process)
        roots = Counter(one.incident for one in slack.messages() if one.part == "root")
    lost, doubled = names - set(roots), sum(count > 1 for count in roots.values())
    return [
        (
            f"(k) {len(names):,} incidents, 3 mongods: {kills.primaries} primaries, {kills.notifiers} notifiers killed",
            f"{len(lost)} lost, {doubled} doubled; all told {settled:.1f} s after the last commit",
            f"{kills.errors} writes tried again",
            "0 lost, 0 doubled",
        )
    ]


def _write(store: Store, plan: Plan, kills: Kills) -> set[str]:
    """Fold the incidents over the plan's time, each until it is acknowledged; returns their ids."""
    names, began = set[str](), time.monotonic()
    for number in range(plan.incidents):
        now = datetime.now(UTC)
        one = report(number, CHANNELS[number % len(CHANNELS)].removeprefix("#"), now)
        while True:
            try:
                store.fold([one], now)
                break
            except PyMongoError:
                kills.errors += 1
                time.sleep(AGAIN_SECONDS)
        names.add(first_id(one.key, one.kind))
        time.sleep(max(0.0, began + (number + 1) * plan.seconds / plan.incidents - time.monotonic()))
    return names


def _kill(  # noqa: PLR0913, PLR0917 - whom, how often, and until when
    replicas: Replicas,
    site: Site,
    notifiers: list["Popen[bytes]"],
    plan: Plan,
    kills: Kills,
    is_over: Callable[[], bool],
) -> None:
    """Kill primaries and notifiers until it is over; all are there again at the end."""
    chance = random.Random(SEED)  # noqa: S311 - not for secrets
    down: int | None = None
    now = time.monotonic()
    primary_at, back_at, notifier_at = now + plan.primary_every / 2, now, now + plan.notifier_every
    while not is_over():
        now = time.monotonic()
        if down is not None and now >= back_at:
            replicas.restart(down)
            down = None
        if down is None and now >= primary_at:
            down = replicas.kill_primary()
            kills.primaries += 1
            back_at, primary_at = now + plan.primary_every / 2, now + plan.primary_every * chance.uniform(0.8, 1.2)
        if now >= notifier_at:
            number = chance.randrange(NOTIFIERS)
            notifiers[number].kill()
            notifiers[number].wait()
            notifiers[number] = site.notify()
            kills.notifiers += 1
            notifier_at = now + plan.notifier_every * chance.uniform(0.6, 1.4)
        time.sleep(TICK_SECONDS / 2)
    if down is not None:
        replicas.restart(down)


def _is_all_told(db: schema.Db, total: int) -> bool:
    try:
        return (
            db[schema.INCIDENTS].count_documents({"key.dataset": "silver.deployments", "told.ts": {"$gt": ""}}) == total
        )
    except PyMongoError:
        return False
