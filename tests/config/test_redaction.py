"""What may be shown of a text that names addresses: a table, and the law that no secret of a URL survives."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from config.redaction import redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        # nothing to hide; the text keeps its lines and spaces
        ("", ""),
        ("see  https://ci.example/job/7\n\tand mail bob@acme.example", None),
        ("bob@https://ci.example/x", None),
        ("mongodb://db1:27017,db2:27017/?replicaSet=rs0", None),
        # credentials of URLs
        ("https://bob:hunter2@ci.example/x", "https://***@ci.example/x"),
        (
            "at (mongodb+srv://bob:hunter2@db/?w=1),\nnot mongodb://db",
            "at (mongodb+srv://***@db/?w=1),\nnot mongodb://db",
        ),
        ("https://hunter2@ci.example and https://bob:hunter2@b", "https://***@ci.example and https://***@b"),
        # a password of whatever characters, though they ought to be escaped
        ("https://bob:hunt@er2@ci.example", "https://***@ci.example"),
        ("https://bob:hunt/er2@ci.example", "https://***@ci.example"),
        ("https://bob:hunt?key=er2@ci.example/x", "https://***@"),
        ("https://a:b@c,https://bob:hunter2@d", "https://***@d"),
        # secret query parameters
        ("https://x/y?token=hunter2", "https://x/y?token=***"),
        ("GET /y?page=2&access_token=hunter2&per_page=9 failed", "GET /y?page=2&access_token=***&per_page=9 failed"),
        ("https://x?key=hunter2&password=hunter2&secret=hunter2", "https://x?key=***&password=***&secret=***"),
        ("https://x?API_KEY=hunter2#t", "https://x?API_KEY=***"),
        ("https://x?a=1;private_token=hunter2", "https://x?a=1;private_token=***"),
        ("https://x?a=1&amp;clientSecret=hunter2", "https://x?a=1&amp;clientSecret=***"),
        ("https://x/#access_token=hunter2", "https://x/#access_token=***"),
        ("https://s3?X-Amz-Signature=hunter2&X-Amz-Date=1", "https://s3?X-Amz-Signature=***&X-Amz-Date=1"),
        ('{"next": "https://x?sig=hunter2", "page": 2}', '{"next": "https://x?sig=***", "page": 2}'),
        ("<https://x?apikey=hunter2>; rel=next", "<https://x?apikey=***>; rel=next"),
        ("https://x?token=hunt@er2", "https://***@"),
        # what is named a secret, wherever it stands
        ("Authorization: Bearer hunter2", "Authorization: Bearer ***"),
        ("{'Authorization': 'token hunter2'}", "{'Authorization': 'token ***'}"),
        ("401: Bearer hunter2, try again", "401: Bearer ***, try again"),
        ("Basic aHVudGVyMgo=", "Basic ***"),
        ("password=hunter2 host=db", "password=*** host=db"),
        ('password = "hunt er2"', 'password = "*** ***"'),
        ("{'private_token': 'hunter2hunter2', 'page': 2}", "{'private_token': '***', 'page': 2}"),
        ("AWS_SECRET_ACCESS_KEY=hunter2/x", "AWS_SECRET_ACCESS_KEY=***"),
        ("client_secret=hunter2&page=2", "client_secret=***&page=2"),
        ("token=hunter2hunter2", "token=***"),
        (
            "POST https://hooks.slack.com/services/T0/B0/hunter2 failed",
            "POST https://hooks.slack.com/services/*** failed",
        ),
        # what looks like a token
        ("remote: ghp_hunter2hunter2 is expired", "remote: *** is expired"),
        ("github_pat_11ABC_hunter2hunter2", "***"),
        ("glpat-hunter2-hunter2", "***"),
        ("invalid_auth: xoxb-1-2-hunter2.", "invalid_auth: ***."),
        # what only looks like one: another name, no value, no query
        ("the bearer of bad news, and basic auth", None),
        ("password: must be set; token: expired; secret: none", None),
        ("fence token 3 is behind; token=5", None),
        ("KeyError: 'token'", None),
        ("commit da39a3ee5e6b4b0d3255bfef95601890afd80709 reverts e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", None),
        ("secretary=bob tokens=12345678 passwords: 3", None),
        ("https://x?issue_key=ACME-1&monkey=2&keys=3&tokens=4", None),
        ("https://x?token=&a=1", None),
        ("max(found, key=len, token=5)", None),
    ],
)
def test_secrets_are_hidden_and_the_rest_is_shown(text: str, shown: str | None) -> None:
    assert redacted(text) == (text if shown is None else shown)


@given(
    st.text(max_size=40),
    st.text(max_size=20),
    st.sampled_from(["://bob:hunter2{}@host", "://x?token=hunter2{}", "?a=1&password={}hunter2", "://{}hunter2@host"]),
    st.text(max_size=40),
)
@example("?key=", "", "://bob:hunter2{}@host", "")
@example("://x?secret=", "", "://bob:hunter2{}@host", "&")
def test_no_text_around_a_secret_uncovers_it(before: str, within: str, secret: str, after: str) -> None:
    within = "".join(one for one in within if not one.isspace() and one not in '&"<>')
    text = f"{before}{secret.format(within)}{after}"
    assert "hunter2" not in redacted(text)
    assert redacted(redacted(text)) == redacted(text)


PIECES = [
    "://", "@", "password=", "'", '"', "token=", "Bearer ", "hunter2x9", "***", " ", 'secret": "', "Authorization: ",
    "=", "ghp_", "abcdefghijkl", "xoxb-", "?token=", "hooks.slack.com/services/", ":", "basic ", "\n", ",", "(", "_",
    "&", "-",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
def test_what_is_redacted_stays_as_it_is(text: str) -> None:
    """It is redacted again on its way: by a task, the ledger, an incident, a message."""
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize("piece", [*PIECES, "x", "aB"])
def test_a_long_text_takes_no_longer_than_its_length(piece: str) -> None:
    """Seconds, were it the square of the length."""
    began = time.process_time()
    redacted(piece * 50_000)
    assert time.process_time() - began < 5
