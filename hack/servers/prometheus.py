"""A real Prometheus on loopback, and its promtool."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from servers.ports import free_port
from servers.process import DataFolder, ServerProcess

_READY_S = 30.0
_HINT = "Debian: apt-get install prometheus"


def missing() -> str | None:
    """What this machine lacks of it, and how to get it."""
    lacks = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    return f"{' and '.join(lacks)} not on PATH ({_HINT})" if lacks else None


def promtool(*argv: str, stdin: str | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The ended promtool."""
    return subprocess.run(
        ["promtool", *argv], input=stdin, capture_output=True, text=True, timeout=60, cwd=cwd, check=False
    )


class PrometheusServer:
    """One Prometheus. ``targets`` has addresses (HOST:PORT) by job, each scraped every ``interval`` seconds; ``rules``
    are files of rules, evaluated as often. ``labels`` are put on all that is scraped from a job."""

    def __init__(
        self,
        targets: Mapping[str, Sequence[str]],
        *,
        rules: Sequence[Path] = (),
        labels: Mapping[str, Mapping[str, str]] | None = None,
        interval: float = 1.0,
        port: int | None = None,
    ) -> None:
        self.port = free_port() if port is None else port
        self._folder = DataFolder(None, "laneway-prometheus-")
        config = self._folder.path / "prometheus.yml"
        every = f"{int(interval * 1000)}ms"
        document = {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {
                    "job_name": job,
                    "static_configs": [{"targets": list(addresses), "labels": dict((labels or {}).get(job, {}))}],
                }
                for job, addresses in targets.items()
            ],
        }
        config.write_text(yaml.safe_dump(document))
        argv = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={self._folder.path / 'data'}"]
        argv += [f"--web.listen-address=127.0.0.1:{self.port}", "--enable-feature=exemplar-storage"]
        self.process = ServerProcess(
            f"prometheus on port {self.port}", argv, cwd=self._folder.path, log=self._folder.path / "prometheus.log"
        )

    def start(self) -> PrometheusServer:
        """Start it, and return once it is ready."""
        self.process.start()
        self.process.wait_ready(self.ready, _READY_S)
        return self

    def close(self) -> None:
        """Stop it, and delete what it kept."""
        self.process.stop()
        self._folder.remove()

    def ready(self) -> bool:
        """True when it answers queries."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer of ``/api/v1/PATH``. Raises ``ValueError`` with what it says is wrong."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                body = json.load(answer)
        except urllib.error.HTTPError as error:
            body = json.load(error)
        if body["status"] != "success":
            raise ValueError(f"{body.get('errorType')}: {body.get('error')}")
        return body["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now. Raises ``ValueError`` when it is not valid."""
        data = self.get("query", query=expression)
        return list(data["result"]) if data["resultType"] == "vector" else [{"metric": {}, "value": data["result"]}]

    def __enter__(self) -> PrometheusServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
