"""What passes look at is read once for all who ask, and nobody waits for a server that hangs."""

from __future__ import annotations

import asyncio
import contextlib
import stat
from pathlib import Path
from typing import cast

import pytest

from laneway.adapters.redis.depths import QueueName
from laneway.errors import ConfigError, LanewayError, Unavailable
from laneway.model.servers import RedisServer
from laneway_operator.adapter.loads import PoolLoads
from laneway_operator.engine.cluster import Cluster
from laneway_operator.engine.errors import NotLeading
from laneway_operator.engine.fence import Fence, open_fence
from laneway_operator.engine.metrics import OperatorMetrics
from laneway_operator.engine.queue import WorkQueue
from laneway_operator.keys import ObjectKey
from laneway_operator.observe.files import UNASKED_S, PrivateFiles
from laneway_operator.observe.limiter import RedisPeer
from laneway_operator.observe.manifests import Manifests
from laneway_operator.observe.peers import UNUSED_S, Peers
from laneway_operator.observe.secrets import digest
from laneway_operator.observe.servers import ServerReader
from laneway_operator.observe.sharing import SharedRead
from servers.redis import RedisServer as RealRedis


class Server:
    """Answers with how often it was asked; ``hangs`` or raises when told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.error: Exception | None = None
        self.answers = asyncio.Event()
        self.answers.set()
        self.read = SharedRead(self._answer, 2.0, lambda: self.now)

    async def _answer(self) -> int:
        self.asked += 1
        await self.answers.wait()
        if self.error is not None:
            raise self.error
        return self.asked


async def test_an_answer_is_shared_for_as_long_as_it_is_fresh() -> None:
    server = Server()
    assert await asyncio.gather(*(server.read() for _ in range(5))) == [1] * 5
    server.now = 1.9
    assert await server.read() == 1
    server.now = 2.0
    assert await server.read() == 2


async def test_an_expired_answer_is_asked_for_anew() -> None:
    server = Server()
    assert await server.read() == 1
    server.read.expire()
    assert await server.read() == 2


async def test_an_error_is_told_to_all_at_once_while_the_server_hangs() -> None:
    server = Server()
    server.error = Unavailable("away")
    with pytest.raises(Unavailable):
        await server.read()
    server.answers.clear()
    server.now = 10.0
    for answer in await asyncio.gather(*(server.read() for _ in range(50)), return_exceptions=True):
        assert isinstance(answer, Unavailable)
    # None of them waited for the attempt that is still under way.
    assert server.asked == 2
    await server.read.close()


async def test_a_server_that_hangs_from_the_start_is_waited_for_once_and_bounded() -> None:
    server = Server()
    server.read = SharedRead(server._answer, 2.0, lambda: server.now, of="Redis at r:1", patience=0.05)
    server.answers.clear()
    for answer in await asyncio.gather(*(server.read() for _ in range(50)), return_exceptions=True):
        assert isinstance(answer, Unavailable)
        assert "Redis at r:1 has given no answer" in str(answer)
    assert server.asked == 1
    server.answers.set()
    assert await server.read() == 1


async def test_that_nothing_may_be_written_is_told_to_those_who_waited_and_to_nobody_later() -> None:
    server = Server()
    assert await server.read() == 1
    server.now, server.error = 2.0, NotLeading("the lease is late")
    answers = await asyncio.gather(*(server.read() for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [NotLeading] * 3
    server.error = None  # the lease was renewed, at the very same moment
    assert await server.read() == 3


async def test_a_late_lease_ends_no_queue_s_passes(redis7: RealRedis) -> None:
    """Passes of a term whose lease is late leave nothing behind that ends those of the next."""
    now = 0.0
    fence = Fence(lambda: now)
    peer = RedisPeer(RedisServer(redis7.url), fence, lambda: now, lambda name, well: None)
    ended: asyncio.Queue[str] = asyncio.Queue()

    async def a_pass(key: ObjectKey) -> float:
        await peer.ensure_scripts()
        return 0.01

    queue = WorkQueue({"TaskQueue": a_pass}, observe=lambda kind, result, seconds: ended.put_nowait(result))
    queue.wake(ObjectKey("TaskQueue", "ns", "q"))
    fence.open(1, 10.0)
    run = asyncio.create_task(queue.run())
    async with asyncio.timeout(20):
        assert await ended.get() == "done"
        now = 11.0  # what was read is old, and the fence has shut
        while await ended.get() != "fenced":
            pass
        fence.open(1, 20.0)
        while await ended.get() != "done":
            pass
    run.cancel()
    await asyncio.wait([run])
    await peer.close()


async def test_a_server_that_is_back_is_used_by_the_first_who_asks() -> None:
    server = Server()
    server.error = Unavailable("away")
    with pytest.raises(Unavailable):
        await server.read()
    server.error, server.now = None, 10.0
    assert await server.read() == 2


async def test_who_is_cancelled_takes_nobody_with_it() -> None:
    server = Server()
    server.answers.clear()
    first, second = asyncio.create_task(server.read()), asyncio.create_task(server.read())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    server.answers.set()
    assert await second == 1


def test_files_of_certificates_are_private_and_another_content_is_another_file() -> None:
    files = PrivateFiles()

    async def written() -> list[str]:
        return [await files.path(content) for content in (b"one", b"one", b"other")]

    one, again, other = asyncio.run(written())
    assert one == again != other
    path = Path(one)
    assert path.read_bytes() == b"one"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    files.close()
    assert not path.parent.exists()


async def test_files_that_nobody_asks_for_any_more_are_deleted_once_there_are_many() -> None:
    now = 0.0
    files = PrivateFiles(keep=3, clock=lambda: now)
    used, *old = [Path(await files.path(content)) for content in (b"used", b"1", b"2")]
    for n in range(3, 6):  # rotated within the hour: all may be in use still
        old.append(Path(await files.path(b"%d" % n)))
    assert all(map(Path.exists, (used, *old)))
    now = UNASKED_S - 1
    assert Path(await files.path(b"used")) == used
    now = UNASKED_S + 1
    new = Path(await files.path(b"new"))
    assert all(map(Path.exists, (used, new)))
    assert sum(map(Path.exists, old)) <= 1
    files.close()


async def test_a_client_that_nobody_uses_any_more_is_closed() -> None:
    now = 0.0
    peers = Peers(open_fence(), OperatorMetrics(), lambda: now)
    old, new = RedisServer("redis://127.0.0.1:1", password="old"), RedisServer("redis://127.0.0.1:1", password="new")
    first = peers.redis(old)
    now = UNUSED_S
    assert peers.redis(old) is first
    now += UNUSED_S + 1
    assert peers.redis(new) is not first
    assert peers.redis(old) is not first
    await peers.close()


def test_a_digest_changes_with_each_value_and_not_with_their_order() -> None:
    one = {("a", "k"): b"1", ("b", "k"): b"2"}
    assert digest(one) == digest(dict(reversed(one.items())))
    assert len({digest(one), digest({**one, ("b", "k"): b"3"}), digest({("a", "k"): b"12", ("b", "k"): b""})}) == 3
    assert digest({}) == "none"


def body(generation: int, **spec: object) -> dict[str, object]:
    meta = {"name": "q", "namespace": "team", "uid": "u", "generation": generation, "resourceVersion": "1"}
    return {"apiVersion": "laneway.dev/v1alpha1", "kind": "TaskQueue", "metadata": meta, "spec": spec}


def test_an_object_is_read_once_for_each_of_its_generations() -> None:
    manifests = Manifests()
    first = manifests.queue(body(1, limits={"maxDepth": 1}))
    assert manifests.queue(body(1, limits={"maxDepth": 2})) is first
    assert manifests.queue(body(2, limits={"maxDepth": 2})).spec.limits.maxDepth == 2


def test_what_only_the_models_can_tell_is_told_with_the_field() -> None:
    with pytest.raises(ConfigError, match=r"spec\.retry\.backoff: base must be at most cap"):
        Manifests().queue(body(1, retry={"backoff": {"base": "2h", "cap": "1h"}}))


async def test_the_adapter_closes_connections_that_nobody_asks_for_any_more(redis7: RealRedis) -> None:
    """Each rotation of a password makes another server of it."""
    now = 0.0
    loads = PoolLoads(cast(Cluster, None), cast(ServerReader, None), lambda: now)
    first, second = RedisServer(redis7.url), RedisServer("redis://127.0.0.1:1")
    queue = QueueName("ns", "q")

    async def ask(server: RedisServer) -> None:
        # (No such queue is configured, or there is no such server; either way it was asked.)
        with contextlib.suppress(LanewayError):
            await loads._depth(server, queue)

    await ask(first)
    await ask(second)
    assert set(loads._readers) == {first, second}
    now = 50.0
    await ask(first)
    now = 100.0
    await ask(first)
    assert set(loads._readers) == {first}
    await loads.close()
