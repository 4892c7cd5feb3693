"""Secrets: named by reference, waited for, and rotated under running queues."""

from __future__ import annotations

from collections.abc import Callable

from tests.operator.limiter import Limiter
from tests.operator.running import World, until

from laneway.model.servers import RedisServer as Server
from servers.redis import RedisServer

_OLD, _NEW = "first-password-0815", "second-password-4711"
#: A Secret is read again after 10 s at the latest, in a pass that comes each 10 s.
_ROTATED_S = 40.0


def _with_user(server: RedisServer, *less: str) -> RedisServer:
    """The server with an ACL user ``laneway`` who may do all but what ``less`` says."""
    assert server.command(" ".join(("ACL SETUSER laneway on", f">{_OLD}", "~* &* +@all", *less))) == b"+OK"
    return server


def _as_user(server: RedisServer, secret: str) -> dict[str, object]:
    """spec.redis for that user."""
    return {"url": server.url, "username": "laneway", "passwordSecretRef": {"name": secret, "key": "password"}}


def _hash(world: World, deployment: str) -> str:
    annotations = world.applied("Deployment", deployment)["spec"]["template"]["metadata"]["annotations"]
    return str(annotations["laneway.dev/credentials-hash"])


def test_a_queue_waits_for_its_secret_and_then_uses_it(world: World, redis7: RedisServer) -> None:
    world.create("TaskQueue", "wait", {"redis": {"secretRef": {"name": "wait-redis", "key": "url"}}})
    told = world.told("TaskQueue", "wait", "Ready", "False", "SecretNotFound")
    assert f"Secret wait-redis in namespace {world.namespace}" in told["message"]
    world.told("TaskQueue", "wait", "Stalled", "True", "SecretNotFound")
    assert world.find("Deployment", "laneway-wait-gateway") is None
    world.secret("wait-redis", address=redis7.url)
    until("the key is named", lambda: (
        "key url of Secret wait-redis" in world.condition("TaskQueue", "wait", "Ready")["message"]
    ))  # fmt: skip
    world.secret("wait-redis", url="no url at all")
    told = world.told("TaskQueue", "wait", "Ready", "False", "SecretInvalid")
    assert "wait-redis/url" in told["message"]
    world.secret("wait-redis", url=redis7.url)
    world.told("TaskQueue", "wait", "LimiterReady", "True", timeout=_ROTATED_S)
    world.applied("Deployment", "laneway-wait-gateway")


def test_a_rotated_secret_reaches_pods_and_the_operators_own_clients(
    world: World, new_redis: Callable[..., RedisServer]
) -> None:
    own = _with_user(new_redis())
    world.secret("turn-redis", password=_OLD)
    world.secret("turn-token", token="one")
    world.secret("turn-all", SETTING="one")
    world.create("TaskQueue", "turn", {"redis": _as_user(own, "turn-redis")})
    of_queue = {"queueRef": {"name": "turn"}, "app": "a:app"}
    env = [{"name": "TOKEN", "secretRef": {"name": "turn-token", "key": "token"}}]
    world.create("WorkerPool", "turn-env", {**of_queue, "env": env})
    world.create("WorkerPool", "turn-all", {**of_queue, "envFrom": [{"secretRef": {"name": "turn-all"}}]})
    world.told("TaskQueue", "turn", "LimiterReady", "True")
    parts = ("laneway-turn-gateway", "laneway-turn-poller", "laneway-turn-env-worker", "laneway-turn-all-worker")
    before = {part: _hash(world, part) for part in parts}

    # The server takes the new password only from now on, so the operator's clients have to change theirs.
    world.secret("turn-redis", password=_NEW)
    world.secret("turn-token", token="two")
    world.secret("turn-all", SETTING="two")
    own.command(f"ACL SETUSER laneway resetpass >{_NEW}")
    own.command("CLIENT KILL USER laneway")
    for part in parts:
        until(f"{part} restarts", lambda part=part: _hash(world, part) != before[part],  # type: ignore[misc]
              timeout=_ROTATED_S)  # fmt: skip
    world.patch("TaskQueue", "turn", {"spec": {"limits": {"maxDepth": 5}}})
    limiter = Limiter(Server(own.url, username="laneway", password=_NEW), world.namespace, "turn")
    until("the limiter is configured with the new password",
          lambda: (config := limiter.config()) is not None and config.max_depth == 5)  # fmt: skip
    world.told("TaskQueue", "turn", "LimiterReady", "True")
    # No value of a Secret stands anywhere but in the Secret.
    shown = "".join(str(world.get("Deployment", part)) for part in parts) + str(world.get("TaskQueue", "turn"))
    log = world.operator.log.read_text()
    for value in (_OLD, _NEW):
        assert value not in shown
        assert value not in log


def test_a_wrong_password_is_told_as_such(world: World, new_redis: Callable[..., RedisServer]) -> None:
    own = _with_user(new_redis())
    world.secret("wrong-redis", password="another")
    world.create("TaskQueue", "wrong", {"redis": _as_user(own, "wrong-redis")})
    told = world.told("TaskQueue", "wrong", "LimiterReady", "False", "AccessDenied")
    assert "another" not in told["message"]
    assert "invalid username-password pair" in told["message"]


def test_a_promise_that_can_not_be_checked_is_told(world: World, new_redis: Callable[..., RedisServer]) -> None:
    own = _with_user(new_redis(), "-config")
    world.secret("less-redis", password=_OLD)
    world.create("TaskQueue", "less", {"redis": _as_user(own, "less-redis"), "durability": "Fsync"})
    told = world.told("TaskQueue", "less", "LimiterReady", "True")
    assert "allow +config|get" in told["message"]


def test_a_user_who_may_not_load_scripts_is_told_so(world: World, new_redis: Callable[..., RedisServer]) -> None:
    own = _with_user(new_redis(), "-script")
    world.secret("none-redis", password=_OLD)
    world.create("TaskQueue", "none", {"redis": _as_user(own, "none-redis")})
    told = world.told("TaskQueue", "none", "LimiterReady", "False", "AccessDenied")
    assert "script" in told["message"].lower()
    world.told("TaskQueue", "none", "Stalled", "True", "AccessDenied")
