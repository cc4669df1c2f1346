"""`touchstone detector selftest`: which faults would be found, for people and for programs. Only reads."""

import json
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from config import settings
from quality.detector import judging
from quality.detector.backtest import Replayed, per_quarter, replay
from quality.detector.faults import FAULTS, Fault
from quality.detector.selftest import Trial, selftest
from quality.observations import Series
from tasks import backtests, detector_charts
from tasks.backtests import say

WEAK: Final = 0.5
"""Recall below it is shown in another colour."""


@dataclass(frozen=True, slots=True)
class Selftest:
    """What came of one."""

    first: date
    budget: float
    seed: int
    clean: Sequence[Replayed]
    """The untouched history."""
    trials: Sequence[Trial]
    seconds: float


def run(days: int, dataset: str | None, seed: int) -> Selftest:
    """Put faults into copies of the last `days` days. Raises ConfigError if nothing is observed, MongoError."""
    loaded = settings.load()
    began = time.monotonic()
    first = datetime.now(UTC).date() - timedelta(days=days)
    histories = backtests.observed(loaded, days, dataset)
    options = judging.options(loaded, seed)
    clean = replay(histories, options, first)
    trials = list(selftest(clean, options, first))
    budget = loaded.detector.false_alarms_per_series_per_quarter
    return Selftest(first, budget, seed, clean, trials, time.monotonic() - began)


@dataclass(frozen=True, slots=True)
class Score:
    """Of some trials."""

    injected: int
    found: int
    days: float | None
    """Median of the windows to the first alarm, 0: at once; None if none was found."""

    @property
    def recall(self) -> float | None:
        """Share that was found."""
        return self.found / self.injected if self.injected else None

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {"injected": self.injected, "found": self.found, "recall": self.recall, "days_to_detection": self.days}


def score(trials: Iterable[Trial]) -> Score:
    """What was found of `trials`."""
    after = [one.after for one in trials]
    found = [windows for windows in after if windows is not None]
    return Score(len(after), len(found), statistics.median(found) if found else None)


def of(found: Selftest, fault: Fault | None = None, dataset: str | None = None) -> Score:
    """Of one fault, of one dataset, of all."""
    return score(one for one in found.trials if fault in {None, one.fault} and dataset in {None, one.dataset})


def datasets(found: Selftest) -> list[str]:
    """Those that were tried, in order of name."""
    return sorted({one.of.dataset for one in found.clean})


def blind(found: Selftest) -> list[Replayed]:
    """The streams without an opinion of any window."""
    return [one for one in found.clean if not one.judged]


def as_json(found: Selftest) -> str:
    """For programs."""
    document = {
        "first": found.first,
        "seed": found.seed,
        "budget": found.budget,
        "false_alarms_per_series_and_quarter": per_quarter(found.clean),
        "seconds": round(found.seconds, 1),
        "faults": [
            {"fault": fault.name, "what": fault.what, "lasts": fault.lasts, **of(found, fault).document()}
            for fault in FAULTS
        ],
        "datasets": [_dataset(found, name) for name in datasets(found)],
        "blind": [{"dataset": one.of.dataset, "scope": one.of.scope} for one in blind(found)],
    }
    return json.dumps(document, indent=1, default=str)


def _dataset(found: Selftest, name: str) -> dict[str, Any]:
    clean = [one for one in found.clean if one.of.dataset == name]
    return {
        "dataset": name,
        "series": len(clean),
        "blind": sum(not one.judged for one in clean),
        "false_alarms_per_series_and_quarter": per_quarter(clean),
        **of(found, None, name).document(),
        "faults": {fault.name: of(found, fault, name).document() for fault in FAULTS},
    }


def show(found: Selftest, console: Console) -> None:
    """For people: recall per fault and per dataset, what is blind, and how often there is an alarm for nothing."""
    sighted = len(found.clean) - len(blind(found))
    told = f"{len(found.trials):,} faults in copies of {sighted:,} series since {found.first}, in memory"
    say(console, f"{told}: nothing was written ({found.seconds:.1f} s).")
    console.print()
    console.print(_by_fault(found))
    console.print()
    console.print(_by_dataset(found))
    console.print()
    for one in blind(found):
        say(console, f"blind: {one.of.dataset} {one.of.scope}: too little history for an opinion", "yellow")
    if (rate := per_quarter(found.clean)) is not None:
        told = f"On the untouched history: {rate:.2f} alerts per series and quarter; the budget is {found.budget:g}."
        say(console, told, "bold")
        say(console, "What really happened in it is among them: `touchstone detector backtest` shows each.")


def _by_fault(found: Selftest) -> Table:
    table = _table("fault", "what", "lasts", "injected", "found", "recall", "days to it")
    for fault in FAULTS:
        of_fault = of(found, fault)
        days = "-" if of_fault.days is None else f"{of_fault.days:g}"
        table.add_row(fault.name, fault.what, f"{fault.lasts} d", f"{of_fault.injected:,}", f"{of_fault.found:,}",
                      _recall(of_fault), days)  # fmt: skip
    total = of(found)
    table.add_row(Text("all", "bold"), "", "", f"{total.injected:,}", f"{total.found:,}", _recall(total), "")
    return table


def _by_dataset(found: Selftest) -> Table:
    table = _table("dataset", "series", "blind", "recall", "alerts/q", "found of each fault")
    for name in datasets(found):
        clean = [one for one in found.clean if one.of.dataset == name]
        rate = per_quarter(clean)
        each = {fault.name: of(found, fault, name) for fault in FAULTS}
        told = [f"{fault}\u00a0{one.found}/{one.injected}" for fault, one in each.items() if one.injected]
        table.add_row(
            name, f"{len(clean):,}", f"{sum(not one.judged for one in clean) or '-'}", _recall(of(found, None, name)),
            "-" if rate is None else f"{rate:.2f}", ", ".join(told) or "none: there was no place for one",
        )  # fmt: skip
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold underline", padding=(0, 1, 0, 0))
    for heading in headings:
        long = heading in {"what", "found of each fault"}
        left = long or heading in {"fault", "dataset"}
        table.add_column(heading, justify="left" if left else "right", no_wrap=not long)
    return table


def _recall(one: Score) -> Text:
    if one.recall is None:
        return Text("-", "dim")
    return Text(f"{one.recall:.0%}", "yellow" if one.recall < WEAK else "green")


def draw(found: Selftest, folder: Path, console: Console) -> None:
    """A chart of the first trial of each fault and dataset, as SVG files."""
    for one in found.trials:
        if one.shown is None:
            continue
        stream, judgement = one.shown
        at = (one.window - stream.start).days
        alarms = [stream.start + timedelta(days=row) for row in range(at, stream.windows) if judgement.alarm[row]]
        series = Series(one.dataset, f"{one.scope} ({one.fault.name})", one.measure)
        for path in detector_charts.write(folder, series, stream, judgement, max(at - backtests.BEFORE, 0), alarms):
            say(console, f"drawn: {path}")
