"""Which errors are the same one: a fingerprint of what was raised and where, without what differs from task to task.

The ideas are common among error trackers (Sentry's grouping describes them well): a message is stripped of its
parameters, frames of libraries say less than one's own, and line numbers move with every deployment while names stay.
Here all of that is one pure function, so any process, now or later, gives the same answer.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

import msgspec

from laneway.model.record import AttemptError

#: Part of what is hashed: to be changed with the rules below, so that old and new fingerprints are never mixed up.
VERSION = "1"
#: Characters of a message that are looked at, and kept of it once it is stripped: the rest is mostly data.
_LOOKED_AT = 1_000
_KEPT = 240

# One pass over the message, each kind of parameter tried in this order at each place. Every repetition is bounded or
# excludes what follows it, so that no message takes long.
_PARAMETERS = re.compile(
    r"""
      (?P<str> (?<!\w)(?: '(?:\\.|[^'\\\n]){0,400}' | "(?:\\.|[^"\\\n]){0,400}" | `[^`\n]{0,400}` )(?!\w) )
    | (?P<url> \b[a-z][a-z0-9+.-]{1,20}://[^\s'"<>)\]]+ )
    | (?P<email> \b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+ )
    | (?P<uuid> \b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b )
    | (?P<time> \b\d{4}-\d\d-\d\d(?:[T\ ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?\b
              | \b\d\d:\d\d:\d\d(?:[.,]\d{1,9})?\b )
    | (?P<ip> \b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b
            | \b(?:[0-9a-f]{1,4}:){3,7}[0-9a-f]{1,4}\b
            | (?<![\w:])(?:[0-9a-f]{1,4}:){0,6}:(?::?[0-9a-f]{1,4}){1,7}\b )
    | (?P<path> (?<![\w/.])(?: ~|\.{1,2} )?(?:/[\w.@%+=~,-]{1,255}){2,}/?
              | (?<![\w/.])/[\w@%+=~-]{1,200}\.\w{1,12}\b
              | \b[a-z]:\\[^\s'":*?<>|]+ )
    | (?P<hex> \b0x[0-9a-f]+\b | \b(?=[a-f]{0,64}\d)[0-9a-f]{8,64}\b(?!\.\d) )
    | (?P<id> \b(?=[a-z_-]{0,80}\d)(?=[\d_-]{0,80}[a-z])[\w-]{20,80}\b )
    | (?P<n> (?:(?<!\w)[+-])?(?<!\w)\d+(?:[,_]\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?(?!\w) | \d+ )
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_SPACE = re.compile(r"\s+")
_FRAME = re.compile(r'^[ |+-]{0,40}File "([^"\n]{1,1000})", line \d+, in (.{1,200})$', re.MULTILINE)
_BEGIN = "Traceback (most recent call last):"
#: Paths with one of these are of libraries, of the language, or of Laneway itself.
_NOT_OWN = (
    "/site-packages/",
    "/dist-packages/",
    "/lib/python",
    "/lib64/python",
    "/laneway/execute/",
    "/laneway/client/",
)


class Fingerprint(msgspec.Struct, frozen=True):
    """``id`` is 16 hexadecimal digits, the same for the same error of the same task type; the rest is what it was made
    of. ``message`` has <n>, <str>, <uuid> and so on in the place of what differs; ``frame`` is "" without a
    traceback."""

    id: str
    type: str
    kind: str
    message: str
    frame: str


#: Of a task that died without an error that is kept.
_NO_ERROR = AttemptError("(no error)")


def fingerprint(type: str, error: AttemptError | None) -> Fingerprint:
    """The fingerprint of a task's last error, for tasks of this type."""
    error = error or _NO_ERROR
    message = error.message[:_LOOKED_AT]
    if error.worker:
        message = message.replace(error.worker, "<worker>")
    return _made(type, error.kind, normalized(message), innermost_frame(error.traceback))


@lru_cache(maxsize=4096)
def _made(type: str, kind: str, message: str, frame: str) -> Fingerprint:
    raw = "\0".join((VERSION, type, kind, message, frame)).encode("utf-8", "surrogatepass")
    return Fingerprint(hashlib.blake2b(raw, digest_size=8).hexdigest(), type, kind, message, frame)


def normalized(message: str) -> str:
    """A message without its parameters: quoted texts, numbers, ids, times, addresses and paths."""
    text = _PARAMETERS.sub(lambda match: f"<{match.lastgroup}>", message)
    return _SPACE.sub(" ", text).strip()[:_KEPT]


@lru_cache(maxsize=1024)
def innermost_frame(traceback: str) -> str:
    """Where it was raised, as ``file.py function``: the innermost frame of one's own code, or of any when none is; ""
    when the traceback has none. Of a chain it is that of the last exception, the one that ended the attempt. (The
    folders above the file are left out: a deployment may be in another one each time.)"""
    frames = _FRAME.findall(traceback[traceback.rfind(_BEGIN) + 1 :])
    if not frames:
        return ""
    own = [frame for frame in frames if not _foreign(frame[0])]
    path, function = (own or frames)[-1]
    parts = path.replace("\\", "/").split("/")
    name = "/".join(parts[-2:]) if parts[-1] in ("__init__.py", "__main__.py") else parts[-1]
    return f"{name} {function.strip()}"


def _foreign(path: str) -> bool:
    plain = path.replace("\\", "/")
    return plain.startswith("<frozen") or any(part in plain for part in _NOT_OWN)
