"""A real Kafka broker on loopback: one KRaft node that is broker and controller."""

import base64
import shutil
import socket
import struct
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from servers import kafka_jars
from servers.kafka_secure import Secure
from servers.ports import free_port
from servers.process import DataFolder, ServerFailed, ServerProcess

_READY_S = 60.0
_STOP_S = 20.0


class KafkaServer:
    """One broker. `dir` None takes a temporary folder; `properties` are added to the broker's own; `secure` adds a
    listener with TLS, logins and ACLs (`secure_bootstrap`), where everybody on the plain one may do everything."""

    def __init__(
        self,
        port: int | None = None,
        dir: Path | None = None,
        *,
        properties: Mapping[str, str] | None = None,
        secure: Secure | None = None,
    ) -> None:
        self.host = "127.0.0.1"
        self.port = free_port() if port is None else port
        self._folder = DataFolder(dir, "laneway-kafka-")
        self.dir = self._folder.path
        self._properties = dict(properties or {})
        self._secure = secure
        self.secure_port = free_port() if secure else 0
        self._config = self.dir / "server.properties"
        self._java = ["java", "-Xmx512m", "-Xms128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        self._java += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"]
        self.process = ServerProcess(f"Kafka on port {self.port}", [], cwd=self.dir, log=self.dir / "kafka.log")

    @property
    def bootstrap(self) -> str:
        """What a client connects to."""
        return f"{self.host}:{self.port}"

    @property
    def secure_bootstrap(self) -> str:
        """What a client with TLS and a login connects to."""
        return f"{self.host}:{self.secure_port}"

    @property
    def pid(self) -> int:
        """The broker's process id."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self.process.alive

    def start(self) -> "KafkaServer":
        """Start it (formatting its data folder the first time); return once it serves metadata."""
        lacks = kafka_jars.missing()
        if lacks is not None:
            raise ServerFailed(lacks)
        java = [*self._java, f"{kafka_jars.jars()}/*"]
        if not self._config.exists():
            self._format(java)
        self.process.argv = [*java, "kafka.Kafka", str(self._config)]
        self.process.start()
        self.process.wait_ready(self.answers, _READY_S)
        return self

    def stop(self) -> None:
        """SIGTERM: a controlled shutdown."""
        self.process.stop(_STOP_S)

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self.process.kill()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self.process.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self.process.resume()

    def restart(self) -> None:
        """Stop, and start on the same port and data."""
        self.stop()
        self.start()

    def ensure(self) -> None:
        """Running and answering again, whatever was done to it."""
        self.resume()
        self.start()

    def close(self) -> None:
        """Stop it and delete its folder; a broker whose folder is temporary is ended without ceremony."""
        if self._folder.temporary:
            self.kill()
        self.stop()
        self._folder.remove()

    def answers(self) -> bool:
        """True if the broker answers a metadata request and names a live broker."""
        try:
            return live_brokers(self.host, self.port) > 0
        except (OSError, struct.error):
            return False

    def _format(self, java: list[str]) -> None:
        controller = free_port()
        data = self.dir / "data"
        shutil.rmtree(data, ignore_errors=True)
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{self.host}:{controller}",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{self.host}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(data),
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # A killed broker may register again once its last session has run out.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
        }
        scram: list[str] = []
        if self._secure is not None:
            settings["listeners"] += f",SECURE://{self.secure_bootstrap}"
            settings["advertised.listeners"] += f",SECURE://{self.secure_bootstrap}"
            settings["listener.security.protocol.map"] += ",SECURE:SASL_SSL"
            settings |= self._secure.properties(self.dir)
            scram = self._secure.scram()
        settings |= self._properties
        # The configuration gets its own name last, so that a format cut short is done again.
        draft = self._config.with_suffix(".draft")
        draft.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        done = subprocess.run(
            [*java, "kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c", str(draft), *scram],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode != 0:
            raise ServerFailed(f"Kafka could not format {data}:\n{done.stdout[-2000:]}")
        draft.rename(self._config)

    def __enter__(self) -> "KafkaServer":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def live_brokers(host: str, port: int) -> int:
    """How many brokers a Metadata request (version 4, no topics) names."""
    body = struct.pack(">hhih", 3, 4, 1, 7) + b"laneway" + struct.pack(">i?", 0, False)
    with socket.create_connection((host, port), timeout=5) as connection:
        connection.sendall(struct.pack(">i", len(body)) + body)
        with connection.makefile("rb") as answer:
            (_size, _correlation, _throttle, brokers) = struct.unpack(">iiii", answer.read(16))
    return int(brokers)


def _cluster_id() -> str:
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):  # the tool would take it for an option
            return text
