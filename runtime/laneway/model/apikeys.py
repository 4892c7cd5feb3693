"""API keys: what they look like, and the file that has their hashes.

A key is ``lw_<id>_<secret>``: the id, 12 characters, finds its entry; the secret is 256 random bits. The file has the
SHA-256 of the whole key, and no slow hash: those are for passwords, which people choose and so can be guessed. To find
256 random bits one would have to try about 2^255 times, whatever one try costs; a slow hash would only make each
request slow, and the gateway easy to keep busy.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import Field, field_validator

from laneway.kit.times import moment
from laneway.model.manifests.base import Model, Text
from laneway.model.manifests.gatewayauth import RoleName, Word
from laneway.model.manifests.parts import TenantName

PREFIX: Final = "lw_"
_KEY = re.compile(r"lw_([a-z2-7]{12})_([a-z2-7]{52})", re.ASCII)
_ID = re.compile(r"[a-z2-7]{12}", re.ASCII)
_HASH = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


def _id(text: str) -> str:
    if _ID.fullmatch(text):
        return text
    raise ValueError(f"must be the middle of a key, 12 characters a-z and 2-7, not {text[:40]!r}")


def _hash(text: str) -> str:
    if _HASH.fullmatch(text):
        return text
    # (Somebody may have put the key itself there: it is not repeated.)
    raise ValueError("must be sha256: and 64 characters 0-9 and a-f, as `laneway keys create` writes it")


def _time(text: str) -> str:
    moment(text)
    return text


_Time = Annotated[str, Text(_time, "", 1, 40)]


class KeyEntry(Model):
    """One key, without its secret."""

    id: Annotated[str, Text(_id, "", 12, 12)] = Field(description="The middle part of the key.")
    hash: Annotated[str, Text(_hash, "", 71, 71)] = Field(description="sha256: and the SHA-256 of the whole key, hex.")
    name: Word = Field(description="Who has it; logs name it so.")
    role: RoleName = Field(description="What it may do: viewer, submitter, operator or admin.")
    tenants: list[TenantName] | None = Field(
        default=None, min_length=1, max_length=100, description="The tenants it is bound to. Absent: none, it sees all."
    )
    payloads: bool | None = Field(
        default=None,
        description="Whether it shows payloads, results, tracebacks and log lines. Absent: as the role says.",
    )
    created: _Time | None = Field(default=None, description="When it was made.")
    expires: _Time | None = Field(default=None, description="From when on it is refused. Absent: never.")
    revoked: _Time | None = Field(default=None, description="When it was revoked: it is refused. Absent: it was not.")


class KeyFile(Model):
    """A file of keys."""

    keys: list[KeyEntry] = Field(max_length=10_000, description="The keys, each with its own id.")

    @field_validator("keys")
    @classmethod
    def _each_once(cls, keys: list[KeyEntry]) -> list[KeyEntry]:
        seen: set[str] = set()
        for key in keys:
            if key.id in seen:
                raise ValueError(f"must have each id once; {key.id} is there twice")
            seen.add(key.id)
        return keys


def key_hash(key: str) -> str:
    """The hash that the file has of a key."""
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def key_id(key: str) -> str | None:
    """The id in a key; None when it is not of the form of one."""
    match = _KEY.fullmatch(key)
    return match[1] if match else None


def mint(
    name: str,
    role: RoleName,
    *,
    tenants: Sequence[str] | None = None,
    payloads: bool | None = None,
    expires: datetime | None = None,
    now: datetime | None = None,
) -> tuple[str, KeyEntry]:
    """A new key and its entry. The key is nowhere else: who loses it has to make another.

    Raises:
        ValidationError: name, tenants or role are not of their form.
    """
    id = _base32(8)[:12]
    key = f"{PREFIX}{id}_{_base32(32)}"
    entry = KeyEntry(
        id=id,
        hash=key_hash(key),
        name=name,
        role=role,
        tenants=list(tenants) if tenants is not None else None,
        payloads=payloads,
        created=stamp(now or datetime.now(UTC)),
        expires=stamp(expires) if expires else None,
    )
    return key, entry


def stamp(when: datetime) -> str:
    """A time as the file has it."""
    return when.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _base32(size: int) -> str:
    return base64.b32encode(secrets.token_bytes(size)).decode().rstrip("=").lower()
