"""Windows of a watched collection: measured, their rows judged and set aside, and what came of it recorded."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any, Final

from config import schema
from config.settings import Collection
from quality import drift, quarantine
from quality.findings import Finding, Judges, Report
from quality.gate import MISSING, Assessment, Gate, Measures, Part, at_path
from quality.observations import Cause
from quality.receipts import STILL_OPEN, Proof, Verdict
from quality.shapes import Shapes
from tasks import aside_rows, checks
from tasks.context import Context
from tasks.foreign import Foreign, Look, Row, Seen
from tasks.ledger import Claim, LeaseLostError, Partition, Publication

CODE: Final = "watched/1"
"""There is no transform whose change could make the windows stale."""
CLOSED: Final = "closed"
"""The phase of a window that is final."""


@dataclass(frozen=True, slots=True)
class Window:
    """One window that is to be looked at closer."""

    day: date
    seen: Seen
    phase: str
    again: bool = False
    """It is asked for, though nothing may have changed."""
    cause: str = ""
    """Why it was recorded last."""

    @property
    def inputs(self) -> dict[str, str]:
        """What its record is made from."""
        return {"rows": self.seen.fingerprint, "phase": self.phase}


@dataclass(slots=True)
class _Found:
    """What is being found of one window."""

    window: Window
    same: bool
    """Its rows were judged by these rules already."""
    findings: dict[str, Finding] = field(default_factory=dict)
    """Of rows and batches, by rule."""
    columns: list[schema.Document] = field(default_factory=list)
    """What the rules on batches read of its rows."""
    read: int = 0


def code(context: Context, dataset: str) -> str:
    """The version of what judges the windows of `dataset`."""
    return context.code(dataset, CODE)


def make(context: Context, foreign: Foreign, look: Look, scope: str, windows: Sequence[Window]) -> set[Partition]:
    """Measure, judge and record what nobody else holds of `windows`; returns which."""
    name = foreign.dataset.name
    by_partition = {Partition(name, scope, window.day): window for window in windows}
    claimed = context.ledger.claim(list(by_partition))
    version = code(context, name)
    current = [one for one in claimed if one.is_made_from(by_partition[one.partition].inputs, version)]
    context.ledger.release(current)
    todo = {one: by_partition[one.partition] for one in claimed if one not in set(current)}
    lost = 0
    with context.ledger.holding(list(todo)):
        measured: dict[date, Measures] = {}
        if context.checks and todo:
            if foreign.suite.rules:
                checks.warm(context)
            measured = dict(foreign.measure(look, scope, [one.day for one in todo.values()], context.now))
        # a window that has more rows than a piece is one by itself, and read in pieces
        for piece in checks.pieces(todo, lambda claim: todo[claim].seen.rows):
            context.ledger.renew(piece)
            lost += _record(context, foreign, look, scope, {claim: todo[claim] for claim in piece}, measured)
            context.progress(len(piece))
    if lost:
        raise LeaseLostError(next(iter(todo)).partition)
    return {one.partition for one in claimed}


def _record(  # noqa: PLR0913, PLR0917 - one call, from one place
    context: Context,
    foreign: Foreign,
    look: Look,
    scope: str,
    windows: Mapping[Claim, Window],
    measured: dict[date, Measures],
) -> int:
    """Judge and record; returns how many windows were lost to another worker."""
    name, version = foreign.dataset.name, code(context, foreign.dataset.name)
    found = {claim: _Found(window, _is_judged(claim, window, version)) for claim, window in windows.items()}
    aside: Counter[date] = Counter()
    if context.checks:
        _read(context, foreign, look, scope, found)
        checks.release(context, name, scope, [claim for claim, one in found.items() if not one.same])
        aside = checks.set_aside(context, name, scope, [window.day for window in windows.values()])
        _judge_batches(context, foreign, list(found.values()))
    for window in windows.values() if context.checks else ():
        count = aside[window.day]
        share = {"quarantine_ratio": count / max(window.seen.rows, count)} if window.seen.rows else {}
        measured[window.day] = {**measured[window.day], "quarantined": count, **share}
    rules = _gate(context, foreign).judge_measures([measured[one.day] for one in windows.values()]) if measured else {}
    publications = []
    for number, (claim, one) in enumerate(found.items()):
        findings = (*one.findings.values(), *rules.get(number, ()))
        rows = int(measured[one.window.day]["rows"] or 0) if measured else one.window.seen.rows
        report = Report(foreign.suite.version, rows, findings)
        publications.append((claim, _publication(context, foreign, claim, one.window, report, aside[one.window.day])))
    return checks.publish(context, name, scope, publications, measured)


def _is_judged(claim: Claim, window: Window, version: str) -> bool:
    """Whether the rows were read and judged before, so that only the measures may have changed."""
    last = claim.blocked or {"inputs": claim.inputs, "code_version": claim.code_version, "report": claim.report}
    if claim.unfinished or not last["report"] or last["code_version"] != version:
        return False
    broke = any(finding.broke for finding in Report.from_document(last["report"]).findings)
    return not broke and (last["inputs"] or {}).get("rows") == window.seen.fingerprint


def _read(context: Context, foreign: Foreign, look: Look, scope: str, found: Mapping[Claim, _Found]) -> None:
    """Look at the rows of the windows, where they were not judged before: shapes, rules on rows, columns of batches."""
    name, suite = foreign.dataset.name, foreign.suite
    by_day = {one.window.day: (claim, one) for claim, one in found.items() if not one.same}
    for claim, one in found.items():
        if one.same:
            last = (claim.blocked or {}).get("report") or claim.report or {}
            old = Report.from_document(last).findings
            one.findings = {finding.rule: finding for finding in old if finding.judges is not Judges.PARTITION}
    days = [day for day, (_, one) in by_day.items() if one.window.seen.rows]
    gate = replace(_gate(context, foreign), suite=replace(suite, rules=suite.judging(Judges.ROW)))
    batch = dict.fromkeys([*suite.columns(Judges.BATCH), foreign.dataset.key]) if suite.judging(Judges.BATCH) else {}
    shapes = Shapes()
    for piece in foreign.read(look, scope, days) if days else ():
        rows: dict[date, list[Row]] = defaultdict(list)
        for row in piece:
            rows[row.day].append(row)
            shapes.add(name, scope, schema.start_of(row.day), aside_rows.text_of(row.value.get("_id")), row.value)
        if shapes.full:
            drift.merge(context.db, shapes, run_id=context.ledger.run_id, now=context.now)
            shapes = Shapes()
        parts = [Part([row.value for row in of_day]) for of_day in rows.values()]
        assessments = gate.assess(parts, lambda _: {})
        for (day, of_day), assessment in zip(rows.items(), assessments, strict=True):
            claim, one = by_day[day]
            _set_aside(context, name, claim, of_day, assessment)
            _add(one, assessment.report.findings, len(of_day), gate.examples)
            if batch:
                one.columns += [
                    {path: value for path in batch if (value := at_path(row, path)) is not MISSING}
                    for row in assessment.kept
                ]
        context.ledger.renew(list(found))
    drift.merge(context.db, shapes, run_id=context.ledger.run_id, now=context.now)


def _set_aside(context: Context, dataset: str, claim: Claim, rows: Sequence[Row], assessment: Assessment) -> None:
    raws = {id(row.value): row.raw for row in rows}
    if assessment.broken:
        scope, window = claim.partition.scope, schema.start_of(rows[0].day)
        wrong = (aside_rows.row(scope, window, row, raws[id(row)], breaks) for row, breaks in assessment.broken)
        quarantine.put(context.db, dataset, wrong, fence=claim.fence, run_id=context.ledger.run_id, now=context.now)


def _add(one: _Found, findings: Sequence[Finding], read: int, examples: int) -> None:
    """Put what was found of a further piece of the window to what was found before."""
    one.read += read
    for finding in findings:
        before = one.findings.get(finding.rule)
        if before is None:
            one.findings[finding.rule] = finding
        else:
            worse = finding if finding.broke else before
            shown = (*before.examples, *finding.examples)[:examples]
            one.findings[finding.rule] = replace(worse, rows=before.rows + finding.rows, examples=shown)
    for rule, finding in one.findings.items():
        told = finding.observed if finding.broke else f"{finding.rows:,} of {one.read:,} rows"
        one.findings[rule] = replace(finding, of=one.read, observed=told)


def _judge_batches(context: Context, foreign: Foreign, found: Sequence[_Found]) -> None:
    suite = foreign.suite
    if not suite.judging(Judges.BATCH):
        return
    gate = replace(_gate(context, foreign), suite=replace(suite, rules=suite.judging(Judges.BATCH)))
    for one in found:
        if not one.same and one.columns:
            (assessment,) = gate.assess([Part(one.columns)], lambda _: {})
            one.findings |= {finding.rule: finding for finding in assessment.report.findings}
            one.columns = []


def _publication(  # noqa: PLR0913, PLR0917 - one call, from one place
    context: Context, foreign: Foreign, claim: Claim, window: Window, report: Report, aside: int
) -> Publication:
    version = code(context, foreign.dataset.name)
    extra: dict[str, Any] = {"cause": _cause(claim, window, version)}
    if context.checks:
        extra["report"] = report.document()
        if held := checks.blocked(Assessment(report, (), (), {}), first=claim.is_first):
            proof = checks.unknown(report)
            content = schema.digest([[], proof])
            return Publication(content, window.inputs, version, 0, {"proof": proof, **extra}, blocked=held)
    proof = checks.lessened(_proof(foreign.dataset, window), aside, max(report.rows - aside, 0))
    revision = schema.digest([window.seen.fingerprint, proof, foreign.suite.measures])
    return Publication(revision, window.inputs, version, window.seen.rows, {"proof": proof, **extra})


def _proof(dataset: Collection, window: Window) -> dict[str, Any]:
    if window.phase == CLOSED:
        told = "watched, not extracted: no receipt says that it is whole"
        return Verdict(Proof.UNPROVEN, 0.0, told).document()
    until = schema.start_of(window.day) + schema.DAY + timedelta(hours=dataset.delay_hours)
    return Verdict(Proof.PARTIAL, 0.0, f"{STILL_OPEN}: it may grow until {until:%Y-%m-%d %H:%M} UTC").document()


def _cause(claim: Claim, window: Window, version: str) -> str:
    if claim.revision is None:
        return Cause.FIRST
    last = claim.blocked or {"inputs": claim.inputs, "code_version": claim.code_version}
    if last["code_version"] != version:
        return Cause.DEFINITION
    if (last["inputs"] or {}).get("rows") != window.seen.fingerprint:
        return Cause.LATE_DATA
    if window.again:
        return Cause.REPLAY
    return window.cause if claim.unfinished and window.cause else Cause.REPAIR


def _gate(context: Context, foreign: Foreign) -> Gate:
    return checks.gate(context, foreign.suite, foreign.dataset.key, foreign.has)
