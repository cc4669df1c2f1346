"""`touchstone sources preview`: what each pattern of the configuration matches among the newest records of a source.

The records are read live, and neither stored nor noted: a preview changes nothing. What counts is asked of the very
functions that make Silver.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from config import catalog
from config.section import ConfigError
from config.settings import Settings
from config.sources import Api, GitHub
from tasks import source_checks
from tasks.cli_common import plain
from tasks.sources.contract import Item, SourceError
from tasks.sources.http import HttpError, Reason
from tasks.transforms import counting, reading, silver
from tasks.transforms.counting import Rules
from tasks.transforms.reading import RowError, members, text_or

EXAMPLES: Final = 6
"""Names that are shown of each pattern, the most frequent first."""
_WIDTH: Final = 40

Payload = Mapping[str, Any]
Names = Callable[[Payload], Iterable[str]]


def _stages(payload: Payload) -> Iterator[str]:
    yield text_or(payload, "job.fullName")
    yield from (text_or(stage, "name") for stage in members(payload, "stages"))


def _places(payload: Payload) -> Iterator[str]:
    yield from _stages(payload)
    for action in members(payload, "build.actions"):
        for one in members(action, "parameters"):
            if isinstance(value := one.get("value"), str):
                yield value


def _one(*paths: str) -> Names:
    return lambda payload: [text_or(payload, path) for path in paths]


PATTERNS: Final[Mapping[str, tuple[tuple[str, str, Names], ...]]] = {
    "github.deployments": (("production", "environment", _one("deployment.environment")),),
    "github.workflow_runs": (
        ("workflows", "workflow", _one("name")),
        ("production", "workflow or branch", _one("name", "head_branch")),
    ),
    "github.releases": (("releases", "tag of the release", _one("tag_name")),),
    "github.tags": (("tags", "tag", _one("name")),),
    "github.issues": (("failures", "label", lambda payload: reading.names(payload, "issue.labels")),),
    "jira.issues": (
        ("failures", "type", _one("issue.fields.issuetype.name")),
        ("labels", "label", lambda payload: reading.names(payload, "issue.fields.labels")),
    ),
    "jenkins.builds": (
        ("deployments", "job or stage", _stages),
        ("production", "job, stage or parameter", _places),
    ),
}
"""By kind and stream: the key of `counts`, what its pattern is looked for in, and where that is in a payload."""
_WAYS: Final = {
    "deployments": "environments", "workflow_runs": "workflows", "releases": "releases", "tags": "tags",
}  # fmt: skip
"""Streams of GitHub that are deployments only if `counts.deployments` has this."""


@dataclass(slots=True)
class Seen:
    """What one pattern met."""

    key: str
    about: str
    pattern: str
    fits: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)

    def look_at(self, names: Names, payload: Payload) -> None:
        """Count the names in one record."""
        try:
            found = set(names(payload))
        except RowError:  # Silver says so of the same record
            return
        for name in found:
            (self.fits if counting.fits(self.pattern, name) else self.others)[name] += 1

    def document(self) -> dict[str, Any]:
        """For programs."""
        matched, others = dict(self.fits.most_common()), dict(self.others.most_common())
        return {"key": self.key, "about": self.about, "pattern": self.pattern, "matched": matched, "others": others}


@dataclass(slots=True)
class Preview:
    """One stream of one origin."""

    source: str
    origin: str
    stream: str
    seen: list[Seen]
    records: int = 0
    newest: datetime | None = None
    oldest: datetime | None = None
    becomes: Counter[str] = field(default_factory=Counter)
    """What the records become: "production deployment, success", "failure", ..."""
    ignored: str | None = None
    """What `counts.deployments` lacks, so that no record of this stream is a deployment, whatever fits."""
    problem: str | None = None
    is_last: bool = False
    """The problem is one of the whole source, which is not asked further."""

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "source": self.source, "origin": self.origin, "stream": self.stream, "records": self.records,
            "newest": self.newest, "oldest": self.oldest, "becomes": dict(self.becomes.most_common()),
            "patterns": [one.document() for one in self.seen], "ignored": self.ignored, "problem": self.problem,
        }  # fmt: skip


def previews(settings: Settings, source: Api, connector: Any, limit: int) -> Iterator[Preview]:
    """One for each origin and stream of `source`, of its newest `limit` records.

    It ends with the first one that says that nothing of the source can be read.
    """
    for unit in connector.units():
        for kind, origin, streams in connector.feeds(unit) or [(source.type, unit, ("builds",))]:
            for stream in streams:
                counts: Any = source.counts
                wanted = PATTERNS.get(f"{kind}.{stream}", ())
                seen = [Seen(key, about, getattr(counts, key)) for key, about, _ in wanted]
                made = Preview(source.name, origin, stream, seen, ignored=_ignored(source, stream))
                yield _look(settings, made, connector, limit, wanted)
                if made.is_last:
                    return


def _ignored(source: Api, stream: str) -> str | None:
    way = _WAYS.get(stream) if isinstance(source, GitHub) else None
    return None if not isinstance(source, GitHub) or way in {None, *source.counts.deployments} else way


def _look(
    settings: Settings, preview: Preview, connector: Any, limit: int, wanted: Sequence[tuple[str, str, Names]]
) -> Preview:
    rules: dict[str, Rules] = {}
    try:
        for item in connector.sample(preview.origin, preview.stream, limit):
            preview.records += 1
            preview.newest = max(preview.newest or item.updated_on, item.updated_on)
            preview.oldest = min(preview.oldest or item.updated_on, item.updated_on)
            for one, (_, _, names) in zip(preview.seen, wanted, strict=True):
                one.look_at(names, item.payload)
            of = rules.setdefault(item.origin, counting.rules(settings, item.origin))
            preview.becomes.update(_becomes(item, of))
    except (SourceError, ConfigError) as error:
        preview.problem, preview.is_last = str(error), _is_of_all(error)
    except source_checks.MISSHAPEN as error:
        preview.problem = source_checks.misshapen(error)
    return preview


def _is_of_all(error: Exception) -> bool:
    """Whether it is to be expected of every stream: nobody answers, or not to this credential."""
    if not isinstance(error, HttpError):
        return True
    return error.reason is Reason.UNREACHABLE or error.status == HTTPStatus.UNAUTHORIZED


def _becomes(item: Item, rules: Rules) -> Iterator[str]:
    """What Silver makes of a record, in words."""
    upstream = catalog.bronze(item.source, item.stream)
    document = {
        "_id": "", "source": item.source, "stream": item.stream, "origin": item.origin, "id": item.id,
        "updated_on": item.updated_on, "window": item.updated_on, "payload": item.payload,
    }  # fmt: skip
    for dataset, folds in silver.FOLDS.items():
        if upstream not in folds:
            continue
        try:
            row = silver.row(dataset, document, rules)
        except silver.RowError as error:
            yield f"unreadable for {dataset}: {error}"
            continue
        if not row.get("deleted"):
            yield _WORDS[dataset](row)
        elif dataset != catalog.BUILDS.name:
            yield _NONE[dataset]


def _deployment(row: Payload) -> str:
    where = "production" if row.get("production") else "other"
    return f"{where} deployment: {row.get('result') or 'without result'}"


_WORDS: Final[Mapping[str, Callable[[Payload], str]]] = {
    catalog.CHANGES.name: lambda row: {"pull_request": "merged pull request"}.get(row.get("kind", ""), "commit"),
    catalog.DEPLOYMENTS.name: _deployment,
    catalog.FAILURES.name: lambda row: "failure" if row.get("kind") == "incident" else "revert",
    catalog.BUILDS.name: lambda _: "build",
}
_NONE: Final = {
    catalog.CHANGES.name: "not merged",
    catalog.DEPLOYMENTS.name: "not a deployment",
    catalog.FAILURES.name: "not a failure",
}


def show(found: Iterable[Preview], console: Console) -> bool:
    """Print them as they come; whether all could be read."""
    well = True
    for one in found:
        console.print(Text.assemble((f"{plain(one.source)} {plain(one.origin)}: {plain(one.stream)}", "bold")))
        if one.problem:
            console.print(Text(f"  {plain(one.problem)}", "red"), soft_wrap=True)
            if one.is_last:
                console.print(f"  nothing else of {plain(one.source)} was asked for", markup=False, soft_wrap=True)
            well = False
            continue
        console.print(f"  {_summary(one)}", markup=False, soft_wrap=True)
        if one.ignored and one.records:
            lacking = f'none counts: "{one.ignored}" is not in counts.deployments'
            console.print(f"  {lacking}", markup=False, soft_wrap=True)
        if one.seen and one.records:
            console.print(_table(one.seen))
    return well


def _summary(one: Preview) -> str:
    if not one.records or one.newest is None or one.oldest is None:
        return "no records"
    becomes = _names(one.becomes, len(one.becomes)) if one.becomes else "nothing that counts"
    first, last = f"{one.oldest:%Y-%m-%d}", f"{one.newest:%Y-%m-%d}"
    newest = "the newest record" if one.records == 1 else f"the newest {one.records:,} records"
    return f"{newest}, {last if first == last else f'{first} to {last}'}: {becomes}"


_SPECIAL: Final = {"": '"" (all)', "(?!)": "(?!) (none)"}


def _table(seen: Iterable[Seen]) -> Table:
    table = Table(box=None, padding=(0, 2), show_edge=False)
    for title in ("  counts.", "pattern", "looked for in", "fits", "does not fit"):
        table.add_column(title, overflow="fold")
    for one in seen:
        cells = (one.key, _SPECIAL.get(one.pattern, one.pattern), one.about, _names(one.fits), _names(one.others))
        table.add_row(*(Text(cell if number else f"  {cell}") for number, cell in enumerate(cells)))
    return table


def _names(counted: Counter[str], most: int = EXAMPLES) -> str:
    shown = [f"{_short(name)} ({n:,})" for name, n in counted.most_common(most)]
    rest = len(counted) - len(shown)
    return ", ".join([*shown, *([f"{rest:,} more"] if rest else [])]) or "-"


def _short(name: str) -> str:
    shown = plain(name) or "(none)"
    return shown if len(shown) <= _WIDTH else f"{shown[: _WIDTH - 3].rstrip()}..."
