"""How fast and how quietly incidents are told: latency, floods, storms, failovers, with real processes on loopback.

Usage: python -m bench.alerts [--full] [--only NAME]
"""

import argparse
import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from alerting.incidents import Kind
from bench import failover, latency
from bench.loopback import Loopback, Said
from bench.notifying import CHANNELS, Row, Site, database, opened, resident, wait_for
from config import mongod, schema

FLOOD_RATE: Final = 500
FLOOD_SECONDS: Final = 60
STORM: Final = 10_000
STORM_SECONDS: Final = 20
QUIET_SECONDS: Final = 25.0
"""So long without a word, and a storm has been counted for good (`reasons.STORM_CHANGE`)."""


def flood(folder: Path, uri: str, *, full: bool) -> list[Row]:
    """Memory and lag while hundreds of incidents a second arrive in many channels."""
    seconds = FLOOD_SECONDS * (3 if full else 1)
    third = seconds // 3
    memory: dict[int, float] = {}
    lags: list[float] = []
    with Loopback([*CHANNELS, "#rest"], pace=1.0) as slack:
        site = Site(folder, uri, database(), slack, CHANNELS)
        db = site.open()
        with site.notifying(db) as process:

            def look(second: int) -> None:
                lags.append(_lag(db))
                if second in (third, seconds):
                    memory[second] = resident(process.pid)

            _pour(db, FLOOD_RATE, seconds, look)
            began = time.monotonic()
            wait_for(lambda: _lag(db) == 0.0, "nothing owed", 120)
            drained = time.monotonic() - began
            said = slack.said()
            total, lost = _reached(db)
    each = Counter(one.channel for one in said)
    told = f"{memory[third]:.0f} MiB at {third} s, {memory[seconds]:.0f} MiB at {seconds} s"
    lag = f"longest owed {max(lags):.1f} s, then all done in {drained:.1f} s"
    return [
        (
            f"(i) {FLOOD_RATE} incidents a second for {seconds} s in {len(CHANNELS)} channels: memory",
            f"{told}; {lag}",
            f"{memory[seconds] / memory[third]:.2f} x",
            "grows with what is open only",
        ),
        (
            f"    what was said of {total:,}",
            f"{len(said):,} posts and edits, at most {max(each.values())} in a channel; {lost} out of reach",
            f"{slack_rate(said)} posts/s and channel",
            "at most 1; none",
        ),
    ]


def storm(folder: Path, uri: str, *, full: bool) -> list[Row]:
    """Thousands of incidents at once in one channel."""
    seconds = STORM_SECONDS * (3 if full else 1)
    with Loopback([*CHANNELS, "#rest"], pace=1.0) as slack:
        site = Site(folder, uri, database(), slack, CHANNELS)
        db = site.open()
        with site.notifying(db):
            began = time.time()
            _pour(db, STORM // seconds, seconds, lambda _: None, CHANNELS[:1])
            wait_for(lambda: time.time() - max(one.at for one in slack.said()) > QUIET_SECONDS, "quiet", 180)
            said, refused, messages = slack.said(), slack.refused(), slack.messages()
            total, lost = _reached(db)
            (kept,) = db[schema.INCIDENTS].find({"kind": str(Kind.STORM)})
            members = db[schema.INCIDENTS].count_documents({"cause": kept["_id"]})
            alone = db[schema.INCIDENTS].count_documents({"told": {"$ne": None}, "kind": {"$ne": str(Kind.STORM)}})
    (digest,) = [one for one in messages if one.incident == kept["_id"]]
    exact = f"{members:,} incidents at once" in digest.blocks and members + alone == total
    posts, edits = (sum(one.method == method for one in said) for method in ("chat.postMessage", "chat.update"))
    counted = "exact" if exact else "WRONG"
    first = said[0].at - began
    return [
        (
            f"(j) a storm of {total:,} within {seconds} s in one channel",
            f"{posts} posts, {edits} edits, {refused} too fast; count of {members:,} and {alone} told alone {counted}",
            f"{slack_rate(said)} posts/s and channel",
            "at most 20 messages, 1/s, exact",
        ),
        (
            "    first word; incidents that have no message and are in no storm",
            f"after {first:.1f} s; {lost}",
            "",
            "at once; 0",
        ),
    ]


def slack_rate(said: Sequence[Said]) -> int:
    """The most posts to one channel in any second (less 1 ms, for the clock)."""
    by_channel: dict[str, list[float]] = {}
    for one in said:
        if one.method == "chat.postMessage":
            by_channel.setdefault(one.channel, []).append(one.at)
    return max(
        sum(start <= moment < start + 0.999 for moment in moments)
        for moments in by_channel.values()
        for start in moments
    )


def _pour(
    db: schema.Db, rate: int, seconds: int, look: Callable[[int], None], channels: Sequence[str] = CHANNELS
) -> None:
    """Insert `rate` incidents a second in tenths; `look` is called after each second."""
    numbers = itertools.count()
    began = time.monotonic()
    for tenth in range(seconds * 10):
        some = list(itertools.islice(numbers, rate // 10))
        kept = [opened(n, channels[n % len(channels)].removeprefix("#"))[1] for n in some]
        db[schema.INCIDENTS].insert_many(kept, ordered=False)
        if (tenth + 1) % 10 == 0:
            look((tenth + 1) // 10)
        time.sleep(max(0.0, began + (tenth + 1) / 10 - time.monotonic()))
    late = time.monotonic() - began - seconds
    if late > seconds / 10:
        raise RuntimeError(f"the incidents took {late:.1f} s longer to insert than they should: the machine is busy")


def _lag(db: schema.Db) -> float:
    """How long the incident that waits longest has been owed, in seconds; storms' counts wait by design."""
    now = datetime.now(UTC)
    where = {"owed_at": {"$type": "date", "$lte": now}, "kind": {"$ne": str(Kind.STORM)}}
    found = db[schema.INCIDENTS].find_one(where, {"owed_at": 1}, sort=[("owed_at", 1)])
    return max(0.001, (now - found["owed_at"]).total_seconds()) if found else 0.0


def _reached(db: schema.Db) -> tuple[int, int]:
    """How many incidents there are, and how many of them neither were told nor are in a storm that was."""
    incidents, storm = db[schema.INCIDENTS], str(Kind.STORM)
    told = incidents.distinct("_id", {"kind": storm, "told": {"$ne": None}})
    ordinary: dict[str, Any] = {"key.dataset": "silver.deployments"}
    total = incidents.count_documents(ordinary)
    reached = incidents.count_documents({**ordinary, "$or": [{"told": {"$ne": None}}, {"cause": {"$in": told}}]})
    return total, total - reached


PARTS: Final[dict[str, Callable[..., list[Row]]]] = {
    "latency": latency.figures, "flood": flood, "storm": storm, "failover": failover.figures,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="longer, and with many more failures")
    parser.add_argument("--only", choices=list(PARTS), action="append", help="only this part; may be repeated")
    asked = parser.parse_args(arguments)
    table = Table("what", "figures", "ratio", "promised", title="Telling incidents")
    with tempfile.TemporaryDirectory() as folder, mongod.embedded(Path(folder) / "state") as server:
        for name in asked.only or PARTS:
            for row in PARTS[name](Path(folder), server.uri, full=asked.full):
                table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
