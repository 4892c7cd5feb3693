"""A gateway as a process of its own, and the command line run against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from laneway.cli.main import main

#: What would lead a command elsewhere than a test means.
PLACES = (
    "LANEWAY_URL", "LANEWAY_TOKEN", "LANEWAY_CONTEXT", "LANEWAY_PORT_FORWARD", "LANEWAY_REDIS_URL", "LANEWAY_QUEUE",
    "LANEWAY_NAMESPACE", "LANEWAY_CLUSTER",
)  # fmt: skip


@dataclass(frozen=True)
class GatewayProcess:
    """``url`` is where it answers."""

    url: str
    process: subprocess.Popen[str]

    def run(self, *args: str, input: str | bytes | None = None, queue: str | None = "orders", **env: str) -> Result:
        """Runs ``laneway args`` in this process, with the gateway and the queue given by the environment."""
        said: dict[str, str | None] = dict.fromkeys(PLACES)
        said |= {"LANEWAY_URL": self.url, "LANEWAY_QUEUE": queue, "LANEWAY_CONTEXTS": os.devnull, **env}
        return CliRunner(env=said).invoke(main, list(args), input=input)

    def json(self, *args: str, code: int = 0, **options: Any) -> Any:
        """The one JSON document that ``laneway args --json`` writes."""
        result = self.run(*args, "--json", **options)
        assert result.exit_code == code, result.output
        (line,) = result.stdout.splitlines()
        return json.loads(line)


@contextmanager
def gateway_process(
    redis: str, *queues: str, port: int = 0, auth: Path | None = None, log: Path | None = None
) -> Iterator[GatewayProcess]:
    """Runs ``laneway gateway`` until the end of the block."""
    args = [arg for queue in queues for arg in ("--queue", queue)]
    args += ["--redis", redis, "--port", str(port), "--log-format", "json"]
    args += ["--auth", str(auth)] if auth else []
    process = subprocess.Popen(
        [sys.executable, "-m", "laneway", "gateway", *args], stderr=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if '"gateway ready"' in line:
                break
        else:
            raise AssertionError(f"the gateway ended: {''.join(said)}")
        url = str(json.loads(said[-1])["url"])
        # What it says from now on must find room, or it would stop at a full pipe.
        with open(log or os.devnull, "w") as sink:
            drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=sink)
        process.stderr.close()
        try:
            yield GatewayProcess(url, process)
        finally:
            process.terminate()
            process.wait(timeout=20)
            drain.wait(timeout=20)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
