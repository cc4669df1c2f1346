"""How a Jenkins is asked: addresses, the parts of its objects that are needed, the credential. Nothing is posted."""

import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from config.section import ConfigError
from config.sources import Jenkins
from tasks.sources.contract import SourceError
from tasks.sources.http import Answer, Http, HttpError, Limits, Reason

SLIM: Final = "number,timestamp,duration,result,building,keepLog"
"""Of a build: what tells whether it is known as it is."""
_CHANGES: Final = (
    "kind,items[commitId,id,timestamp,date,msg,author[fullName,absoluteUrl],authorEmail],revisions[module,revision]"
)
FULL: Final = (
    "number,id,queueId,displayName,fullDisplayName,url,result,timestamp,duration,building,"
    "actions[lastBuiltRevision[SHA1,branch[SHA1,name]],remoteUrls,scmName,mercurialRevisionNumber,"
    "causes[*],parameters[name,value],queuingDurationMillis],"
    f"changeSet[{_CHANGES}],changeSets[{_CHANGES}],culprits[fullName,absoluteUrl]"
)
_ENDS: Final = ",".join(f"{name}[number]" for name in ("firstBuild", "lastBuild", "lastStableBuild"))
_JOB: Final = f"fullName,name,nextBuildNumber,{_ENDS},lastSuccessfulBuild[number,timestamp,duration]"


def _now() -> datetime:
    return datetime.now(UTC)


def connect(
    section: Jenkins, clock: Callable[[], datetime] = _now, sleep: Callable[[float], None] = time.sleep
) -> Http:
    """A client of the section's Jenkins. Raises SourceError if its token cannot be read."""
    try:
        token = section.secret()
    except ConfigError as error:
        raise SourceError(str(error)) from None
    limits = Limits.of(section.requests)
    headers = _credential(section.user, token)
    return Http(section.base_url, authorise=lambda: headers, limits=limits, clock=clock, sleep=sleep)


def _credential(user: str | None, token: str | None) -> Mapping[str, str]:
    """The token of a user; of nobody: as proxies before a Jenkins take it."""
    if not token:
        return {}
    if user is None:
        return {"authorization": f"Bearer {token}"}
    return {"authorization": "Basic " + b64encode(f"{user}:{token}".encode()).decode("ascii")}


def job_path(name: str) -> str:
    """Of a job or folder by its full name; the coded slash of a branch of a multibranch project is coded again."""
    return "".join(f"job/{quote(part, safe='')}/" for part in name.split("/") if part)


def job_tree(start: int, end: int) -> Mapping[str, str]:
    """The job itself, and its builds from the `start`th newest to before the `end`th, in brief."""
    return {"tree": f"{_JOB},allBuilds[{SLIM}]{{{start},{end}}}"}


def builds_tree(start: int, end: int) -> Mapping[str, str]:
    """Builds from the `start`th newest to before the `end`th, with all that is kept of them."""
    return {"tree": f"allBuilds[{FULL}]{{{start},{end}}}"}


def unfit(answer: Answer, what: str, advice: str) -> HttpError:
    """The error of an answer that is well formed and not what was asked for."""
    return HttpError(
        f"{answer.place}: answered {answer.status} with {what}: {advice}",
        reason=Reason.CONTENT, status=answer.status, place=answer.place, said=what, content=what,
    )  # fmt: skip


def number(value: Any) -> int | None:
    """`value` if it can be the number of a build."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31 else None


def number_in(content: Mapping[str, Any], key: str) -> int | None:
    """The number of the build that `content` has under `key`."""
    build = content.get(key)
    return number(build.get("number")) if isinstance(build, Mapping) else None
