"""``laneway gateway`` as a process: what it takes for who may use it, and that keys change while it runs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from tests.contract.credentials import bearer
from tests.contract.gateways import Q, eventually, open_store

from laneway.cli.main import main
from laneway.errors import ConfigError
from laneway.gateway.auth.local import LocalGuard
from laneway.kit.health import Health
from laneway.roles.gateway import open_access

ENV = {name: value for name, value in os.environ.items() if not name.startswith("LANEWAY_")}


async def started(*args: str, cwd: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "laneway", "gateway", "-q", "mail", "--log-format", "json", *args,
        cwd=cwd, env=ENV, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@asynccontextmanager
async def serving(*args: str, cwd: Path) -> AsyncIterator[httpx.AsyncClient]:
    process = await started("--port", "0", *args, cwd=cwd)
    assert process.stderr is not None
    said: list[str] = []
    try:
        async with asyncio.timeout(30):
            while "url" not in (line := json.loads(await process.stderr.readline() or b"{}")):
                said.append(str(line))
                assert process.returncode is None and line, said
        reading = asyncio.create_task(process.stderr.read())
        async with httpx.AsyncClient(base_url=line["url"], timeout=10) as client:
            yield client
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()
    await reading
    assert process.returncode == 0


def made(*args: str) -> str:
    result = CliRunner().invoke(main, ["keys", *args])
    assert result.exception is None, result.output
    return result.stdout.strip()


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--host", "0.0.0.0"], "nothing says who may use the HTTP API, and 0.0.0.0 is reached from other machines"),
        (["--auth", "auth.yaml"], "there is no file auth.yaml"),
        (["--auth", '{"keys": {"path": "nowhere.yaml"}}'], "nowhere.yaml: can't be read"),
        (["--auth", '{"keys": {}}'], "keys.path: is missing"),
    ],
)
async def test_a_gateway_that_knows_not_whom_to_let_in_does_not_start(
    tmp_path: Path, args: list[str], why: str
) -> None:
    process = await started(*args, "--port", "0", cwd=tmp_path)
    async with asyncio.timeout(30):
        _, said = await process.communicate()
    assert process.returncode == 2
    assert why in json.loads(said.decode().splitlines()[-1])["reason"]


async def test_keys_are_made_and_revoked_while_the_gateway_runs(redis7_url: str, tmp_path: Path) -> None:
    store = await open_store(redis7_url)
    await store.close()
    file = str(tmp_path / "keys.yaml")
    first = made("create", "-f", file, "--name", "first", "--role", "viewer")
    (tmp_path / "auth.yaml").write_text("keys: {path: keys.yaml}\n")
    async with serving("--redis", redis7_url, "--auth", "auth.yaml", cwd=tmp_path) as client:

        async def status(key: str) -> int:
            return (await client.get(f"{Q}/stats", headers=bearer(key))).status_code

        assert (await client.get(f"{Q}/stats")).status_code == 401
        assert await status(first) == 200
        second = made("create", "-f", file, "--name", "second", "--role", "viewer")

        async def taken() -> bool:
            return await status(second) == 200

        await eventually(taken)
        made("revoke", "-f", file, "first", "-y")

        async def refused() -> bool:
            return await status(first) in (401, 429)  # this address has failed often by now

        await eventually(refused)
        assert await status(second) == 200


async def test_a_stream_of_events_ends_when_its_key_is_revoked(redis7_url: str, tmp_path: Path) -> None:
    store = await open_store(redis7_url)
    await store.close()
    file = str(tmp_path / "keys.yaml")
    key = made("create", "-f", file, "--name", "ann", "--role", "viewer")
    async with serving(
        "--redis", redis7_url, "--auth", '{"keys": {"path": "keys.yaml"}}', cwd=tmp_path
    ) as client:  # fmt: skip
        async with client.stream("GET", f"{Q}/events", headers=bearer(key)) as stream:
            assert stream.status_code == 200
            parts = stream.aiter_bytes()
            assert await anext(parts)
            made("revoke", "-f", file, "ann", "-y")
            async with asyncio.timeout(30):
                async for _ in parts:
                    pass
        assert (await client.get(f"{Q}/events", headers=bearer(key))).status_code == 401


async def test_on_loopback_nothing_has_to_be_said_and_no_page_of_another_site_gets_in(
    redis7_url: str, tmp_path: Path
) -> None:
    store = await open_store(redis7_url)
    await store.close()
    async with serving("--redis", redis7_url, cwd=tmp_path) as client:
        assert (await client.get(f"{Q}/stats")).status_code == 200
        page = await client.get(f"{Q}/stats", headers={"Origin": "https://evil.example.org"})
        rebound = await client.get(f"{Q}/stats", headers={"Host": "evil.example.org"})
        assert (page.status_code, rebound.status_code) == (403, 403)
        for headers in ({"Host": "["}, {"Host": "a]b"}, {"Host": "[::1"}, {"Origin": "http://["}, {"Origin": "null"}):
            unreadable = await client.get(f"{Q}/stats", headers=headers)
            assert unreadable.status_code == 403, headers
            assert unreadable.json()["type"] == "urn:laneway:problem:forbidden"
        assert "give it --auth" in rebound.json()["detail"]


def test_everybody_is_let_in_elsewhere_only_when_that_is_said() -> None:
    assert not open_access("none", "0.0.0.0", Health()).required
    assert isinstance(open_access(None, "127.0.0.1", Health()).guard, LocalGuard)
    assert not isinstance(open_access("none", "127.0.0.1", Health()).guard, LocalGuard)
    with pytest.raises(ConfigError, match="--auth none"):
        open_access(None, "0.0.0.0", Health())
