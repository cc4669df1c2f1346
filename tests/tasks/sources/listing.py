"""A small healthy API: listings with a Link header, entities, and questions that are posted."""

from typing import Any, Final

from tests.tasks.sources.exchanges import Request, Response

ITEMS: Final = [{"id": number, "title": f"number {number}"} for number in range(1, 24)]
SIZE: Final = 5


def app(request: Request) -> Response:
    """/items: pages of SIZE with a chain of links; /items/N: one; /search: posted, or asked, with a total."""
    match request.path.strip("/").split("/"):
        case ["items"]:
            return _page(request)
        case ["items", number]:
            return Response(json=ITEMS[int(number) - 1])
        case ["search"]:
            start = int((request.json or {}).get("start", 0))
            found: dict[str, Any] = {"total": len(ITEMS), "issues": ITEMS[start : start + SIZE]}
            return Response(json=found)
        case _:
            return Response(404, json={"message": "Not Found"})


def _page(request: Request) -> Response:
    number = int(request.query.get("page", 1))
    size = int(request.query.get("per_page", SIZE))
    last = -(-len(ITEMS) // size)
    base = f"http://{request.host}/items?per_page={size}&page="
    links = [f'<{base}{number + 1}>; rel="next"', f'<{base}{last}>; rel="last"'] if number < last else []
    headers = {"Link": ", ".join(links)} if links else {}
    etag = f'"page-{number}"'
    if request.headers.get("if-none-match") == etag:
        return Response(304, {"ETag": etag})
    return Response(200, {**headers, "ETag": etag}, ITEMS[(number - 1) * size : number * size])
