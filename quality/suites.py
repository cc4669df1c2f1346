"""The suite of each dataset: what is declared in `config/suites`, and what the user's configuration adds to it.

A suite's version is part of the code version of its dataset's partitions, so that a rule that is added or changed is
tried on everything that is there.
"""

import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from config import settings
from config.settings import ConfigError, Settings
from quality.findings import Judges, Rule, Severity

FOLDER: Final = Path(settings.__file__).with_name("suites")


@dataclass(frozen=True)
class Suite:
    """What is measured of a dataset, and what must hold."""

    dataset: str
    rules: tuple[Rule, ...] = ()
    fields: tuple[str, ...] = ()
    """Dotted paths whose null ratio is measured."""
    numeric: tuple[str, ...] = ()
    """Dotted paths that are summarised as numbers."""
    categorical: tuple[str, ...] = ()
    """Dotted paths that are summarised as categories."""

    @cached_property
    def version(self) -> str:
        """A short hash of all that is declared."""
        declared = [[rule.document() for rule in self.rules], self.fields, self.numeric, self.categorical]
        return hashlib.sha256(json.dumps(declared, sort_keys=True, default=str).encode()).hexdigest()[:12]

    @cached_property
    def measures(self) -> tuple[str, ...]:
        """The names of all that may be measured of its rows."""
        summaries = [f"{name}.{path}" for path in self.numeric for name in ("min", "max", "mean")]
        summaries += [f"{name}.{path}" for path in self.categorical for name in ("distinct", "top_share")]
        nulls = [f"null_ratio.{path}" for path in self.fields]
        return ("rows", "distinct.key", "duplicate_ratio", "quarantine_ratio", *nulls, *summaries)

    def judging(self, judges: Judges) -> tuple[Rule, ...]:
        """Those of its rules that look at `judges`."""
        return self._judging[judges]

    def columns(self, judges: Judges) -> tuple[str, ...]:
        """What those rules read, as dotted paths."""
        return self._columns[judges]

    @cached_property
    def _judging(self) -> dict[Judges, tuple[Rule, ...]]:
        return {judges: tuple(rule for rule in self.rules if rule.judges is judges) for judges in Judges}

    @cached_property
    def _columns(self) -> dict[Judges, tuple[str, ...]]:
        return {
            judges: tuple(dict.fromkeys(column for rule in rules for column in rule.reads()))
            for judges, rules in self._judging.items()
        }


def suite(dataset: str, loaded: Settings | None = None) -> Suite:
    """The suite of `dataset`, empty if nothing is declared; of `settings.load()` if no settings are given.

    Raises ConfigError where declarations contradict each other.
    """
    loaded = loaded or settings.load()
    declared = [one for one in shipped() if _is_of(one.dataset, dataset)]
    declared += [one for one in loaded.suites if _is_of(one.dataset, dataset)]
    declared += [one.suite() for one in loaded.datasets if one.name == dataset]
    rules: dict[str, Rule] = {}
    fields: list[str] = []
    numeric: list[str] = []
    categorical: list[str] = []
    for one in declared:
        for name in one.drop:
            if rules.pop(name, None) is None:
                raise ConfigError(f"suites: {dataset}: drop: there is no rule {name!r}; there are: {', '.join(rules)}")
        for rule in one.rules:
            if rule.name in rules:
                raise ConfigError(f"suites: {dataset}: two rules are named {rule.name!r}; drop the other one first")
            rules[rule.name] = _rule(rule)
        fields += one.fields
        numeric += one.numeric
        categorical += one.categorical
    return Suite(dataset, tuple(rules.values()), _once(fields), _once(numeric), _once(categorical))


@lru_cache(maxsize=1)
def shipped() -> tuple[settings.Suite, ...]:
    """The suites that come with the program, general ones first."""
    found = []
    for path in sorted(FOLDER.glob("*.toml")):
        try:
            found.append(settings.Suite(**tomllib.loads(path.read_text(encoding="utf-8"))))
        except (tomllib.TOMLDecodeError, ValidationError) as error:
            raise ConfigError(f"{path}: {error}") from None
    return tuple(sorted(found, key=lambda one: ("*" not in one.dataset, one.dataset)))


def _is_of(pattern: str, dataset: str) -> bool:
    """Whether `pattern`, a dataset's name or the start of one and a star, is of `dataset`."""
    return dataset.startswith(pattern[:-1]) if pattern.endswith("*") else dataset == pattern


def _rule(rule: settings.Rule) -> Rule:
    return Rule(
        rule.name,
        rule.expectation,
        rule.arguments,
        Judges(rule.judges),
        Severity(rule.severity),
        rule.why,
        rule.columns,
    )


def _once(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
