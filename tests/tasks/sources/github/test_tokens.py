"""Tokens of an App, and what a check tells a person."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from config.section import ConfigError
from config.sources import App, GitHub
from tasks.sources.contract import SourceError
from tasks.sources.github.access import connect
from tasks.sources.github.check import check
from tasks.sources.github.source import GitHubSource
from tasks.sources.github.tokens import AppTokens
from tasks.sources.http import Http
from tests.tasks.sources.faulty import FaultyServer
from tests.tasks.sources.github.conftest import TOKEN
from tests.tasks.sources.github.hub import Hub, Repo, stamp
from tests.tasks.sources.github.reading import day, read

Make = Callable[..., GitHubSource]
SECRET = rsa.generate_private_key(65537, 2048)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "app.pem"
    path.write_bytes(
        SECRET.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path


def section(server: FaultyServer, **settings: Any) -> GitHub:
    return GitHub.model_validate({
        "type": "github", "name": "hub", "base_url": server.url, "repositories": ["acme/api"], "since": "2026-10-01",
        "requests": {"retries": 0}, **settings,
    })  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


def tokens(server: FaultyServer, key_file: Path, clock: Clock) -> AppTokens:
    app = App.model_validate({"id": 4711, "installation": 42, "key_file": key_file})
    return AppTokens(app, lambda proof: Http(server.url, authorise=proof, clock=clock), clock)


def test_a_token_is_used_until_shortly_before_it_expires(server: FaultyServer, hub: Hub, key_file: Path) -> None:
    clock = Clock()
    made = tokens(server, key_file, clock)
    hub.expires = stamp((clock.now + timedelta(hours=1)).timestamp())
    assert [made.token(), made.token()] == ["ghs_installation_1"] * 2
    clock.now += timedelta(minutes=54)
    assert made.token() == "ghs_installation_1"
    clock.now += timedelta(minutes=2)
    assert made.token() == "ghs_installation_2"
    assert [one.path for one in server.requests] == ["/app/installations/42/access_tokens"] * 2


def test_the_proof_is_signed_and_short_lived(server: FaultyServer, hub: Hub, key_file: Path) -> None:
    clock = Clock()
    tokens(server, key_file, clock).token()
    proof = hub.proofs[0].removeprefix("Bearer ")
    claims = jwt.decode(proof, SECRET.public_key(), algorithms=["RS256"])
    assert claims["iss"] == "4711"
    assert 0 < claims["exp"] - clock.now.timestamp() <= 600
    assert claims["iat"] < clock.now.timestamp()


def test_threads_share_one_token(server: FaultyServer, key_file: Path) -> None:
    made = tokens(server, key_file, Clock())
    server.latency_seconds = 0.05
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(made.token())) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == ["ghs_installation_1"] * 8
    assert len(server.requests) == 1


def test_a_sweep_of_an_app_asks_with_its_token(
    repo: Repo, source: Make, server: FaultyServer, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_TOKEN")
    repo.pull(1, day(3))
    made = source(app={"id": 4711, "installation": 42, "key_file": str(key_file)})
    assert read(made).ids("pull_requests") == ["1"]
    sent = {one.headers["authorization"] for one in server.requests if one.method == "GET"}
    assert sent == {"Bearer ghs_installation_1"}
    assert {one.headers["x-github-api-version"] for one in server.requests if one.method == "GET"} == {"2022-11-28"}


@pytest.mark.parametrize("content", [None, b"", b"no key", b"-----BEGIN RSA PRIVATE KEY-----\nx\n"])
def test_a_key_that_is_none_is_named_and_not_shown(server: FaultyServer, key_file: Path, content: bytes | None) -> None:
    if content is None:
        key_file.unlink()
    else:
        key_file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"app\.key_file") as caught:
        tokens(server, key_file, Clock()).token()
    assert "PRIVATE" not in str(caught.value)


def test_an_answer_without_a_token_says_so(server: FaultyServer, key_file: Path) -> None:
    server.inject("empty_object", method="POST", every=True)
    with pytest.raises(SourceError):
        tokens(server, key_file, Clock()).token()


def test_without_a_token_the_error_says_where_one_goes(source: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_TOKEN")
    with pytest.raises(SourceError, match="GITHUB_TOKEN"):
        read(source())


def test_a_token_that_is_refused_at_once_ends_the_sweep(source: Make, server: FaultyServer) -> None:
    server.inject("401", every=True)
    with pytest.raises(SourceError) as caught:
        read(source())
    assert TOKEN not in str(caught.value)
    assert len(server.requests) == 1


def found(made: GitHub) -> dict[str, tuple[bool, str]]:
    with connect(made) as http:
        return {one.what: (one.ok, one.text) for one in check(made, http)}


def test_a_check_tells_what_is_well(repo: Repo, server: FaultyServer) -> None:
    repo.commit("a", day(2))
    repo.issue(5, day(2))
    told = found(section(server, canary=5))
    assert all(ok for ok, _ in told.values()), told
    assert told["acme/api"][1] == "acme/api is visible, public"
    assert "scopes: " in told["token"][1]
    assert "4990 of 5000" in told["rate limit"][1]
    assert {f"acme/api {stream}" for stream in section(server).streams} < set(told)


def test_a_check_tells_what_is_not(repo: Repo, hub: Hub, server: FaultyServer) -> None:
    repo.private, repo.has_issues, hub.scopes = True, False, "public_repo"
    repo.full_name, hub.renamed = "acme/new", {"acme/api": 1}
    server.inject("403_refused", path="/actions/runs", every=True)
    told = found(section(server, canary=5))
    assert not told["acme/api workflow_runs"][0]
    assert not told["acme/api canary"][0]
    assert told["acme/api commits"] == (True, "readable; the repository is empty")
    assert told["acme/api issues"] == (True, "issues are switched off there")
    assert "acme/new" in told["acme/api"][1]


def test_a_check_of_a_bad_token_or_a_hidden_repository(hub: Hub, server: FaultyServer) -> None:
    hub.repos = []
    assert not found(section(server))["acme/api"][0]
    server.inject("401", every=True)
    told = found(section(server))
    assert list(told) == ["token"]
    assert not told["token"][0]
    assert TOKEN not in told["token"][1]


def test_details_are_asked_for_several_at_a_time(repo: Repo, source: Make, server: FaultyServer) -> None:
    for number in range(1, 41):
        repo.pull(number, day(3) + number)
    server.latency_seconds = 0.01
    assert len(read(source(requests={"concurrency": 4})).of("pull_requests")) == 40
    assert 2 <= server.most_under_way <= 4
