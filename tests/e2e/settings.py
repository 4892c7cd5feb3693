"""Names and images of one run, handed from `hack/e2e`, which makes the images, to the tests by the environment."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Self

#: Set by `hack/e2e`. Without it no end-to-end test is collected.
ENV = "LANEWAY_E2E"

SYSTEM = "laneway-e2e-system"
"""The namespace of operator, adapter and development services."""
APPS = "laneway-e2e"
"""The namespace of queues and workers."""
RELEASE = "laneway"
REDIS = f"laneway-dev-redis.{SYSTEM}.svc"
KAFKA = f"laneway-dev-kafka.{SYSTEM}.svc:9092"


@dataclass(frozen=True)
class Run:
    """What `hack/e2e` has prepared."""

    kind: str
    """Which kind of cluster it is: given, kind or node."""
    results: str
    """The file to which steps and figures are written, as lines of JSON."""
    runtime: str
    """Images, with their tags."""
    runtime_next: str
    """The same under another name, for upgrades."""
    operator: str
    handlers: str
    handlers_next: str
    dev_redis: str
    dev_kafka: str
    dev_user: int | None
    """Whom the images of the development services run as; None: as the chart says."""
    throwaway: bool
    """True if the cluster ends with the run, and all that is in it."""

    def to_env(self) -> str:
        """For the variable `ENV`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_env(cls) -> Self:
        """What `hack/e2e` has set."""
        return cls(**json.loads(os.environ[ENV]))
