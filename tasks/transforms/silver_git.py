"""Rows of git's commits, tags and reverts, and of GitHub's, which come in the same shapes. Pure."""

from tasks.transforms.counting import Rules, fits
from tasks.transforms.reading import Fields, Payload, RowError, seconds, text, texts


def change(payload: Payload, _: Rules) -> Fields:
    """A commit."""
    return {
        "kind": "commit",
        "parents": texts(payload, "parents"),
        "authored_ts": seconds(payload, "author_ts"),
        "committed_ts": seconds(payload, "commit_ts"),
        "author": payload.get("author"),
        "subject": payload.get("subject"),
    }


def deployment(payload: Payload, rules: Rules) -> Fields | None:
    """A tag: the rule for git-derived data is that one tag is one deployment.

    Where the repository is fetched from GitHub too, what is configured there decides, for the tags of both.
    """
    name = payload.get("name")
    name = name if isinstance(name, str) else ""
    if rules.github and not ("tags" in rules.github.deployments and fits(rules.github.tags, name)):
        return None
    target, at = text(payload, "target"), seconds(payload, "tag_ts")
    if not target:
        raise RowError("target", target, "the sha of a commit")
    return {
        "kind": "tag",
        "target": target,
        "deployed_ts": at,
        "started_ts": at,
        "environment": "",
        "production": True,
        "result": "success",
        "name": name,
        "url": "",
        "repository_url": None,
        "commits": [],
    }


def failure(payload: Payload, _: Rules) -> Fields:
    """A revert: the rule for git-derived data is that what is reverted had failed."""
    return {
        "kind": "revert",
        "reverted_by": text(payload, "sha"),
        "reverted": text(payload, "reverted_sha_raw"),
        "reverted_ts": seconds(payload, "commit_ts"),
        "started_ts": None,
    }
