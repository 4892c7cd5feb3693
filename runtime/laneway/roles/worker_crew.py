"""Several worker processes under one supervisor, which serves health and metrics for all of them."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from laneway.errors import ConfigError
from laneway.gateway.crew import CrewMember, build_crew_app
from laneway.gateway.server import HttpServer
from laneway.kit.logs import get_logger
from laneway.model.servers import RedisServer
from laneway.roles.process import SUPERVISOR_ENV, Stop, refuse
from laneway.roles.stores import server_env
from laneway.roles.supervisor import Child, Supervisor
from laneway.roles.worker_options import WorkerOptions, worker_command

_log = get_logger(__name__)

#: What a child may take to stop after its drain (s). A pod has 15 s for it and for the supervisor.
_STOP_S = 10.0


async def supervise(options: WorkerOptions, stop: Stop) -> int:
    """Runs ``options.processes`` workers until told to stop, and replaces those that end. Process i is NAME-i.

    Returns 0; 2 when a worker said that its settings are wrong; 130 after a second Ctrl-C.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="laneway-")))
        supervisor = Supervisor([_child(options, i, folder) for i in range(options.processes)])
        if options.metrics_port:
            server = HttpServer(
                build_crew_app(lambda: [_member(child, folder) for child in supervisor.children], stop.is_set),
                options.metrics_host,
                options.metrics_port,
            )
            try:
                await server.start()
            except ConfigError as error:
                return refuse(error)
            stack.push_async_callback(server.stop)
        await supervisor.start()
        stop.waits_for = lambda: f"the running tasks of {options.processes} processes, up to {options.drain:g} s"
        stop.now = supervisor.kill
        refused = asyncio.create_task(supervisor.refused.wait(), name="refused")
        told = asyncio.create_task(stop.wait(), name="told-to-stop")
        await asyncio.wait([refused, told], return_when=asyncio.FIRST_COMPLETED)
        for waiter in (refused, told):
            waiter.cancel()
        await supervisor.stop()
        if stop.hurried:
            return 130
        return 2 if supervisor.refused.is_set() and not stop.is_set() else 0


def _child(options: WorkerOptions, i: int, folder: Path) -> Child:
    name = f"worker-{i}"
    one = replace(
        options,
        processes=1,
        numbered=False,
        name=f"{options.name}-{i}" if options.name else "",
        metrics_port=0,
        metrics_host=f"unix:{folder / name}" if options.metrics_port else options.metrics_host,
    )
    server = RedisServer.of(options.redis, cluster=options.cluster)
    env = {SUPERVISOR_ENV: str(os.getpid()), "LANEWAY_METRICS_PORT": "0", **server_env(server, options.kafka)}
    return Child(name, worker_command(one), env, grace=options.drain + _STOP_S)


def _member(child: Child, folder: Path) -> CrewMember:
    return CrewMember(child.name, folder / child.name, child.age, child.restarts)
