"""Configuration: one reader, and every mistake names its key and its file."""

from pathlib import Path

import pytest

from config import settings
from config.settings import ConfigError, Git, Replay

GOOD = """
[mongo]
uri = "mongodb://user:hunter2@db/?replicaSet=rs0"
[[sources]]
name = "history"
type = "replay"
paths = ["data/*.jsonl.gz", "/srv/more.jsonl"]
[[sources]]
name = "code"
type = "git"
repositories = [{ origin = "acme/api", url = "here.git" }, { origin = "acme/web", url = "https://host/web.git" }]
"""


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TOUCHSTONE_MONGO_URI", "TOUCHSTONE_MONGO_DATABASE", "TOUCHSTONE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    settings.load.cache_clear()


def written(folder: Path, text: str) -> Path:
    path = folder / "touchstone.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_relative_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not matter from where a command is started; URLs and absolute paths stay as they are."""
    (tmp_path / "here.git").mkdir()
    monkeypatch.setenv("TOUCHSTONE_CONFIG", str(written(tmp_path, GOOD)))
    monkeypatch.chdir("/")
    loaded = settings.load()
    history, code = loaded.sources
    assert isinstance(history, Replay)
    assert isinstance(code, Git)
    assert history.paths == (str(tmp_path / "data/*.jsonl.gz"), "/srv/more.jsonl")
    assert [repository.url for repository in code.repositories] == [str(tmp_path / "here.git"), "https://host/web.git"]
    assert loaded.state == tmp_path / ".touchstone"


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, GOOD)
    monkeypatch.setenv("TOUCHSTONE_MONGO_DATABASE", "other")
    monkeypatch.setenv("TOUCHSTONE_PIPELINE_CHUNK_WINDOWS", "7")
    monkeypatch.setenv("TOUCHSTONE_PIPELINE_LEASE_SECONDS", "1.5")
    loaded = settings.load()
    assert (loaded.mongo.database, loaded.pipeline.chunk_windows, loaded.pipeline.lease_seconds) == ("other", 7, 1.5)
    assert loaded.mongo.uri
    assert "hunter2" in loaded.mongo.uri.get_secret_value()


def test_without_a_file_there_are_defaults() -> None:
    loaded = settings.load()
    assert loaded.mongo.uri is None
    assert loaded.sources == ()
    assert loaded.config_file is None


