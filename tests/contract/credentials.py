"""Credentials for tests of the gateway: a file of keys of every role, and clients that send one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from laneway.adapters.redis import RedisStore
from laneway.gateway.app import build_app
from laneway.gateway.auth.access import Access
from laneway.kit.health import Health
from laneway.model.apikeys import KeyEntry, mint
from laneway.model.auth import AuthSettings


def write_keys(file: Path, entries: Sequence[KeyEntry]) -> None:
    """Writes a file of keys whole, as another does who replaces it."""
    made = file.with_name(f".{file.name}.new")
    made.write_text(json.dumps({"keys": [entry.model_dump(exclude_none=True) for entry in entries]}))
    made.rename(file)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


ROLES = ("viewer", "submitter", "operator", "admin")


def keys_of_roles(file: Path, **more: Any) -> dict[str, str]:
    """A key of each role in ``file``, by role; ``more`` goes to all of them."""
    made = {role: mint(f"the {role}", role, **more) for role in ROLES}  # type: ignore[arg-type]
    write_keys(file, [entry for _, entry in made.values()])
    return {role: key for role, (key, _) in made.items()}


@asynccontextmanager
async def guarded(
    stores: Mapping[str, RedisStore] | RedisStore, settings: Mapping[str, Any], **options: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, Access]]:
    """A gateway that asks for credentials, as ``settings`` say, and a client that sends none by itself."""
    stores = {stores.queue: stores} if isinstance(stores, RedisStore) else stores
    health = Health()
    access = Access(AuthSettings.model_validate(settings), health=health)
    await access.start()
    app = build_app(stores, access=access, health=health, **options)
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
            yield client, access
    finally:
        await access.stop()
