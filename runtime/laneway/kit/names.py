"""Names: what may be a queue, lane, namespace or tenant, so that Redis keys and topics can be made of them.

Each check returns the name it was given, or raises ``ValueError`` whose message says what would be right.
"""

from __future__ import annotations

import re
import unicodedata

MAX_NAME = 63
MAX_PREFIX = 253
MAX_ANNOTATION_BYTES = 262_144

LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
TENANT_PATTERN = r"^[A-Za-z0-9._-]{0,63}$"

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_TENANT = re.compile(r"[A-Za-z0-9._-]{1,63}")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def dns_label(name: str, what: str = "a name") -> str:
    """Checks that ``name`` is a DNS-1123 label: 1 to 63 of a-z, 0-9 and '-', with no '-' at either end.

    Raises:
        ValueError: it is not one; the message names ``what`` and, where it can, a name that would do.
    """
    if len(name) <= MAX_NAME and _LABEL.fullmatch(name):
        return name
    rule = f"{what} has 1 to {MAX_NAME} of the characters a-z, 0-9 and '-', with a letter or digit at both ends"
    better = _as_label(name)
    raise ValueError(f"{rule}, not {_shown(name)}" + (f"; {better!r} would do" if better else ""))


def queue_name(name: str) -> str:
    """Checks the name of a queue. Raises ValueError saying what would be right."""
    return dns_label(name, "the name of a queue")


def lane_name(name: str) -> str:
    """Checks the name of a lane. Raises ValueError saying what would be right."""
    return dns_label(name, "the name of a lane")


def namespace_name(name: str) -> str:
    """Checks the name of a namespace. Raises ValueError saying what would be right."""
    return dns_label(name, "the name of a namespace")


def tenant_name(name: str) -> str:
    """Checks the name of a tenant; '' is the default tenant, that of tasks which name none.

    Raises:
        ValueError: it is longer than 63 characters or has others than A-Z, a-z, 0-9, '.', '_' and '-'.
    """
    if not name or _TENANT.fullmatch(name):
        return name
    rule = f"the name of a tenant has 1 to {MAX_NAME} of the characters A-Z, a-z, 0-9, '.', '_' and '-'"
    better = re.sub(r"[^A-Za-z0-9._-]+", "-", _plain(name))[:MAX_NAME].strip("-")
    raise ValueError(f"{rule}, not {_shown(name)}" + (f"; {better!r} would do" if better else ""))


def label_key(key: str) -> str:
    """Checks the key of a Kubernetes label or annotation: ``[prefix/]name``. Raises ValueError."""
    prefix, slash, name = key.rpartition("/")
    if slash and not (len(prefix) <= MAX_PREFIX and _SUBDOMAIN.fullmatch(prefix)):
        raise ValueError(
            f"the key {_shown(key)} has a prefix that is no DNS name of at most {MAX_PREFIX} characters,"
            " such as example.com/ before the name"
        )
    if len(name) <= MAX_NAME and _QUALIFIED.fullmatch(name):
        return key
    raise ValueError(
        f"the key {_shown(key)} must be a name, or a DNS prefix, '/' and a name, such as example.com/team; a"
        f" name has 1 to {MAX_NAME} of A-Z, a-z, 0-9, '-', '_' and '.', with a letter or digit at both ends"
    )


def label_value(value: str) -> str:
    """Checks the value of a Kubernetes label; '' is one. Raises ValueError saying what would be right."""
    if not value or (len(value) <= MAX_NAME and _QUALIFIED.fullmatch(value)):
        return value
    raise ValueError(
        f"the value of a label has at most {MAX_NAME} of A-Z, a-z, 0-9, '-', '_' and '.', with a letter or"
        f" digit at both ends, not {_shown(value)}; longer texts go into annotations"
    )


def annotation_map(values: dict[str, str]) -> dict[str, str]:
    """Checks a Kubernetes object's annotations: their keys, and 256 KiB in all. Raises ValueError."""
    for key in values:
        label_key(key)
    size = sum(len(k.encode()) + len(v.encode()) for k, v in values.items())
    if size > MAX_ANNOTATION_BYTES:
        raise ValueError(f"annotations have at most {MAX_ANNOTATION_BYTES} bytes in all, not {size}")
    return values


def _shown(name: str) -> str:
    """A name as messages show it: quoted, and not longer than a line."""
    return repr(name) if len(name) <= 80 else f"{name[:60]!r}... ({len(name)} characters)"


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()


def _as_label(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", _plain(name).lower())[:MAX_NAME].strip("-")
