"""Plain requests to a Kubernetes API server with a kubeconfig, for tooling and for tests' own preparations."""

import base64
import http.client
import json
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

_TIMEOUT_S = 30.0


class KubeError(RuntimeError):
    """The API server refused a request."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class Credentials:
    """What a kubeconfig says of a server and a user; files are PEM."""

    url: str
    ca: Path
    cert: Path | None = None
    key: Path | None = None
    token: str | None = None

    def write(self, path: Path) -> Path:
        """A kubeconfig of these, whole in one file, readable by its owner only."""
        user: dict[str, str] = {}
        if self.cert is not None and self.key is not None:
            user = {"client-certificate-data": _encoded(self.cert), "client-key-data": _encoded(self.key)}
        if self.token is not None:
            user = {"token": self.token}
        cluster = {"server": self.url, "certificate-authority-data": _encoded(self.ca)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "laneway", "cluster": cluster}],
            "users": [{"name": "laneway", "user": user}],
            "contexts": [{"name": "laneway", "context": {"cluster": "laneway", "user": "laneway"}}],
            "current-context": "laneway",
        }
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(document))
        return path


class KubeClient:
    """Requests by one user; each has a connection of its own."""

    def __init__(self, kubeconfig: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        context = _named(document["contexts"], document["current-context"])["context"]
        cluster = _named(document["clusters"], context["cluster"])["cluster"]
        user = _named(document["users"], context["user"])["user"]
        self.url: str = cluster["server"]
        authority = _pem(cluster, "certificate-authority")
        self._tls = ssl.create_default_context(cadata=authority.decode() if authority else None)
        if cluster.get("insecure-skip-tls-verify"):
            self._tls.check_hostname = False
            self._tls.verify_mode = ssl.CERT_NONE
        self._headers = {"Accept": "application/json"}
        if certificate := _pem(user, "client-certificate"):
            with tempfile.NamedTemporaryFile() as both:
                both.write(certificate + b"\n" + (_pem(user, "client-key") or b""))
                both.flush()
                self._tls.load_cert_chain(both.name)
        elif "token" in user:
            self._headers["Authorization"] = f"Bearer {user['token']}"

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, content: str = "application/json"
    ) -> dict[str, Any]:
        """The answer, an object. Raises `KubeError` when refused, OSError when the server is not reached."""
        status, text = self.raw(method, path, body, content=content)
        if status < 400:
            answer = json.loads(text)
            assert isinstance(answer, dict)
            return answer
        try:
            said = json.loads(text)
        except ValueError:
            said = {"message": text.strip()}
        raise KubeError(status, said.get("reason", ""), said.get("message", ""))

    def connect(self) -> http.client.HTTPSConnection:
        """A connection with this user's certificate, for many requests in a row; `headers` go with each."""
        at = urlsplit(self.url)
        return http.client.HTTPSConnection(at.hostname or "", at.port, timeout=_TIMEOUT_S, context=self._tls)

    @property
    def headers(self) -> dict[str, str]:
        """What each request says of the user and of the form of answers."""
        return dict(self._headers)

    def raw(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, content: str = "application/json"
    ) -> tuple[int, str]:
        """The status and text of the answer. Raises OSError when the server is not reached."""
        connection = self.connect()
        try:
            encoded = None if body is None else json.dumps(body)
            connection.request(method, path, encoded, {**self._headers, "Content-Type": content})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except http.client.HTTPException as error:
            raise ConnectionError(f"{self.url} broke off: {error!r}") from error
        finally:
            connection.close()

    def ready(self) -> bool:
        """True if the server says that it is ready."""
        try:
            return self.raw("GET", "/readyz") == (200, "ok")
        except OSError:
            return False

    def apply(self, path: str, document: Mapping[str, Any], *, manager: str = "laneway-hack") -> dict[str, Any]:
        """Server-side apply of one object at its own path."""
        query = f"{path}?fieldManager={manager}&force=true"
        return self.request("PATCH", query, document, content="application/apply-patch+yaml")


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise ValueError(f"the kubeconfig names {name!r} and has no such entry")


def _pem(entry: Mapping[str, str], key: str) -> bytes | None:
    if f"{key}-data" in entry:
        return base64.b64decode(entry[f"{key}-data"])
    return Path(entry[key]).read_bytes() if key in entry else None


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
