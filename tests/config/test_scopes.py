"""Which origins are one service, and what Gold's scopes are made of: tables."""

import tomllib

import pytest

from config.scopes import LinkScope, Part, Project, address, reached, repository, scopes
from config.settings import Settings

TEXT = """
[[sources]]
type = "git"
name = "code"
repositories = [{ origin = "acme/api", url = "git@github.com:Acme/api.git" }, { origin = "acme/old", url = "/srv/old" }]
[[sources]]
type = "github"
name = "hub"
since = 2024-01-01
repositories = ["acme/web", "acme/api"]
[[sources]]
type = "jira"
name = "desk"
since = 2024-01-01
base_url = "https://jira.example/"
edition = "data_center"
projects = ["OPS", "HR"]
[[services]]
name = "shop"
repositories = ["acme/api", "acme/web"]
jobs = ["shop/*", "release"]
projects = ["OPS/checkout"]
[[services]]
name = "solo"
repositories = ["acme/old"]
[[teams]]
name = "web"
scopes = ["acme/web", "service:solo"]
[[teams]]
name = "shop"
scopes = ["service:shop", "acme/web"]
[[teams]]
name = "data"
scopes = ["warehouse.*"]
"""
SETTINGS = Settings(**tomllib.loads(TEXT))
FED = [("git", "acme/api"), ("github", "acme/api"), ("github", "acme/web"), ("git", "acme/old"), ("jira", "OPS"),
       ("jira", "HR"), ("jenkins", "shop/deploy"), ("jenkins", "other"), ("git", "acme/alone")]  # fmt: skip


def test_services_join_and_what_is_in_none_stays_alone() -> None:
    found = scopes(SETTINGS, FED)
    shop = found.links["service:shop"]
    assert shop.origins == ("acme/api", "acme/web", "shop/deploy", "release", "OPS"), "release is missed until it comes"
    assert shop.projects == (Project("OPS", "checkout"),)
    assert found.links["acme/alone"] == LinkScope("acme/alone", ("acme/alone",))
    assert set(found.links) == {"acme/alone", "service:shop", "service:solo"}
    assert found.left == {"HR": "jira", "other": "jenkins"}
    assert {name: one.parts for name, one in found.gold.items()} == {
        "acme/alone": (Part("acme/alone"),),
        "acme/api": (Part("service:shop", "acme/api"),),
        "acme/web": (Part("service:shop", "acme/web"),),
        "acme/old": (Part("service:solo", "acme/old"),),
        "service:shop": (Part("service:shop"),),
        "service:solo": (Part("service:solo"),),
        "team:web": (Part("service:shop", "acme/web"), Part("service:solo")),
        "team:shop": (Part("service:shop"),),
    }
    assert [name for name in found.gold if not found.is_shared(name)] == ["acme/alone"]


@pytest.mark.parametrize(
    ("origin", "scopes_"),
    [
        ("acme/alone", {"acme/alone"}),
        ("acme/api", {"acme/api", "acme/web", "service:shop", "team:shop", "team:web"}),
        ("shop/deploy", {"shop/deploy", "acme/api", "acme/web", "service:shop", "team:shop", "team:web"}),
        ("OPS", {"OPS", "acme/api", "acme/web", "service:shop", "team:shop", "team:web"}),
        ("service:solo", {"service:solo", "acme/old", "team:web"}),
        ("HR", {"HR"}),
    ],
)
def test_trouble_of_an_origin_reaches_all_that_is_made_of_it(origin: str, scopes_: set[str]) -> None:
    assert set(reached(SETTINGS, origin)) == scopes_
    assert reached(SETTINGS, origin)[0] == origin


def test_what_counts_in_a_repository_is_configuration() -> None:
    api, old, unknown = (repository(SETTINGS, one) for one in ("acme/api", "acme/old", "acme/alone"))
    assert (api.changes, old.changes, unknown.changes) == ("pull_requests", "commits", "")
    assert (api.tags, old.tags, unknown.tags) == (False, True, True), "GitHub's deployments are environments here"
    assert api.addresses == {"github.com/acme/api"}
    assert api.streams == {"changes", "deployments", "failures", "incidents"}
    assert old.streams == unknown.streams == {"changes", "deployments", "failures"}
    forced = SETTINGS.model_copy(update={"dora": SETTINGS.dora.model_copy(update={"changes": "pull_requests"})})
    assert repository(forced, "acme/old").changes == "missing"


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("git@github.com:Acme/API.git", "github.com/acme/api"),
        ("https://user:secret@github.com/acme/api", "github.com/acme/api"),
        ("ssh://git@github.com:22/acme/api.git/", "github.com/acme/api"),
        ("", ""),
        ("http://[broken/x", ""),
    ],
)
def test_addresses_of_one_repository_are_equal(url: str, same: str) -> None:
    assert address(url) == same


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('[[services]]\nname = "x"\nprojects = ["NO/x"]\n', "'NO/x', which no source has"),
        ('[[services]]\nname = "x"\n', "name what it is made of"),
        ('[[services]]\nname = "x"\nrepositories = ["acme/web"]\n', "'acme/web' is in 'shop' and in 'x'"),
    ],
)
def test_what_cannot_be_is_said(more: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Settings(**tomllib.loads(TEXT + more))
