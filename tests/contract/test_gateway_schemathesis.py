"""schemathesis finds nothing wrong in the API: what its description says is what a real gateway on a real Redis does.

It makes requests from the description alone, good and bad ones, and follows what answers lead to; all its checks are
on (two of them as in schemathesis_hooks.py). What it makes is the same each time.
"""

import asyncio
import os
import re
import sys
from pathlib import Path

import httpx
import pytest
from tests.contract.credentials import bearer, keys_of_roles
from tests.contract.gateways import TASKS, Q, run_one, served

from laneway.adapters.redis import RedisStore
from laneway.gateway.auth.access import Access
from laneway.kit.health import Health
from laneway.kit.ids import new_incarnation
from laneway.model.auth import AuthSettings
from laneway.model.settlement import Kind

pytestmark = pytest.mark.timeout(240)

_ROOT = Path(__file__).parents[2]
#: Long answers are waited for in tests of their own, and streams read there; here each answer comes at once.
_CONFIG = """
hooks = "tests.contract.schemathesis_hooks"
headers = { Accept = "application/json"%(authorization)s }
request-timeout = 60
continue-on-failure = true

[parameters]
"query.wait" = 0

[generation]
deterministic = true
max-examples = 5

[checks.positive_data_acceptance]
enabled = false

[checks.negative_data_rejection]
enabled = false

[phases.examples]
enabled = false

[phases.coverage]
enabled = %(coverage)s

[phases.fuzzing]
enabled = %(fuzzing)s

[phases.stateful]
enabled = %(stateful)s
"""


async def furnish(client: httpx.AsyncClient, store: RedisStore) -> None:
    """Something of each kind to find: tasks in several states, dead letters, a worker that runs one."""
    for body in ({"type": "t", "priority": 9}, {"type": "charge", "priority": 9}, {"type": "t", "delay": 900}):
        assert (await client.post(TASKS, json=body)).status_code == 201
    await run_one(store, Kind.COMPLETE, {"sum": 3})
    await run_one(store, Kind.DEAD, {"kind": "E", "message": "order 4 refused", "at": 1, "attempt": 1})
    for _ in range(3):
        assert (await client.post(TASKS, json={"type": "t", "tenant": "acme", "labels": {"a": "b"}})).status_code == 201
    inc = new_incarnation()
    await store.register(inc, "w1", "direct", 1, 0, 0)
    await store.heartbeat(inc, 2, 1, 0, [])
    await store.turn(inc, 1, 1, [])


def nothing(told: str) -> None:
    """Fails with all that schemathesis says."""
    if told:
        pytest.fail(told, pytrace=False)


async def findings(folder: Path, client: httpx.AsyncClient, key: str = "", *, only: str = "", **phases: bool) -> str:
    """What schemathesis says when it finds something; "" when it does not. ``only``: the operation that it looks at."""
    config = folder / "schemathesis.toml"
    words = {name: str(phases.get(name, False)).lower() for name in ("coverage", "fuzzing", "stateful")}
    authorization = f', Authorization = "{bearer(key)["Authorization"]}"' if key else ""
    config.write_text(_CONFIG % {"authorization": authorization, **words})
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "--no-color", "run",
        str(client.base_url.join("/openapi.json")), *(("--include-operation-id", only) if only else ()),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(_ROOT), str(_ROOT / "runtime")))},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    told = output.decode(errors="replace")
    # (Its exit code does not tell that it has made any requests.)
    return "" if process.returncode == 0 and re.search(r"\d+ generated, \d+ passed", told) else told


async def test_what_the_description_says_of_single_requests_is_so(store: RedisStore, tmp_path: Path) -> None:
    async with served(store) as client:
        await furnish(client, store)
        nothing(await findings(tmp_path, client, coverage=True))
    assert (await store.stats()).drift == 0


async def test_nor_does_chance_find_anything(store: RedisStore, tmp_path: Path) -> None:
    async with served(store) as client:
        await furnish(client, store)
        nothing(await findings(tmp_path, client, fuzzing=True))
    assert (await store.stats()).drift == 0


async def test_what_answers_lead_to_is_as_the_description_says(store: RedisStore, tmp_path: Path) -> None:
    async with served(store) as client:
        await furnish(client, store)
        nothing(await findings(tmp_path, client, stateful=True))
    assert (await store.stats()).drift == 0


async def test_with_authentication_nothing_is_open_and_the_description_still_holds(
    store: RedisStore, tmp_path: Path
) -> None:
    keys = keys_of_roles(tmp_path / "keys.json")
    health = Health()
    access = Access(AuthSettings.model_validate({"keys": {"path": str(tmp_path / "keys.json")}}), health=health)
    await access.start()
    try:
        async with served(store, access=access) as client:
            client.headers.update(bearer(keys["admin"]))
            await furnish(client, store)
            nothing(await findings(tmp_path, client, keys["admin"], coverage=True))
    finally:
        await access.stop()


async def test_the_checks_here_are_not_blind(
    store: RedisStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that breaks its word is found: else the tests above would prove nothing."""
    from laneway.gateway import queues

    monkeypatch.setattr(queues, "_rate", lambda rate, burst: {"perSecond": "fast"})
    async with served(store) as client:
        told = await findings(tmp_path, client, only="getQueue", coverage=True)
    assert f"GET {Q.replace('mail', '{queue}')}" in told, told[-2000:]
