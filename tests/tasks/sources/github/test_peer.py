"""GitHub's own description of its API, served by Prism, is asked what ours is asked: requests and shapes are its."""

from collections.abc import Callable, Iterator
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx2
import pytest

from tasks.sources.contract import Item, Rejected
from tasks.sources.github.source import GitHubSource
from tasks.transforms import silver
from tests.peers import prism
from tests.tasks.sources.exchanges import Request, Response
from tests.tasks.sources.faulty import FaultyServer
from tests.tasks.sources.github.hub import Repo
from tests.tasks.sources.github.reading import NOW, day, filled, read
from tests.tasks.sources.github.test_streams import STREAMS

RANGES = ("created",)
"""Parameters that the description has as a single time, where GitHub documents ranges of times too (search syntax)."""


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prism.running(tmp_path_factory.mktemp("prism")) as address:
        yield address


def ask(address: str, target: str, headers: dict[str, str]) -> str:
    """What Prism has against the request; "" if nothing."""
    kept = {name: value for name, value in headers.items() if name in {"authorization", "x-github-api-version"}}
    answer = httpx2.get(address + target.lstrip("/"), headers={**kept, "Accept": "application/json"})
    return "" if answer.status_code == HTTPStatus.OK else f"{target}: {answer.status_code} {answer.text[:300]}"


def test_each_request_is_one_of_githubs(
    mock: str, source: Callable[..., GitHubSource], server: FaultyServer, repo: Repo
) -> None:
    filled(repo)
    repo.deployment(11, day(9), ("in_progress", day(9) + 1))
    made = source()
    found = read(made)
    repo.pull(1, day(12), merged=day(4))
    repo.runs.clear()
    read(made, found.cursor)
    list(made.sample("acme/api", "issues", 5))
    asked = {request.target: dict(request.headers) for request in server.requests}
    assert len({urlsplit(target).path for target in asked}) > 15
    against = [said for target, headers in asked.items() if (said := ask(mock, target, headers))]
    assert not [said for said in against if not any(f'"query","{name}"' in said.replace(" ", "") for name in RANGES)]


def test_a_wrong_request_is_noticed(mock: str) -> None:
    """Or the test above would prove nothing."""
    assert "422" in ask(mock, "/repos/acme/api/pulls?state=whatever", {})
    assert "404" in ask(mock, "/repos/acme/api/pull", {})


@pytest.mark.parametrize("stream", [stream for stream in STREAMS if stream != "tags"])
def test_the_shapes_of_the_description_become_items_and_rows(
    mock: str, stream: str, source: Callable[..., GitHubSource]
) -> None:
    """The examples in it are what GitHub says that it answers; that of the tags lists branches."""
    with FaultyServer(lambda request: forwarded(mock, request)) as between:
        made = source(base_url=between.url, since="2008-01-01", repositories=["octocat/Hello-World"], streams=[stream])
        parts = list(made.sweep("octocat/Hello-World", None, NOW))
    assert not [part for part in parts if isinstance(part, Rejected)]
    found = [part for part in parts if isinstance(part, Item) and part.stream == stream]
    assert found
    for item in found:
        document = {"_id": "", "window": NOW, **{name: getattr(item, name) for name in ITEM}}
        for dataset, folds in silver.FOLDS.items():
            if f"bronze.github.{stream}" in folds:
                assert silver.row(dataset, document)["scope"] == "octocat/Hello-World"


ITEM = ("source", "stream", "origin", "id", "updated_on", "payload", "deleted")


def forwarded(address: str, request: Request) -> Response:
    """What Prism answers, without the next pages that its examples have on GitHub's own host."""
    answer = httpx2.get(address + request.target.lstrip("/"), headers={"Accept": "application/json"})
    content = answer.json()
    if request.path.endswith("/issues"):  # the example is a pull request, as the list of issues holds them too
        content = [{name: value for name, value in one.items() if name != "pull_request"} for one in content]
    return Response(answer.status_code, json=content)
