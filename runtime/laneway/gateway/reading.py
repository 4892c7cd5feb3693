"""Reading a request's body: its type, its size while it streams in, and JSON."""

from __future__ import annotations

import re

import msgspec
from starlette.requests import Request

from laneway.gateway.problems import Problem

# The rest of a body that is too large is not read, so the connection can't be used again.
_CLOSE = {"Connection": "close"}
# The first half of a character escaped, with no second half behind it.
_HALF = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, which must be JSON by its headers and at most ``limit`` bytes; counted as it arrives,
    so that the limit holds for chunked bodies too.

    Raises:
        Problem: unsupported-media-type or body-too-large.
    """
    _check_type(request)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def not_json(error: Exception, raw: bytes) -> Problem:
    """The problem of a body that could not be parsed: ``raw``."""
    match error:
        case RecursionError():
            why = "it is nested too deeply"
        case UnicodeDecodeError():
            why = f"it is not UTF-8 (byte {error.start})"
        case _:
            why = str(error).removeprefix("JSON is malformed: ")
            # So near the end that no second half would fit, it is called truncated.
            if "surrogate" in why or ("truncated" in why and _HALF.search(raw, max(0, len(raw) - 16))):
                why += (
                    r": a lone surrogate (\ud800 to \udfff) is half a character; write both halves, high and low, "
                    "or the character itself"
                )
    return Problem("malformed-json", f"the body must be JSON: {why}")


def parse(raw: bytes) -> object:
    """Any JSON.

    Raises:
        Problem: malformed-json.
    """
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(error, raw) from None


def _check_type(request: Request) -> None:
    kind = request.headers.get("content-type")
    media = (kind or "").partition(";")[0].strip().lower()
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        had = f"not {kind}" if kind else "and this request has no Content-Type"
        raise Problem("unsupported-media-type", f"the body must be JSON with Content-Type: application/json, {had}")
    charset = (kind or "").lower().partition("charset=")[2].strip(' "')
    if charset and charset not in ("utf-8", "utf8"):
        raise Problem("unsupported-media-type", f"JSON must be in UTF-8, not {charset}")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Problem(
            "unsupported-media-type",
            "the body must be sent as it is, without Content-Encoding (large payloads are compressed in the "
            f"queue), not {encoding}",
        )


def _too_large(limit: int) -> Problem:
    return Problem(
        "body-too-large",
        f"the body is over {limit:,} bytes, the most that is taken here",
        headers=_CLOSE,
        limit=limit,
    )
