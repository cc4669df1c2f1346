"""All evidence together: what is wrong as things stand, and what of the open incidents is mended."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain

from alerting import configured, impact
from alerting.evidence import anomalies, attempts, drift, links, receipts, retired, rules, runs
from alerting.evidence.view import View
from alerting.folding import MARKS, stored
from alerting.incidents import RANK, Incident
from alerting.reports import Key, Kind, Report
from config.catalog import DELIVERIES


def gathered(view: View, *, news: bool) -> list[Report]:
    """What is wrong, and what is mended; with `news` only what the incidents do not say already."""
    found, by_run = rules.failures(view)
    linked, strange = links.failures(view), anomalies.failures(view)
    misshapen, proofs = list(rules.misshapen(view)), list(receipts.failures(view))
    tried, drifted = list(attempts.failures(view)), list(drift.failures(view))
    wrong = [*found, *linked.reports, *misshapen, *proofs, *tried, *drifted, *strange.reports, *runs.failures(view)]
    standing = {(one.key, one.on): one for one in wrong}
    still = configured.read(view.db, view.settings)
    wrong = [one for one in _newest(wrong) if not still.is_retired(one.key, one.kind)]
    if news:
        wrong = _unknown(wrong, view.latest({one.key for one in wrong}))
    wrong = rules.standing(view, wrong, by_run)
    detail: dict[str, Callable[[list[Report]], Iterator[Report]]] = {
        "rule": lambda reports: rules.detailed(view, reports),
        "link": lambda reports: links.detailed(view, linked, reports),
        "receipt": receipts.detailed,
        "anomaly": lambda reports: anomalies.detailed(view, strange, reports),
    }
    groups: dict[str, list[Report]] = defaultdict(list)
    for one in wrong:
        groups[_source(one)].append(one)
    told = chain.from_iterable(detail[name](group) if name in detail else group for name, group in groups.items())
    mended = chain(
        rules.passes(view, standing, by_run), rules.shaped(view, standing), links.passes(view, linked),
        receipts.passes(view, standing), attempts.passes(view, standing), drift.passes(view), anomalies.passes(view),
        runs.passes(view), retired.passes(view, still),
    )  # fmt: skip
    return [replace(one, scopes=impact.reached(view.settings, one.key.dataset, one.scopes)) for one in told] + [*mended]


def _source(report: Report) -> str:
    """Who knows its facts; empty where it has them already."""
    if report.kind is Kind.RECEIPT:
        return "receipt"
    if report.key.check == anomalies.CHECK:
        return "anomaly"
    if report.kind not in rules.KINDS or report.facts.title:
        return ""
    return "link" if report.key.dataset == DELIVERIES.name else "rule"


def _unknown(reports: list[Report], latest: dict[Key, Incident]) -> list[Report]:
    """Those of which the last incident of their key does not say as much already."""
    kept = []
    for one in reports:
        incident = latest.get(one.key)
        mark = incident.marks.get(one.on) if incident else None
        weight = (stored(one.at), one.failed, RANK[one.severity])
        if mark is None or weight > mark.weight:
            kept.append(one)
    return kept


def _newest(reports: list[Report]) -> Iterator[Report]:
    """Of each key as many windows as an incident remembers, the newest."""
    groups: dict[Key, list[Report]] = defaultdict(list)
    for one in reports:
        groups[one.key].append(one)
    for group in groups.values():
        yield from sorted(group, key=lambda one: one.on)[-MARKS:]
