"""Credentials while queues run: keys are taken out of the Secret, and the cluster's own accounts are let in."""

from __future__ import annotations

import base64

import yaml
from tests.e2e.commands import kubectl
from tests.e2e.installation import Installation
from tests.e2e.kube import Kube
from tests.e2e.queues import Queue
from tests.e2e.settings import APPS
from tests.e2e.waiting import Seen, until

_STATS = "/api/v1/queues/quickstart/stats"
_GATEWAY = "laneway-quickstart-gateway"


def test_a_key_that_is_taken_out_of_the_secret_is_refused_and_no_pod_restarts(kube: Kube, quickstart: Queue) -> None:
    viewer, admin = quickstart.key("viewer"), quickstart.key("admin")
    pods = quickstart.uids(quickstart.pods_of("gateway"))
    assert quickstart.asked("GET", _STATS, viewer) == 200
    secret = kube.get("Secret", APPS, "quickstart-gateway-keys")
    assert secret is not None
    before = base64.b64decode(secret["data"]["keys.yaml"]).decode()
    left = [key for key in yaml.safe_load(before)["keys"] if key["role"] != "viewer"]
    _write_keys(kube, yaml.safe_dump({"keys": left}))

    def refused() -> bool | Seen:
        status = quickstart.asked("GET", _STATS, viewer)
        return status == 401 or Seen(status)

    # The kubelet brings the file up to date within about a minute; the gateway then reads it within a second.
    until("the key is refused", refused, 150, pause=0.5)
    assert quickstart.asked("GET", _STATS, admin) == 200
    assert quickstart.uids(quickstart.pods_of("gateway")) == pods
    _write_keys(kube, before)


def test_service_accounts_are_let_in_by_what_the_api_server_says_of_them(
    installation: Installation, kube: Kube, quickstart: Queue
) -> None:
    for name in ("orders-gateway", "shop"):
        kubectl("-n", APPS, "create", "serviceaccount", name)
    account = "tokenReview.serviceAccounts[0]"
    installation.upgrade(f"{account}.namespace={APPS}", f"{account}.name=orders-gateway")
    user = f"system:serviceaccount:{APPS}:shop"
    review = {"audiences": ["laneway"], "grants": [{"user": user, "role": "viewer"}]}
    gateway = {"pod": {"serviceAccountName": "orders-gateway"}, "auth": {"keys": {}, "tokenReview": review}}
    _change(kube, {"gateway": gateway})
    token, other = _token("shop", "laneway"), _token("shop", "billing")
    _answers(quickstart, {token: 200, other: 401, quickstart.key("admin"): 200, None: 401})
    assert quickstart.asked("POST", f"{_STATS.replace('stats', 'dead/purge')}", token) == 403
    _change(kube, {"gateway": {"pod": None, "auth": None}})
    _answers(quickstart, {token: 401, quickstart.key("admin"): 200})


def _answers(queue: Queue, wanted: dict[str | None, int]) -> None:
    """Waits until these credentials get these answers: a pod of before is led to for a moment longer."""

    def as_wanted() -> bool | Seen:
        found = [queue.asked("GET", _STATS, credential) for credential in wanted]
        return found == list(wanted.values()) or Seen(found)

    until("the credentials get their answers", as_wanted, 30, pause=0.5)


def _token(account: str, audience: str) -> str:
    return kubectl("-n", APPS, "create", "token", account, "--audience", audience).strip()


def _write_keys(kube: Kube, text: str) -> None:
    kube.patch("Secret", APPS, "quickstart-gateway-keys", {"stringData": {"keys.yaml": text}})


def _change(kube: Kube, spec: dict[str, object]) -> None:
    """Changes the queue, and waits until its gateway is as it says."""
    before = kube.get("Deployment", APPS, _GATEWAY)
    assert before is not None
    kube.patch("TaskQueue", APPS, "quickstart", {"spec": spec})

    def changed() -> bool:
        found = kube.get("Deployment", APPS, _GATEWAY)
        return found is not None and found["metadata"]["generation"] > before["metadata"]["generation"]

    until("the Deployment is changed", changed, 30)
    kube.wait_rolled_out(APPS, _GATEWAY, 90)
