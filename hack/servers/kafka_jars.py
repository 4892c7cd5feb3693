"""Kafka's own jars, fetched once by Maven into the user's cache."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

VERSION = "4.1.0"

_POM = f"""<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dev.laneway</groupId>
  <artifactId>kafka-jars</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""


def cache_folder() -> Path:
    """Where the jars of this version are kept, whether or not they are there yet."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "laneway" / f"kafka-{VERSION}"


def cached() -> bool:
    """True if the jars are there; the folder appears whole, by one rename."""
    return cache_folder().is_dir()


def missing() -> str | None:
    """What this machine lacks to run Kafka, and how to get it; None if nothing."""
    if shutil.which("java") is None:
        return "java is not on PATH (Debian: apt-get install default-jre-headless)"
    if not cached() and shutil.which("mvn") is None:
        return "Kafka's jars are fetched by Maven, and mvn is not on PATH (Debian: apt-get install maven)"
    return None


def jars() -> Path:
    """The folder of jars, fetched first if need be (one process at a time)."""
    target = cache_folder()
    if cached():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".kafka-{VERSION}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not cached():
            _fetch(target)
    return target


def _fetch(target: Path) -> None:
    work = Path(tempfile.mkdtemp(prefix=".kafka-", dir=target.parent))
    try:
        (work / "pom.xml").write_text(_POM)
        done = subprocess.run(
            ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs"],
            cwd=work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"mvn could not fetch Kafka {VERSION}:\n{done.stdout[-2000:]}")
        (work / "libs").rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
