"""Where RESP frames begin and end in a byte stream, for the proxy."""

_LINE = b"+-:,#_("
_BULK = b"$=!"
_CHILDREN = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2, ord("|"): 2}
PUSH = ord(">")


class ProtocolError(ValueError):
    """The bytes are not RESP."""


class Frames:
    """Cuts a stream into whole frames, keeping what is not complete yet. RESP2, RESP3 and inline commands."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0  # how far the first frame has been looked through
        self._left = 1  # how many values it still wants

    def feed(self, data: bytes) -> list[bytes]:
        """Take more of the stream; the frames that it completes, in order."""
        self._buffer += data
        frames: list[bytes] = []
        start = 0
        while self._advance():
            frames.append(bytes(self._buffer[start : self._at]))
            start, self._left = self._at, 1
        del self._buffer[:start]
        self._at -= start
        return frames

    def rest(self) -> bytes:
        """Give back what is not a whole frame yet, and start anew."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._at, self._left = 0, 1
        return rest

    def _advance(self) -> bool:
        """Look on through the current frame; true when its end is reached."""
        while self._left:
            end = self._buffer.find(b"\r\n", self._at)
            if end < 0:
                return False
            kind, after = self._buffer[self._at], end + 2
            if kind in _BULK:
                size = self._number(end)
                after += size + 2 if size >= 0 else 0
                if after > len(self._buffer):
                    return False
                self._left -= 1
            elif kind in _CHILDREN:
                # An attribute stands before the value that it describes, so it is none itself.
                self._left += max(self._number(end), 0) * _CHILDREN[kind] - (kind != ord("|"))
            elif kind in _LINE or chr(kind).isalpha():
                self._left -= 1
            else:
                raise ProtocolError(f"not RESP: {bytes(self._buffer[self._at : end])[:80]!r}")
            self._at = after
        return True

    def _number(self, end: int) -> int:
        try:
            return int(self._buffer[self._at + 1 : end])
        except ValueError:
            raise ProtocolError(f"not a length: {bytes(self._buffer[self._at : end])[:80]!r}") from None


def arguments(frame: bytes) -> tuple[bytes, ...]:
    """The arguments of a command's frame: an array of bulk strings, or an inline line."""
    if not frame.startswith(b"*"):
        return tuple(frame.split())
    found: list[bytes] = []
    at = frame.index(b"\r\n") + 2
    while at < len(frame):
        end = frame.index(b"\r\n", at)
        size = int(frame[at + 1 : end])
        found.append(frame[end + 2 : end + 2 + size])
        at = end + 4 + size
    return tuple(found)
