"""Cuts GitHub's description of its API to what the connector asks: `python tests/peers/cut.py api.github.com.json`.

The description is that of the npm package @octokit/openapi (MIT), which is 10 MB; Prism starts four times as fast on
what is cut out. Written to tests/data/github/openapi.json.gz, the same bytes for the same input.
"""

import gzip
import json
import sys
from pathlib import Path
from typing import Any, Final

TARGET: Final = Path(__file__).parent.parent / "data" / "github" / "openapi.json.gz"
REPO: Final = "/repos/{owner}/{repo}"
ASKED: Final = {
    **dict.fromkeys(
        (
            "/user", "/rate_limit", "/app", REPO, f"{REPO}/pulls", f"{REPO}/pulls/{{pull_number}}",
            f"{REPO}/pulls/{{pull_number}}/commits", f"{REPO}/pulls/{{pull_number}}/reviews", f"{REPO}/commits",
            f"{REPO}/commits/{{ref}}", f"{REPO}/compare/{{basehead}}",
            f"{REPO}/deployments", f"{REPO}/deployments/{{deployment_id}}",
            f"{REPO}/deployments/{{deployment_id}}/statuses", f"{REPO}/actions/runs", f"{REPO}/actions/runs/{{run_id}}",
            f"{REPO}/releases", f"{REPO}/releases/{{release_id}}", f"{REPO}/tags", f"{REPO}/git/ref/{{ref}}",
            f"{REPO}/git/matching-refs/{{ref}}", f"{REPO}/git/tags/{{tag_sha}}", f"{REPO}/git/commits/{{commit_sha}}",
            f"{REPO}/issues", f"{REPO}/issues/{{issue_number}}", "/repositories/{repository_id}",
        ),
        ("get",),
    ),
    "/app/installations/{installation_id}/access_tokens": ("post",),
}  # fmt: skip


def cut(whole: dict[str, Any]) -> dict[str, Any]:
    """The paths in `ASKED`, and all that they refer to."""
    paths = {
        path: {way: operation for way, operation in whole["paths"][path].items() if way in ways}
        for path, ways in ASKED.items()
        if path in whole["paths"]
    }
    kept: dict[str, dict[str, Any]] = {}
    pending = list(_references(paths))
    while pending:
        kind, name = pending.pop()
        if name not in kept.setdefault(kind, {}):
            kept[kind][name] = whole["components"][kind][name]
            pending += _references(kept[kind][name])
    return {name: whole[name] for name in ("openapi", "info", "servers")} | {"paths": paths, "components": kept}


def _references(value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        found = [one for inner in value.values() for one in _references(inner)]
        if isinstance(reference := value.get("$ref"), str):
            _, _, kind, name = reference.split("/")
            found.append((kind, name))
        return found
    return [one for inner in value for one in _references(inner)] if isinstance(value, list) else []


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(cut(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), separators=(",", ":"))
    TARGET.write_bytes(gzip.compress(text.encode(), mtime=0))
