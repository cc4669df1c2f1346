"""Which jobs a pattern finds: in folders, multibranch projects and organisation folders, however deep."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tasks.sources.contract import SourceError
from tasks.sources.http import Http, Trace
from tasks.sources.jenkins.api import job_path, number

_LEVELS: Final = 3
"""Of folders in one answer."""
_DEEPEST: Final = 20
"""Levels of folders: more are a circle, which Jenkins does not make."""
_COMPUTED: Final = re.compile(r"MultiBranch|OrganizationFolder|ComputedFolder")


@dataclass(frozen=True, slots=True)
class Tree:
    """What was found."""

    jobs: tuple[str, ...]
    """Full names, in order."""
    computed: frozenset[str]
    """Full names of the folders whose jobs Jenkins makes and removes by itself, and hides from nobody who sees one."""


def is_pattern(name: str) -> bool:
    """Whether it stands for more than one job."""
    return "*" in name


def fits(name: str, pattern: str) -> bool:
    """Whether a full name is one that `pattern` stands for; a star stands for any text, also across folders."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL) is not None


def folder_of(pattern: str) -> str:
    """The folder that all jobs of `pattern` are in; empty: Jenkins itself."""
    return pattern[: pattern.index("*")].rpartition("/")[0]


def find(http: Http, pattern: str, trace: Trace) -> Tree:
    """All jobs that fit. Raises SourceError if a folder cannot be read."""
    jobs: set[str] = set()
    computed: set[str] = set()
    visited: set[str] = set()
    waiting = [folder_of(pattern)]
    while waiting:
        folder = waiting.pop()
        answer = http.get(f"{job_path(folder)}api/json", {"tree": _tree(_LEVELS)}, trace=trace)
        answer.records("jobs")
        for name, entry, level in _walk(folder, answer.content, 0):
            if name.count("/") >= _DEEPEST:
                raise SourceError(f"{pattern}: folders of Jenkins lie deeper than {_DEEPEST} levels: name one of them")
            if isinstance(entry.get("jobs"), list):
                if name in visited:
                    continue
                if level < _LEVELS:
                    visited.add(name)
                    if _COMPUTED.search(str(entry.get("_class"))):
                        computed.add(name)
                else:
                    waiting.append(name)
            elif number(entry.get("nextBuildNumber")) is not None and fits(name, pattern):
                jobs.add(name)
    return Tree(tuple(sorted(jobs)), frozenset(computed))


def _tree(levels: int) -> str:
    """The last level only tells whether there is another one."""
    inner = "jobs[name]"
    for _ in range(levels):
        inner = f"jobs[_class,fullName,name,nextBuildNumber,{inner}]"
    return f"_class,fullName,{inner}"


def _walk(folder: str, content: Mapping[str, Any], level: int) -> Iterator[tuple[str, Mapping[str, Any], int]]:
    """The folder itself, and what is in it, each with its full name and level."""
    yield folder, content, level
    if level >= _LEVELS:
        return
    for entry in content["jobs"]:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            continue
        told = entry.get("fullName")
        name = told if isinstance(told, str) else f"{folder}/{entry['name']}".lstrip("/")
        if isinstance(entry.get("jobs"), list):
            yield from _walk(name, entry, level + 1)
        else:
            yield name, entry, level + 1
