"""Answers with the dashboard's files. Which page an address under ``/dashboard/`` shows is decided in the browser, so
each of them is the same document."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from laneway.dashboard.files import INDEX, StaticFile, dashboard_files

HOME = "/dashboard/"

#: Nothing is loaded from, sent to, or framed by any other origin, and no script or style but our own files runs:
#: a task's payload that is shown as a page's text can do nothing even if it became more than text.
SECURITY: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_LASTING = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"


async def page(request: Request) -> Response:
    """GET /dashboard/{path}: a built file, or else the document, which finds the page by itself. A built file that
    there is not (of an older version, say) is a 404: the document in its place would be run as a script."""
    path = request.path_params.get("path", "")
    found = dashboard_files().get(path)
    if found is None:
        if path.startswith("assets/"):
            gone = "There is no such file: load the dashboard anew, it is of another version now.\n"
            return Response(gone, 404, headers={**SECURITY, "Cache-Control": "no-store"}, media_type="text/plain")
        found = dashboard_files()[INDEX]
    return _answer(request, found)


async def to_home(request: Request) -> Response:
    """GET /dashboard: the address with its slash."""
    return RedirectResponse(HOME, 308, headers=dict(SECURITY))


def wants_page(request: Request) -> bool:
    """Whether a browser asks for something to look at, not a program for the index."""
    return "text/html" in request.headers.get("accept", "")


def _answer(request: Request, file: StaticFile) -> Response:
    packed = file.packed if _takes_gzip(request.headers.get("accept-encoding", "")) else None
    # Two forms of one file are two representations: a cache must not answer with one for the other.
    etag = f'"{file.etag}-gz"' if packed is not None else f'"{file.etag}"'
    headers = {
        **SECURITY,
        "Cache-Control": _LASTING if file.lasting else _ASK_AGAIN,
        "ETag": etag,
        "Vary": "Accept-Encoding",
    }
    if _has(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    if packed is not None:
        headers["Content-Encoding"] = "gzip"
    return Response(packed if packed is not None else file.body, headers=headers, media_type=file.media_type)


def _takes_gzip(accepted: str) -> bool:
    for part in accepted.split(","):
        name, _, parameters = part.partition(";")
        if name.strip().lower() in ("gzip", "*"):
            return parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _has(known: str, etag: str) -> bool:
    return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in known.split(","))
