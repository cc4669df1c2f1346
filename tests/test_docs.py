"""The documentation names what there is: commands, options, exit codes, tasks, fields."""

import re
import tomllib
from pathlib import Path

import typer

from config import settings
from quality import suites
from tasks import cli, pipeline
from tasks.transforms.gold import DEFINITIONS, METRICS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_command_and_option_is_in_the_readme() -> None:
    commands = dict(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]
    for group, command in list(commands.items()):
        if hasattr(command, "commands"):
            del commands[group]
            commands |= {f"{group} {name}": one for name, one in command.commands.items()}
    assert len(commands) > 10
    for name, command in commands.items():
        rows = [line for line in README.splitlines() if line.startswith("| `") and f"`{name}" in line]
        assert rows, f"`{name}` is not in the README's table"
        for parameter in command.params:
            long = next((option for option in parameter.opts if option.startswith("--")), None)
            if long and long != "--help":
                assert any(long in row for row in rows), f"{name} {long} is not in the README's table"


def test_every_exit_code_is_in_the_readme() -> None:
    for code in (0, cli.FAILED, cli.USAGE, cli.NO_MONGO):
        assert f"**{code}**" in README


def test_every_task_family_is_documented() -> None:
    text = (ROOT / "docs" / "cron-and-luigid.md").read_text(encoding="utf-8")
    families = (pipeline.Sweep, pipeline.Fold, pipeline.Link, pipeline.Metrics, pipeline.Unit, pipeline.Join)
    for family in (*families, pipeline.Backfill):
        assert f"`{family.__name__}`" in text


def test_every_file_that_the_documents_name_is_there() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} points at {target}"


def test_every_metric_has_a_definition() -> None:
    for metric in METRICS:
        assert any(metric.startswith(name) for name in DEFINITIONS), metric


def test_every_configuration_in_the_documents_is_one() -> None:
    """What is copied out of them must be accepted, and a suite in it must fit the shipped ones."""
    shown = 0
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for block in re.findall(r"^```toml\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            loaded = settings.Settings(**tomllib.loads(block))
            for one in loaded.suites:
                assert suites.suite(one.dataset, loaded).rules, document.name
            shown += 1
    assert shown >= 3


def test_every_key_is_in_the_example_and_what_it_shows_is_accepted() -> None:
    """Who copies the example and takes the marks of comments away has a configuration that works."""
    text = settings.EXAMPLE.read_text(encoding="utf-8")
    settings.Settings(**tomllib.loads(text))
    shown = "\n".join(
        line.removeprefix("# ") for line in text[text.index("[slack]") :].splitlines() if "=" in line or "[" in line
    )
    loaded = settings.Settings(**tomllib.loads(shown))
    for section in (loaded.slack, *loaded.routes, *loaded.teams, *loaded.schedules, loaded.notifier):
        for key in type(section).model_fields:
            assert f"{key} = " in shown, f"{type(section).__name__}.{key} is not in {settings.EXAMPLE.name}"
