"""A client command's connection: a gateway over HTTP, or the same API within this process over Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from laneway.cli.contexts import Context, load_contexts, token_of
from laneway.cli.output import Output
from laneway.cli.target import Target, only_queue, opened, queues_of, resolve, running_up
from laneway.cli.where import Where
from laneway.errors import AccessDenied, ConfigError

if TYPE_CHECKING:
    import ssl

    from laneway.client.http import HttpClient

#: How long a command repeats what a gateway can't take for now (s); a person waits for it.
PATIENCE_S = 3.0
#: How long the API within this process waits for Redis (s): the store itself gives up before.
_DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class Session:
    """``name``: the queue, and where it is when that is a gateway. ``local``: the API is within this process.
    ``target``: the queue and where it is, for a question before something is changed."""

    client: HttpClient
    name: str
    local: bool
    out: Output
    target: str = ""

    @property
    def queue(self) -> str:
        """The queue's name."""
        return self.client.queue


def on_api(
    where: Where,
    work: Callable[[Session], Coroutine[Any, Any, int]],
    *,
    queue: bool = True,
    changes: bool = False,
) -> int:
    """Runs ``work`` with a connection, and returns its exit code. ``queue`` False: it needs none. ``changes``: it may
    change something, so a place that the command line does not name is told."""
    import asyncio

    async def run() -> int:
        async with connected(where, queue=queue, changes=changes) as session:
            return await work(session)

    return asyncio.run(run())


@asynccontextmanager
async def connected(where: Where, *, queue: bool = True, changes: bool = False) -> AsyncIterator[Session]:
    """A connection to where the options mean; ``changes`` as of :func:`on_api`.

    Raises:
        click.UsageError: no queue is named, and it does not follow from what is there.
        ConfigError: a context, a setting or a credential is wrong.
        Failure: there is no such queue (3), or no server (5).
    """
    context = _context(where)
    if changes and context is not None and "context" not in where.given:
        click.echo(f"laneway: using context {context.name} ({context.place})", err=True)
    async with AsyncExitStack() as stack:
        if where.url or where.port_forward or (context is not None and "redis" not in context.settings):
            yield await _gateway(stack, where, context, queue)
        elif queue:
            yield await _local(stack, await _target(where, context), Output(where.format), context)
        else:
            yield await _local_queues(stack, where, context)


def _context(where: Where) -> Context | None:
    """The context that is meant by name, or by being in use where nothing else is said."""
    if where.context is not None:
        return load_contexts().get(where.context)
    if where.url or where.port_forward or where.redis or where.cluster or running_up() is not None:
        return None
    contexts = load_contexts()
    return contexts.get(contexts.current) if contexts.current is not None else None


async def _gateway(stack: AsyncExitStack, where: Where, context: Context | None, queue: bool) -> Session:
    from laneway.client.http import HttpClient

    if context is not None and "namespace" in where.given:
        raise click.UsageError("--namespace goes with --redis: a gateway serves the queues of one namespace")
    url, place = await _address(stack, where, context)
    token = _token(where, context)
    verify = _verify(context) if context is not None else True
    name = where.queue or (context.text("queue") if context is not None else None)
    client = HttpClient(url, name or "", token=token, patience=PATIENCE_S, verify=verify)
    stack.push_async_callback(client.close)
    if queue and not name:
        client.queue = name = await _only_queue(client)
    named = f"{name} at {place}" if name else place
    return Session(client, named, False, Output(where.format), named)


async def _address(stack: AsyncExitStack, where: Where, context: Context | None) -> tuple[str, str]:
    """The gateway's URL, and how messages name it."""
    if where.url:
        return where.url, where.url
    if where.port_forward is None and context is not None and context.text("url"):
        return str(context.text("url")), f"{context.text('url')} (context {context.name})"
    from laneway.cli.portforward import forwarded, service

    to = where.port_forward
    if to is None:
        assert context is not None
        to = service(str(context.text("portForward")))
    kube = context.text("kubeContext") if context is not None else None
    url = await stack.enter_async_context(forwarded(to, kube))
    by = f" (context {context.name})" if where.port_forward is None and context is not None else ""
    return url, f"{to.namespace}/{to.service}{by}"