def test_secrets_do_not_show(tmp_path: Path) -> None:
    """Neither in what is printed of the settings, nor in the message about a mistake beside them."""
    written(tmp_path, GOOD)
    assert "hunter2" not in repr(settings.load())
    settings.load.cache_clear()
    written(tmp_path, GOOD.replace('[mongo]\nuri = "', '[mongo]\nurl = "'))
    with pytest.raises(ConfigError) as caught:
        settings.load()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "key", "what"),
    [
        ("[mongo]\nurl = 'x'\n", "mongo.url", "unknown key"),
        ("[mango]\nuri = 'x'\n", "mango", "unknown key"),
        ("[pipeline]\nchunk_windows = 'many'\n", "pipeline.chunk_windows", "integer"),
        ("[pipeline]\nchunk_windows = 0\n", "pipeline.chunk_windows", "greater"),
        ("[mongo]\ndatabase = 'a/b'\n", "mongo.database", "match"),
        ("[[sources]]\nname = 'x'\ntype = 'svn'\n", "sources.0", "svn"),
        ("[[sources]]\nname = 'x'\ntype = 'replay'\n", "sources.0.paths", "required"),
        ("[[sources]]\nname = 'x'\ntype = 'replay'\npaths = []\n", "sources.0.paths", "at least 1"),
        (
            "[[sources]]\nname='x'\ntype='git'\nrepositories=[{origin='a', url='b', branch='c'}]\n",
            "sources.0.repositories.0.branch",
            "unknown key",
        ),
        (
            "[[sources]]\nname='x'\ntype='replay'\npaths=['a']\n[[sources]]\nname='x'\ntype='replay'\npaths=['b']\n",
            "",
            "two sources are named 'x'",
        ),
        ("[mongo\n", "", "not valid TOML"),
    ],
)
def test_a_mistake_names_key_and_file(tmp_path: Path, text: str, key: str, what: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        settings.load()
    message = str(caught.value)
    assert str(path) in message
    assert key in message
    assert what in message


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_CONFIG", str(tmp_path / "nowhere.toml"))
    with pytest.raises(ConfigError, match=r"nowhere\.toml: no such file"):
        settings.load()


def test_a_mistake_in_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_PIPELINE_CHUNK_WINDOWS", "many")
    with pytest.raises(ConfigError, match="TOUCHSTONE_PIPELINE_CHUNK_WINDOWS"):
        settings.load()


def test_the_example_is_valid_and_names_every_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the example shows can be used as it is, and nothing that exists is missing from it."""
    text = settings.EXAMPLE.read_text(encoding="utf-8")
    path = written(tmp_path, text)
    monkeypatch.setenv("TOUCHSTONE_CONFIG", str(path))
    assert [source.name for source in settings.load().sources] == ["code"]
    for section in ("mongo", "privacy", "pipeline", "scheduler"):
        for key in type(getattr(settings.load(), section)).model_fields:
            assert f"{key} =" in text, f"[{section}] {key} is not in the example"


SCHEDULE = "[[schedules]]\ndataset = 'gold.dora_daily'\ncron = '0 7 * * *'\n"
ROUTE = "[[routes]]\nchannel = '#data-quality'\n"


@pytest.mark.parametrize(
    ("text", "key", "what"),
    [
        (SCHEDULE.replace("0 7 *", "0 25 *"), "schedules.0.cron", "no cron expression: bad hour"),
        (SCHEDULE.replace("0 7 *", "0 0 7 *"), "schedules.0.cron", "five fields"),  # seconds are not cron's
        (SCHEDULE.replace("0 7 * *", "0 7 *"), "schedules.0.cron", "five fields"),
        (SCHEDULE.replace("0 7 * *", "0 7 30 2"), "schedules.0.cron", "bad day-of-month"),
        (SCHEDULE.replace("0 7 * * *", ""), "schedules.0.cron", "five fields"),
        (SCHEDULE + "timezone = 'Berlin'\n", "schedules.0.timezone", "not a time zone"),
        (SCHEDULE + "holidays = 'Germany'\n", "schedules.0.holidays", "not known"),
        (SCHEDULE + "holidays = 'DE-XX'\n", "schedules.0.holidays", "not known"),
        (SCHEDULE + "grace_minutes = -1\n", "schedules.0.grace_minutes", "greater"),
        (SCHEDULE.replace("dora_daily", "dora_dialy"), "schedules.0.dataset", "there is no dataset"),
        (SCHEDULE.replace("gold.dora_daily", "silver.deliveries"), "schedules.0", "no windows of its own"),
        (SCHEDULE.replace("gold.dora_daily", "bronze.git"), "schedules.0.dataset", "there is no dataset"),
        (SCHEDULE.replace("gold.dora_daily", "shop.orders"), "schedules.0.dataset", "there is no dataset"),
        (ROUTE.replace("#data-quality", "#Data Quality"), "routes.0.channel", "is no channel"),
        (ROUTE.replace("#data-quality", "General"), "routes.0.channel", "is no channel"),
        (ROUTE.replace("#data-quality", ""), "routes.0.channel", "is no channel"),
        (ROUTE + "mention = ['@ann']\n", "routes.0.mention", "mentions nobody"),
        (ROUTE + "quiet = '22:00'\n", "routes.0.quiet", "match"),
        (ROUTE + "quiet = '22:00-22:00'\n", "routes.0", "never end"),
        (ROUTE + "digest = '9:00'\n", "routes.0.digest", "match"),
        (ROUTE + "team = 'core'\n", "routes.0.team", "no [[teams]]"),
        (ROUTE + "digest = '09:00'\n" + ROUTE + "digest = '10:00'\n", "routes.1.digest", "at another time"),
        ("[[teams]]\nname = 'core'\nscopes = ['*']\nmention = ['everyone']\n", "teams.0.mention", "mentions nobody"),
    ],
)
def test_a_schedule_or_route_that_cannot_be_meant_is_a_mistake(tmp_path: Path, text: str, key: str, what: str) -> None:
    """It would be noticed too late: by the alarm that did not come."""
    written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        settings.load()
    assert key in str(caught.value)
    assert what in str(caught.value)


def test_schedules_and_routes_that_are_meant(tmp_path: Path) -> None:
    watched = "[[datasets]]\nname = 'shop.orders'\ncollection = 'orders'\ntime = 'at'\n"
    schedules = [
        SCHEDULE, SCHEDULE.replace("gold.dora_daily", "shop.orders"),
        SCHEDULE.replace("gold.dora_daily", "silver.changes"),
        SCHEDULE.replace("gold.dora_daily", "bronze.git.commits") + "timezone = 'Europe/Berlin'\nholidays = 'DE-BE'\n",
        SCHEDULE.replace("0 7 * * *", "*/15 8-18 * * MON-FRI"), SCHEDULE.replace("0 7 * * *", "0 0 29 2 *"),
    ]  # fmt: skip
    routes = [
        ROUTE + "team = 'core'\nquiet = '22:00-07:00'\ndigest = '09:00'\nmention = ['here', 'U012AB3CD', 'S0123456']\n",
        ROUTE.replace("#data-quality", "C0123456789"), ROUTE.replace("#data-quality", "#donn\u00e9es_2"),
        "[[teams]]\nname = 'core'\nscopes = ['acme/*']\nmention = ['channel']\n",
    ]  # fmt: skip
    written(tmp_path, "".join([watched, *schedules, *routes]))
    loaded = settings.load()
    assert len(loaded.schedules) == 6
    assert [route.channel for route in loaded.routes] == ["#data-quality", "C0123456789", "#donn\u00e9es_2"]
