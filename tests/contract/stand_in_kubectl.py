#!/usr/bin/env python3
"""A stand-in for `kubectl port-forward`, which really forwards: to the address in $FORWARD_TO, for the Service that
$FORWARD_SERVICE names (NAMESPACE/SERVICE:PORT). It says what kubectl says, and writes its process id to $FORWARD_PID.
(No API server here runs pods, to which the real one would forward.)"""

import argparse
import asyncio
import os
import signal
import sys


async def pipe(reader, writer):
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def connected(reader, writer):
    print("Handling connection for", writer.get_extra_info("sockname")[1], flush=True)
    host, _, port = os.environ["FORWARD_TO"].rpartition(":")
    try:
        there, back = await asyncio.open_connection(host, int(port))
    except OSError as error:
        print("E1124 portforward.go:413] an error occurred forwarding:", error, file=sys.stderr, flush=True)
        writer.close()
        return
    await asyncio.gather(pipe(reader, back), pipe(there, writer))


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--context")
    parser.add_argument("command", choices=["port-forward"])
    parser.add_argument("--namespace")
    parser.add_argument("--address")
    parser.add_argument("resource")
    parser.add_argument("ports")
    args = parser.parse_args()
    kind, _, name = args.resource.partition("/")
    local, _, remote = args.ports.partition(":")
    if kind != "service" or f"{args.namespace}/{name}:{remote}" != os.environ["FORWARD_SERVICE"]:
        sys.exit(f'Error from server (NotFound): services "{name}" not found')
    if args.context not in (None, "kind-dev"):
        sys.exit(f'error: context "{args.context}" does not exist')
    server = await asyncio.start_server(connected, args.address, int(local or 0))
    port = server.sockets[0].getsockname()[1]
    print(f"Forwarding from 127.0.0.1:{port} -> 8080", flush=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()


with open(os.environ["FORWARD_PID"], "w") as file:
    file.write(str(os.getpid()))
asyncio.run(main())
