"""How the API server is reached: a kubeconfig, or the pod's own account."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from laneway_operator.engine.errors import EngineError

_CONNECTIONS = 64


class NoCluster(EngineError):
    """Nothing says where the API server is, or what says it is wrong."""


async def configuration(kubeconfig: str = "", context: str = "") -> Configuration:
    """From ``kubeconfig`` if given; else from KUBECONFIG; else the pod's own account; else ``~/.kube/config``.

    Raises:
        NoCluster: there is none of these, or it can't be used; the message says which and why.
    """
    # With trust_env, aiohttp asks the environment for a proxy in a thread, for each request: once is enough.
    found = Configuration(connection_pool_maxsize=_CONNECTIONS, client_session_kwargs={"trust_env": False})
    await _load(found, kubeconfig, context)
    if not found.proxy:
        found.proxy = _proxy_of_environment(str(found.host))
    return found


async def _load(found: Configuration, kubeconfig: str, context: str) -> None:
    path = kubeconfig or os.environ.get("KUBECONFIG", "")
    in_pod = bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
    try:
        if not path and in_pod and not context:
            load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
            return
        path = path or str(Path.home() / ".kube" / "config")
        if not _a_file(path):
            raise NoCluster(f"no kubeconfig at {path}, and this is no pod; name one with --kubeconfig or KUBECONFIG")
        await load_kube_config(  # type: ignore[no-untyped-call]
            config_file=path, context=context or None, client_configuration=found, persist_config=False
        )
    except (ConfigException, OSError, ValueError) as error:
        raise NoCluster(f"the API server's address can't be told from {path or 'the pod'}: {error}") from error


def _proxy_of_environment(url: str) -> str | None:
    """What HTTPS_PROXY or HTTP_PROXY says for this URL, unless NO_PROXY names its host."""
    at = urlsplit(url)
    if proxy_bypass(at.netloc):
        return None
    return getproxies().get(at.scheme)


def _a_file(path: str) -> bool:
    return any(Path(part).is_file() for part in path.split(os.pathsep) if part)


def api_client(config: Configuration) -> ApiClient:
    """A client with connections of its own."""
    client = ApiClient(config)
    client.user_agent = "laneway-operator"
    return client


def http_session(config: Configuration, traces: Sequence[aiohttp.TraceConfig] = ()) -> aiohttp.ClientSession:
    """A plain session to the same server with the same credentials, read anew for each request: a pod's token is
    replaced while the session lives."""

    async def authenticated(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        token = (await config.auth_settings()).get("BearerToken")
        if token is not None:
            request.headers["Authorization"] = str(token["value"])
        return await handler(request)

    tls = ApiClient(config).rest_client.ssl_context
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=tls),
        headers={"User-Agent": "laneway-operator"},
        middlewares=(authenticated,),
        trace_configs=list(traces),
        proxy=config.proxy,
    )
