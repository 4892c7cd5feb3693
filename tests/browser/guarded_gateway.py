"""A second gateway before the shop's queues, which takes API keys and nobody without one."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

import httpx
from tests.browser.shop_stack import ENV, START_S, Shop, until
from tests.contract.credentials import keys_of_roles, write_keys

from laneway.kit.ports import free_port
from laneway.model.apikeys import mint


class GuardedGateway:
    """The gateway as a process. ``keys`` has one of each role; they are revoked by writing other files."""

    def __init__(self, shop: Shop, folder: Path) -> None:
        self._shop = shop
        self._folder = folder
        self._file = folder / "keys.json"
        self.keys = keys_of_roles(self._file)
        self.url = ""
        self._whole = True

    def __enter__(self) -> Self:
        settings, log = self._folder / "auth.yaml", self._folder / "gateway.log"
        settings.write_text(f"keys:\n  path: {self._file}\n")
        port = free_port()
        command = [sys.executable, "-m", "laneway", "gateway", "--queue", "shop", "--queue", "depot"]
        command += ["--redis", self._shop.redis, "--port", str(port), "--auth", str(settings)]
        with log.open("wb") as out:
            self._process = subprocess.Popen(command, env=ENV, stdout=out, stderr=out)
        self.url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert self._process.poll() is None, log.read_text()
            try:
                return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
            except httpx.TransportError:
                return False

        try:
            until(answers, "the gateway that asks for keys", START_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)

    def tenants_key(self, *tenants: str) -> str:
        """A key of an operator that is bound to these tenants; all others are revoked."""
        key, entry = mint("bound", "operator", tenants=list(tenants))
        write_keys(self._file, [entry])
        self._until(key, 200)
        self._whole = False
        return key

    def restore(self) -> None:
        """Makes keys of every role where a test has left others."""
        if not self._whole:
            self.keys = keys_of_roles(self._file)
            self._until(self.keys["admin"], 200)
            self._whole = True

    def renew(self) -> None:
        """Revokes all keys and makes others."""
        old = self.keys["admin"]
        self.keys = keys_of_roles(self._file)
        self._until(old, 401)
        self._until(self.keys["admin"], 200)

    def _until(self, key: str, status: int) -> None:
        def told() -> bool:
            answer = httpx.get(f"{self.url}/api/v1/whoami", headers={"Authorization": f"Bearer {key}"}, timeout=10)
            return answer.status_code == status

        until(told, f"the gateway to answer {status}")
