"""The Secret with keys for a queue's HTTP API, for queues that say nothing of authentication."""

from __future__ import annotations

from typing import Any, Final

import yaml

from laneway.model.apikeys import KeyFile, mint
from laneway.model.manifests.gatewayauth import RoleName
from laneway_operator import names
from laneway_operator.resources.pods import Part

#: The key in the Secret with the hashes, which is all that gateways mount.
HASHES: Final = "keys.yaml"
ROLES: Final[tuple[RoleName, ...]] = ("admin", "operator", "submitter", "viewer")


def keys_secret(part: Part) -> dict[str, Any]:
    """A new Secret with a new key for each role under the role's name, and the file of their hashes. ``part`` is the
    queue's gateway."""
    made = {role: mint(f"{part.queue}-{role}", role) for role in ROLES}
    file = KeyFile(keys=[entry for _, entry in made.values()])
    hashes = yaml.safe_dump(file.model_dump(exclude_none=True), sort_keys=False)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": part.metadata(names.keys_name(part.queue)),
        "type": "Opaque",
        "stringData": {**{role: key for role, (key, _) in made.items()}, HASHES: hashes},
    }
