"""What is declared of data: rules, suites, and collections that Touchstone did not make."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from config import catalog
from config.section import Name, Section, unset_if_blank

Dotted = Annotated[str, Field(min_length=1, max_length=500)]
"""The path of a field: names apart by dots, e.g. `payload.user.login`."""


class Rule(Section):
    """One expectation on a dataset."""

    name: Name
    expectation: Annotated[str, Field(min_length=1)]
    """A Great Expectations name (`expect_...`), or the dotted path of your own class: `package.module.ExpectIt`."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    judges: Literal["row", "partition", "batch"] = "row"
    severity: Literal["critical", "warning", "info"] = "critical"
    why: str = ""
    columns: tuple[Dotted, ...] = ()
    """Further columns that it reads, where its arguments do not name them."""


class Suite(Section):
    """What must hold of a dataset, and what is measured of it; adds to the suite that is there."""

    dataset: Annotated[str, Field(min_length=1)]
    """A name, or the start of names and a star: `bronze.*`."""
    drop: tuple[Name, ...] = ()
    """Rules that are there and shall not be."""
    rules: tuple[Rule, ...] = ()
    fields: tuple[Dotted, ...] = ()
    numeric: tuple[Dotted, ...] = ()
    categorical: tuple[Dotted, ...] = ()


def _path_of_fields(path: str) -> str:
    """`path` if the server can look for it by an index; raises ValueError."""
    parts = path.split(".")
    if any(not part or part.startswith("$") or part.isdecimal() or "\0" in part for part in parts):
        message = "should be names of fields apart by dots, none of them empty, a number, or beginning with $"
        raise ValueError(message)
    return path


Place = Annotated[Dotted, AfterValidator(_path_of_fields)]
"""The path of a field that rows are found by."""


class Collection(Section):
    """A collection that Touchstone did not make, to be watched as its own are."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=100)]
    """What the dataset is called here."""
    collection: Annotated[str, Field(pattern=r"^[^$.\x00]([^$\x00]*[^$.\x00])?$", max_length=200)]
    database: Annotated[str, Field(pattern=r'^[^/\\. "$*<>:|?\x00]{1,63}$')] | None = None
    """Absent: the one that the `uri` names; without a `uri` the one that Touchstone uses."""
    uri: Annotated[SecretStr | None, BeforeValidator(unset_if_blank)] = None
    """Absent: the server that Touchstone uses."""
    time: Place
    """Its event time: a date, decides the window."""
    key: Place = "_id"
    scope: Place | None = None
    """The field whose values are judged apart, e.g. a service; absent: all rows together."""
    delay_hours: Annotated[float, Field(ge=0, le=87_600)] = 0.0
    """How long after its end a window may still grow."""
    rules: tuple[Rule, ...] = ()
    fields: tuple[Dotted, ...] = ()
    numeric: tuple[Dotted, ...] = ()
    categorical: tuple[Dotted, ...] = ()

    @model_validator(mode="after")
    def _names_are_its_own(self) -> "Collection":
        if self.name.startswith(catalog.LAYERS) or self.name == catalog.SWEEP:
            own = ", ".join(catalog.LAYERS)
            message = f"name: {self.name!r} may not be sweep, or begin with {own}: those are Touchstone's own"
            raise ValueError(message)
        rules = [rule.name for rule in self.rules]
        if twice := {name for name in rules if rules.count(name) > 1}:
            message = f"rules: two rules are named {min(twice)!r}; give each its own name"
            raise ValueError(message)
        return self

    def suite(self) -> Suite:
        """What is declared of its rows."""
        return Suite(
            dataset=self.name, rules=self.rules, fields=self.fields, numeric=self.numeric, categorical=self.categorical
        )
