"""What every stage works with: settings, database, ledger, the run and its clock."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from config import mongo, schema, settings
from config.settings import Settings
from quality import suites
from quality.suites import Suite
from tasks.ledger import Claim, Ledger, Partition

POLL_SECONDS: Final = 0.1


@dataclass(frozen=True)
class Context:
    """One worker's view of one run."""

    settings: Settings
    db: schema.Db
    ledger: Ledger
    now: datetime
    _bronze: set[str] = field(default_factory=set)
    _suites: dict[str, Suite] = field(default_factory=dict)

    @classmethod
    def open(cls, run_id: str, now: datetime | None = None) -> "Context":
        """Connect as configured. Raises ConfigError, MongoError."""
        loaded = settings.load()
        db = mongo.database(loaded)
        ledger = Ledger(db, run_id=run_id, lease=timedelta(seconds=loaded.pipeline.lease_seconds))
        return cls(loaded, db, ledger, now or datetime.now(UTC))

    @property
    def chunk(self) -> int:
        """How many windows go into one step."""
        return self.settings.pipeline.chunk_windows

    @property
    def checks(self) -> bool:
        """Whether data is measured and judged."""
        return self.settings.quality.checks

    def suite(self, dataset: str) -> Suite:
        """What is declared of `dataset`."""
        if dataset not in self._suites:
            self._suites[dataset] = suites.suite(dataset, self.settings)
        return self._suites[dataset]

    def code(self, dataset: str, transform: str) -> str:
        """The code version of `dataset`: that of its transform, and that of the rules it must pass."""
        return f"{transform}/{self.suite(dataset).version}" if self.checks else transform

    def wait_for(self, partition: Partition) -> Claim:
        """Claim `partition`, waiting for whoever holds it to end or to lose the lease."""
        while True:
            if claims := self.ledger.claim([partition]):
                return claims[0]
            time.sleep(POLL_SECONDS)

    def bronze_collection(self, dataset: str) -> None:
        """Make sure that the Bronze collection has its indexes, once per process."""
        if dataset not in self._bronze:
            schema.ensure_bronze(self.db, dataset)
            self._bronze.add(dataset)

    def plan(self, windows: int) -> None:
        """Tell whoever watches the run that so many more windows are to be done."""
        if windows:
            self._tell("planned", windows)

    def progress(self, windows: int) -> None:
        """Tell whoever watches the run that so many windows are done."""
        self._tell("done", windows)

    def _tell(self, what: str, windows: int) -> None:
        self.db[schema.RUNS].update_one({"_id": self.ledger.run_id}, {"$inc": {what: windows}}, upsert=True)
