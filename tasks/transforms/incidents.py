"""Which deployment an incident is laid to, by each rule of the band, and which one mended it. Pure.

* explicit: the deployment that the issue names: by id, name, address, or commit (7 digits of it will do).
  Of several the last one before the incident began, else the first.
* last_deployment: the last one in the link scope that had ended before the incident began. This is what DevLake's
  incident connector does.
* window: that one, if it ended no longer ago than the configured number of hours.

An incident that is over was mended by the last deployment of the failed one's line that began after the incident did,
and ended before it was resolved: that one is rework. Restoring took from the end of the failed deployment until the
incident was resolved.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tasks.transforms.history import Deployment, Incident
from tasks.transforms.reverts import SHORTEST_PREFIX

EXPLICIT: Final = "explicit"
WINDOW: Final = "window"
LAST: Final = "last_deployment"
RULES: Final = (EXPLICIT, WINDOW, LAST)

Row = dict[str, Any]


class Line(NamedTuple):
    """A deployment, and of which repository it is."""

    deployment: Deployment
    repository: str | None


class Laid(NamedTuple):
    """An incident and a deployment that it is laid to, by number."""

    incident: Incident
    failed: int
    rules: tuple[str, ...]
    mended_by: int | None

    @property
    def key(self) -> tuple[int, str, str]:
        """In which order they are told."""
        return (self.failed, self.incident.origin, self.incident.id)


def lay(incidents: Iterable[Incident], lines: Sequence[Line], window_seconds: float) -> list[Laid]:
    """All links from `incidents` to `lines`, which are in order of the end of each deployment."""
    ends = [line.deployment.deployed_ts for line in lines]
    names = _names(lines)
    found = []
    for incident in incidents:
        rules: dict[int, list[str]] = defaultdict(list)
        last = bisect_left(ends, incident.started_ts) - 1
        if (named := _named(incident, lines, names)) is not None:
            rules[named].append(EXPLICIT)
        if last >= 0 and incident.started_ts - ends[last] <= window_seconds:
            rules[last].append(WINDOW)
        if last >= 0:
            rules[last].append(LAST)
        for failed, by in rules.items():
            found.append(Laid(incident, failed, tuple(by), _mended_by(incident, failed, lines, ends)))
    return sorted(found, key=lambda one: one.key)


def _names(lines: Sequence[Line]) -> Mapping[str, list[int]]:
    """The numbers of the deployments that a text may mean."""
    found: dict[str, list[int]] = defaultdict(list)
    for number, (one, _) in enumerate(lines):
        number_of_it = one.id.rpartition(":")[2]
        job = {f"{one.origin}#{number_of_it}", f"{one.origin} #{number_of_it}"} if one.origin else set()
        for name in {one.id, number_of_it, one.name, one.url.rstrip("/"), one.target, *job} - {""}:
            found[name.lower()].append(number)
    return found


def _named(incident: Incident, lines: Sequence[Line], names: Mapping[str, list[int]]) -> int | None:
    """The number of the deployment that the incident names; of several names, which are apart by commas, the first."""
    whole = (incident.deployment or "").strip().lower()
    texts = dict.fromkeys(text.strip().rstrip("/") for text in (whole, *whole.split(",")))
    meant = (_meant(incident, text, lines, names) for text in texts if text)
    return next((number for number in meant if number is not None), None)


def _meant(incident: Incident, text: str, lines: Sequence[Line], names: Mapping[str, list[int]]) -> int | None:
    found = names.get(text) or names.get(text.removeprefix("v")) or names.get(f"v{text}") or []
    if not found and len(text) >= SHORTEST_PREFIX and set(text) <= set("0123456789abcdef"):
        meant = {line.deployment.target for line in lines if line.deployment.target.startswith(text)}
        found = names[min(meant)] if len(meant) == 1 else []
    before = [number for number in found if lines[number].deployment.deployed_ts <= incident.started_ts]
    return before[-1] if before else found[0] if found else None


def _mended_by(incident: Incident, failed: int, lines: Sequence[Line], ends: Sequence[int]) -> int | None:
    if incident.resolved_ts is None:
        return None
    mine = lines[failed]
    for number in range(bisect_left(ends, incident.resolved_ts + 1) - 1, failed, -1):
        one = lines[number]
        if one.deployment.deployed_ts <= incident.started_ts:
            return None
        same = one.repository == mine.repository and one.deployment.environment == mine.deployment.environment
        if same and one.deployment.began_ts >= incident.started_ts:
            return number
    return None


def mark(rows: Sequence[Row], laid: Sequence[Laid]) -> None:
    """Say on each row, one for each deployment, by which rules it failed, and by which it is rework."""
    for row in rows:
        row.update({f"{what}_{rule}": False for what in ("failed", "rework") for rule in RULES})
    for one in laid:
        for rule in one.rules:
            rows[one.failed][f"failed_{rule}"] = True
            if one.mended_by is not None:
                rows[one.mended_by][f"rework_{rule}"] = True


def row(one: Laid, lines: Sequence[Line]) -> Row:
    """The link as a row of the failed deployment's day."""
    (failed, repository), incident = lines[one.failed], one.incident
    mended = None if one.mended_by is None else lines[one.mended_by].deployment
    over = incident.resolved_ts is not None and incident.resolved_ts >= failed.deployed_ts
    return {
        "kind": "failure",
        "deployment": failed.id,
        "incident": incident.key,
        "issue": incident.id,
        "tracker": incident.origin,
        "rules": list(one.rules),
        "named": incident.deployment if EXPLICIT in one.rules else None,
        "began_ts": incident.started_ts,
        "resolved_ts": incident.resolved_ts,
        "restore_seconds": incident.resolved_ts - failed.deployed_ts if over and incident.resolved_ts else None,
        "mended_by": mended and mended.id,
        **({"repository": repository} if repository else {}),
        **({"origin": failed.origin} if failed.origin else {}),
    }
