"""What machine this is."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import psutil

from servers import kafka_jars
from servers.redis import find_redis7, redis_version


def describe() -> dict[str, str]:
    """By name: processor, memory, system, and the versions of what all systems share."""
    found = {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "date": _date(),
    }
    if (redis := find_redis7()) is not None:
        found["Redis"] = ".".join(map(str, redis_version(redis))) + ", append-only file, fsync each second"
    if kafka_jars.missing() is None:
        found["Kafka"] = f"{kafka_jars.VERSION}, one broker"
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    if commit.returncode == 0:
        found["commit"] = commit.stdout.strip()
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _date() -> str:
    import datetime

    return datetime.datetime.now(datetime.UTC).date().isoformat()
