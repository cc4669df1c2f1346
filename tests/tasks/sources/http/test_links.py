"""Where addresses lead, and to whom a credential may go."""

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.sources.http import links

BASE = "https://api.example.org/v3/"


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("https://api.example.org/elsewhere", True),
        ("https://API.example.org:443/x", True),
        ("https://api.example.org./x", True),
        ("http://api.example.org/v3/", False),
        ("https://api.example.org:8443/v3/", False),
        ("https://example.org/v3/", False),
        ("https://api.example.org.evil.example/v3/", False),
        ("https://api.example.org@evil.example/v3/", False),
        ("https://evil.example\\@api.example.org/", False),
        ("https://user:pass@api.example.org/", False),
        ("//api.example.org/", False),
        ("https://api.example.org:99999999/", False),
        ("https://[::1/", False),
        ("ftp://api.example.org/", False),
        ("javascript:alert(1)", False),
        ("", False),
    ],
)
def test_a_credential_goes_only_to_the_same_scheme_host_and_port(other: str, same: bool) -> None:  # noqa: FBT001 - a case
    assert links.same_origin(BASE, other) is same


hosts = st.sampled_from(
    ["api.example.org", "evil.example", "api.example.org@evil.example", "", "[::1]", "api.example.org:443"]
)
odd = st.text("/\\@:#?.[]%\t\n aé", max_size=6)


@given(st.sampled_from(["https:", "HTTPS:", "http:", ""]), odd, hosts, odd)
def test_what_counts_as_our_host_is_our_host_for_the_library_that_connects_too(
    scheme: str, before: str, host: str, after: str
) -> None:
    """Two readers of URLs that differ have sent many a token to strangers."""
    url = f"{scheme}//{before}{host}{after}"
    if links.same_origin(BASE, url):
        try:
            asked = httpx2.URL(url)
        except httpx2.InvalidURL:
            return
        assert (asked.scheme, asked.host.rstrip("."), asked.port or 443) == ("https", "api.example.org", 443)


@pytest.mark.parametrize(
    ("path", "params", "url"),
    [
        ("repos/a/b", None, BASE + "repos/a/b"),
        ("/repos/a/b", None, BASE + "repos/a/b"),
        ("//evil.example/x", None, BASE + "evil.example/x"),
        ("job/a:b", None, BASE + "job/a:b"),
        ("x", {"q": "a b&c", "page": 2}, BASE + "x?q=a+b%26c&page=2"),
        ("x?a=1", {"b": 2}, BASE + "x?a=1&b=2"),
        (BASE + "x?page=2", None, BASE + "x?page=2"),
    ],
)  # fmt: skip
def test_a_path_is_below_the_base(path: str, params: dict[str, str | int] | None, url: str) -> None:
    assert links.absolute(BASE, path, params) == url


@pytest.mark.parametrize(
    ("link", "found"),
    [
        ('<https://x.org/a?page=2>; rel="next", <https://x.org/a?page=9>; rel="last"',
         {"next": "https://x.org/a?page=2", "last": "https://x.org/a?page=9"}),
        ("<?page=2>; rel=next", {"next": BASE + "?page=2"}),
        ('</a,b;c>; title="x, y"; rel="prev next"',
         {"prev": "https://api.example.org/a,b;c", "next": "https://api.example.org/a,b;c"}),
        ('<x>; REL="Next"', {"next": BASE + "x"}),
        ("<http://[::1>; rel=next", {"next": "http://[::1"}),
        ("next, please", {}),
        ("", {}),
    ],
)  # fmt: skip
def test_a_link_header_names_other_pages(link: str, found: dict[str, str]) -> None:
    assert links.relations(link, BASE) == found


@pytest.mark.parametrize(
    ("url", "number"),
    [("https://x.org/?page=12&a=1", 12), ("https://x.org/?per_page=5", None), ("https://x.org/?page=abc", None)],
)
def test_the_number_of_a_page_is_in_its_query(url: str, number: int | None) -> None:
    assert links.page_number(url) == number


@pytest.mark.parametrize(
    "url", ["https://x.org", "https://me:s3cret-pass@x.org/", "ftp://x.org/", "x.org/", "https://x.org/?a=1"]
)
def test_an_address_that_cannot_be_a_base_is_refused_without_being_told(url: str) -> None:
    with pytest.raises(ValueError, match="address") as told:
        links.check_base(url)
    assert "s3cret" not in str(told.value)