def _token(where: Where, context: Context | None) -> Any:
    """The credential: that of the command line, else the context's, else the environment's."""
    if where.token is not None and ("token" in where.given or context is None or context.credential == "none"):
        return where.token
    if context is None or context.credential == "none":
        return None

    async def got() -> str:
        return await token_of(context) or ""

    return got


def _verify(context: Context) -> ssl.SSLContext | bool:
    if context.settings.get("insecure"):
        return False
    import ssl

    ca = context.text("caFile")
    if ca is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"context {context.name} has the certificates {ca}, which can't be read: {error}") from error


async def _only_queue(client: HttpClient) -> str:
    try:
        names = [item.name for item in await client.queues()]
    except AccessDenied as error:
        if error.problem != "forbidden":
            raise
        # (who may only submit sees no numbers, but what there is)
        names = [str(name) for name in (await client.index()).get("queues") or []]
        if not names:
            raise click.UsageError(
                "say which queue: --queue NAME, or LANEWAY_QUEUE in the environment; the role of this credential may "
                "not list the queues"
            ) from None
    if len(names) == 1:
        return names[0]
    there = f"; the gateway has {', '.join(names)}" if names else ""
    raise click.UsageError(f"say which queue: --queue NAME, or LANEWAY_QUEUE in the environment{there}")


async def _target(where: Where, context: Context | None) -> Target:
    """The queue on a Redis: the one that is named, else the only one there is."""
    where = _with_context(where, context)
    queue = where.queue
    if queue is None and where.redis is not None:
        queue = await only_queue(where.redis, where.namespace, where.cluster)
    return resolve(where.redis, queue, where.namespace, where.cluster)


def _with_context(where: Where, context: Context | None) -> Where:
    """With what a context of a Redis says."""
    if context is None:
        return where
    return replace(
        where,
        redis=str(context.text("redis")),
        queue=where.queue or context.text("queue"),
        namespace=where.namespace or context.text("namespace"),
        cluster=where.cluster or bool(context.settings.get("cluster")),
    )


async def _local(stack: AsyncExitStack, target: Target, out: Output, context: Context | None) -> Session:
    store, _ = await stack.enter_async_context(opened(target))
    client = await _in_process(stack, {target.queue: store}, target.queue)
    by = f" (context {context.name})" if context is not None else ""
    return Session(client, target.name, True, out, f"{target.name} on {target.redis.address}{by}")


async def _local_queues(stack: AsyncExitStack, where: Where, context: Context | None) -> Session:
    """The API over the queues of a Redis or of the ``laneway up`` in this folder, or the one queue that is named."""
    up = running_up() if where.redis is None and context is None else None
    place = _with_context(where, context)
    if place.redis is not None and place.queue is None:
        names = await queues_of(place.redis, place.namespace, place.cluster)
        return await _several(stack, place, names, "the Redis that is named")
    if up is None or where.queue is not None:
        return await _local(stack, await _target(where, context), Output(where.format), context)
    return await _several(stack, where, up.queues, "the laneway up in this folder")


async def _several(stack: AsyncExitStack, where: Where, names: list[str], place: str) -> Session:
    stores = {}
    for name in names:
        target = resolve(where.redis, name, where.namespace, where.cluster, quiet=True)
        stores[name], _ = await stack.enter_async_context(opened(target))
    client = await _in_process(stack, stores, names[0] if names else "")
    return Session(client, place, True, Output(where.format))


async def _in_process(stack: AsyncExitStack, stores: dict[str, Any], queue: str) -> HttpClient:
    from laneway.cli.inprocess import InProcess
    from laneway.client.http import HttpClient
    from laneway.gateway.app import build_app
    from laneway.gateway.limits import GatewayLimits
    from laneway.kit.logs import setup_logging

    # What goes wrong is told as an error of the command; the log is for those who look into it.
    debug = getattr(click.get_current_context().find_root().obj, "debug", False)
    setup_logging("debug" if debug else "critical", "console")
    app = build_app(stores, limits=GatewayLimits(deadline=_DEADLINE_S))
    stack.push_async_callback(app.state.gateway.stop)
    client = HttpClient("http://laneway", queue, patience=0.0, timeout=_DEADLINE_S + 5.0, transport=InProcess(app))
    stack.push_async_callback(client.close)
    return client
