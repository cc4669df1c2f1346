"""What the measurements of alerting share: a notifier as its own process, and incidents to tell of."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from pymongo import MongoClient
from pymongo.errors import PyMongoError
from pymongo.write_concern import WriteConcern

from alerting.folding import fold_all
from alerting.incidents import DEFAULT, Facts, Incident, Key, Kind, Report, document
from alerting.reasons import due
from bench.loopback import Loopback
from config import mongo, schema

Row = tuple[str, str, str, str]
"""Of the table: what, figures, ratio, promised."""
CHANNELS: Final = tuple(f"#team-{n:02}" for n in range(40))
PATIENCE_SECONDS: Final = 60.0
TICK_SECONDS: Final = 0.1


def wait_for(predicate: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Ask until it is true. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(TICK_SECONDS)


def report(number: int, team: str, at: datetime) -> Report:
    """A critical failure like those that the checks report, in a scope of its own: none is an effect of another."""
    scope = f"{team}/service-{number}"
    facts = Facts(
        title=f"silver.deployments has 37 rows without a commit, number {number}",
        expected="each deployment names a commit that is in the repository",
        observed="37 of 1,204 rows (3.1 %) name none",
        why="Change lead time leaves these deployments out, and looks shorter than it is.",
        command=f"touchstone quarantine list --dataset silver.deployments --scope {scope}",
        examples=tuple(f"acme/api|v1.{number}.{n}: commit is empty" for n in range(3)),
    )
    return Report(
        Key("silver.deployments", scope, "known_commit"), at, failed=True, kind=Kind.FINDING,
        window=date(2026, 11, 1), facts=facts, metrics=("change_lead_time", "deployment_frequency"), scopes=(scope,),
    )  # fmt: skip


def opened(number: int, team: str) -> tuple[Incident, dict[str, Any]]:
    """The incident that such a report opens, and its document as `Store.fold` would insert it."""
    now = datetime.now(UTC)
    incident = fold_all(None, [report(number, team, now)], DEFAULT)
    return incident, {**document(incident), "owed_at": due(incident, now, DEFAULT), "version": 1}


class Site:
    """One database, and the configuration that names it and a stand-in for Slack."""

    def __init__(
        self, folder: Path, uri: str, name: str, slack: Loopback, channels: Iterable[str], **notifier: float
    ) -> None:
        """channels: their names; scopes that begin with "x/" go to "#x". notifier: keys of that section."""
        self.name = name
        self.uri = uri
        self.config = folder / f"{name}.toml"
        self.log = folder / f"{name}.log"
        lines = [
            "[mongo]", f'database = "{name}"', "timeout_seconds = 3",
            "[slack]", f'base_url = "{slack.base_url}"', 'channel = "#rest"', "timeout_seconds = 3",
            "[notifier]", *(f"{key} = {value}" for key, value in notifier.items()),
        ]  # fmt: skip
        for one in channels:
            lines += [
                "[[routes]]",
                f"scope = {json.dumps(one.removeprefix('#') + '/*')}",
                f"channel = {json.dumps(one)}",
            ]
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.environment = os.environ | {
            "TOUCHSTONE_CONFIG": str(self.config),
            "TOUCHSTONE_MONGO_URI": uri,
            "SLACK_BOT_TOKEN": slack.token,
        }

    def open(self, **client: Any) -> schema.Db:
        """The database, with its indexes, through a client of one's own; reads and writes as strong as ours are."""
        connection: MongoClient[schema.Document] = MongoClient(self.uri, tz_aware=True, **client)
        db = connection.get_database(
            self.name, codec_options=mongo.CODEC, write_concern=WriteConcern(w="majority", j=True)
        )
        schema.ensure(db)
        return db

    def notify(self) -> "subprocess.Popen[bytes]":
        """`touchstone notify`, started."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tasks.cli", "notify"], env=self.environment, stdout=log, stderr=log
            )

    @contextmanager
    def notifying(self, db: schema.Db) -> "Iterator[subprocess.Popen[bytes]]":
        """`touchstone notify` that delivers, until the end of the block."""
        process = self.notify()
        try:
            wait_for(lambda: self.leads(db, process), f"a notifier that leads; see {self.log}")
            yield process
            self.leads(db, process)
        except TimeoutError as error:
            error.add_note(f"the notifier's last words:\n{self.log.read_text()[-2000:]}")
            raise
        finally:
            end(process)

    def leads(self, db: schema.Db, process: "subprocess.Popen[bytes]") -> bool:
        """Whether somebody holds the lease. Raises RuntimeError if `process` is gone."""
        if process.poll() is not None:
            raise RuntimeError(f"the notifier ended by itself; its last words:\n{self.log.read_text()[-2000:]}")
        try:
            kept = db[schema.META].find_one({"_id": "notifier"})
        except PyMongoError:
            return False
        return kept is not None and kept["owner"] is not None


def database() -> str:
    """A name that nobody has used."""
    return f"bench_{secrets.token_hex(5)}"


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ask it to end, and wait."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def resident(pid: int) -> float:
    """Memory of a process in MiB (VmRSS)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)
