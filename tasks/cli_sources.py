"""`touchstone sources check|preview`: whether the sources can be read, and what their records count as."""

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from rich.text import Text

from config.settings import ConfigError, Settings
from config.sources import AnySource, GitHub, Jenkins, Jira
from tasks.cli_common import FAILED, AsJson, out, parse_text, plain
from tasks.sources.contract import Finding

app = typer.Typer(
    help="Where records come from: can they be read, and what do they count as?", no_args_is_help=True,
    rich_markup_mode=None,
)  # fmt: skip

Names = Annotated[
    list[str] | None, typer.Argument(parser=parse_text, metavar="NAME", help="Only these sources; else all.")
]


@app.callback()
def _sources() -> None:
    """Commands about sources."""


@app.command()
def check(
    names: Names = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Prove every token, scope, origin and clock, before the first run. Nothing is stored."""
    from config import settings  # noqa: PLC0415 - commands load what they need
    from tasks import source_checks  # noqa: PLC0415

    loaded = settings.load()
    asked = _asked(loaded, names)
    unfit = []
    documents = []
    for source in asked:
        findings = source_checks.findings(loaded, source)
        if as_json:
            found = list(findings)
            documents += [{"source": source.name, "what": f.what, "ok": f.ok, "text": f.text} for f in found]
            well = all(finding.ok for finding in found)
        else:
            well = _told(source, findings)
        if not well:
            unfit.append(source.name)
    if as_json:
        sys.stdout.write(json.dumps(documents, indent=2) + "\n")
    else:
        out.print(Text(_summary(unfit, len(asked)), "red" if unfit else "green"), soft_wrap=True)
    if unfit:
        raise typer.Exit(FAILED)


def _summary(unfit: Sequence[str], number: int) -> str:
    if unfit:
        return f"not well: {', '.join(map(plain, unfit))}; mend what is marked no, and check again"
    return "all is well" if number == 1 else f"all {number:,} sources are well"


def _told(source: AnySource, findings: Iterator[Finding]) -> bool:
    """Print what was found as it comes; whether all is well."""
    out.print(Text(f"{plain(source.name)} ({source.type})", "bold"))
    well = True
    for one in findings:
        mark = ("ok  ", "green") if one.ok else ("no  ", "red")
        out.print(Text.assemble("  ", mark, f"{plain(one.what)}: {plain(one.text)}"), soft_wrap=True)
        well &= one.ok
    return well


@app.command()
def preview(
    names: Names = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Records of each stream.")] = 100,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Show on live data what each pattern of `counts` matches, and what the records count as. Nothing is stored."""
    from config import settings  # noqa: PLC0415
    from tasks import source_checks, source_previews  # noqa: PLC0415
    from tasks.sources import registry  # noqa: PLC0415

    loaded = settings.load()
    asked = [one for one in _asked(loaded, names) if isinstance(one, GitHub | Jira | Jenkins)]
    if not asked:
        raise ConfigError("sources: none of GitHub, Jira or Jenkins is configured; others have no patterns")
    found = (
        one for source in asked
        for one in source_previews.previews(
            loaded, source, registry.connector(source_checks.brisk(source), loaded), limit
        )
    )  # fmt: skip
    if as_json:
        shown = list(found)
        sys.stdout.write(json.dumps([one.document() for one in shown], indent=2, default=str) + "\n")
        well = not any(one.problem for one in shown)
    else:
        well = source_previews.show(found, out)
    if not well:
        raise typer.Exit(FAILED)


def _asked(loaded: Settings, names: list[str] | None) -> list[AnySource]:
    """The sources of these names. Raises ConfigError if there is none of a name, or none at all."""
    known = {source.name: source for source in loaded.sources}
    if not known:
        raise ConfigError(f"{loaded.config_file or 'no touchstone.toml here'}: sources: none configured")
    for name in names or ():
        if name not in known:
            raise ConfigError(f"sources: there is none of the name {name!r}; there are: {', '.join(sorted(known))}")
    return [known[name] for name in dict.fromkeys(names)] if names else list(loaded.sources)
