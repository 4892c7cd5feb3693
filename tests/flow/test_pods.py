"""Roles as the first process of a container: signals, orphans, a foreign user, a root that can't be written."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.flow.harness import Flow, Member, until

from laneway.roles.stores import server_env
from servers.need import in_ci
from servers.ports import free_port

_UID = "51234"  # nobody has it


def _lacks() -> str | None:
    if shutil.which("unshare") is None or shutil.which("setpriv") is None:
        return "unshare and setpriv are not on PATH (Debian: apt-get install util-linux)"
    tried = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True, text=True, timeout=10
    )
    return None if tried.returncode == 0 else f"new namespaces are not allowed here: {tried.stderr.strip()}"


@pytest.fixture(scope="module", autouse=True)
def namespaces() -> None:
    """Needs the right to make namespaces of one's own."""
    lacks = _lacks()
    if lacks is not None:
        if in_ci():
            pytest.fail(lacks, pytrace=False)
        pytest.skip(lacks)


#: A mount namespace in which only /tmp can be written, and a user that has no name, no home and no rights (but to read
#: what belongs to others: on this machine the interpreter may be in somebody's home). Then the command, as process 1.
_POD = """
set -e
mount --make-rprivate /
mount --bind /tmp /tmp
while read -r _ at _; do
  case $at in
    /tmp|/tmp/*|/proc|/proc/*|/dev|/dev/*|/sys|/sys/*) ;;
    *) mount -o remount,bind,ro "$at" ;;
  esac
done < /proc/mounts
exec unshare --pid --fork --mount-proc --kill-child setpriv --reuid UID --regid UID --clear-groups --no-new-privs \\
  --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search --bounding-set=-all,+dac_read_search "$@"
"""


async def pod(flow: Flow, name: str, command: list[str], port: int = 0, *, env: dict[str, str] | None = None) -> Member:
    """Starts a command as a container would, without the flow's supervisor."""
    flow.folder.chmod(0o777)
    variables = {**server_env(flow.redis_url, flow.kafka), "LANEWAY_SUPERVISOR_PID": "", "LANEWAY_LOG_FORMAT": "json"}
    unset = [word for gone in ("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME") for word in ("-u", gone)]
    whole = ["unshare", "--mount", "sh", "-c", _POD.replace("UID", _UID), "pod", "env", *unset, *command]
    return await flow._start(name, whole, variables | (env or {}), port)


def first_process(member: Member) -> psutil.Process:
    """The pod's process 1, seen from here."""
    for process in psutil.Process(member.pid).children(recursive=True):
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue  # (it ended meanwhile, as the shell's own commands do)
        words = dict(line.split(":", 1) for line in lines)
        if words["NSpid"].split()[1:] == ["1"]:
            return process
    raise AssertionError(f"the pod has no process 1:\n{member.text()[-2000:]}")


async def ended(member: Member, timeout: float = 20.0) -> int:
    """The exit code of a pod's process 1."""
    async with asyncio.timeout(timeout):
        return await member.process.wait()


async def get(member: Member, path: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=5) as http:
        return await http.get(f"http://127.0.0.1:{member.port}{path}")


async def answers(member: Member, path: str, status: int, timeout: float = 20.0) -> None:
    """Waits until a pod's probe gives this status."""

    async def does() -> bool:
        assert member.alive, f"{member.name} ended with {member.process.returncode}:\n{member.text()[-3000:]}"
        try:
            return (await get(member, path)).status_code == status
        except httpx.TransportError:
            return False

    await until(f"{member.name} answers {path} with {status}", does, timeout)


def role(name: str, *args: str) -> list[str]:
    return [sys.executable, "-m", "laneway", name, *args]


def worker_args(*more: str) -> list[str]:
    return role("worker", "tests.flow.ledger_app:app", "--drain", "5s", "--slots", "4", *more)


def pod_env(flow: Flow, port: int, name: str = "pool-worker-7d9f-x2x4z") -> dict[str, str]:
    """The contract of runtime pods, as the operator writes it."""
    return {
        "LANEWAY_QUEUE": flow.queue, "LANEWAY_NAMESPACE": "default", "LANEWAY_WORKER_NAME": name,
        "LANEWAY_METRICS_PORT": str(port), "KUBERNETES_SERVICE_HOST": "10.0.0.1",
    }  # fmt: skip


async def test_a_pod_can_write_to_tmp_only(direct_flow: Flow) -> None:
    check = (
        "import os, sys\n"
        "def can(folder):\n"
        "    try:\n"
        "        with open(os.path.join(folder, 'laneway-probe'), 'w'): pass\n"
        "        os.unlink(os.path.join(folder, 'laneway-probe'))\n"
        "        return True\n"
        "    except OSError:\n"
        "        return False\n"
        "print([f for f in ('/', '/var/tmp', '/tmp', sys.prefix, os.getcwd()) if can(f)], os.getpid(), os.getuid())"
    )
    member = await pod(direct_flow, "probe", [sys.executable, "-c", check])
    assert await ended(member) == 0, member.text()
    assert member.text().strip() == f"['/tmp'] 1 {_UID}"


@pytest.mark.parametrize("processes", [1, 3])
async def test_every_role_works_in_a_pod_and_its_processes_have_the_pods_name(flow: Flow, processes: int) -> None:
    ports = [free_port() for _ in range(3)]
    poller = await pod(flow, "poller", role("poller"), ports[0], env=pod_env(flow, ports[0]))
    worker = await pod(
        flow, "worker", worker_args("--processes", str(processes)), ports[1], env=pod_env(flow, ports[1])
    )
    gateway = await pod(
        flow, "gateway", role("gateway", "--host", "0.0.0.0", "--auth", "none", "--port", str(ports[2])), ports[2],
        env=pod_env(flow, 0),
    )  # fmt: skip
    for member in (poller, worker, gateway):
        await answers(member, "/healthz", 200)
        await answers(member, "/readyz", 200)
    await flow.submit("work", 100)
    await flow.check()

    async def all_there() -> bool:
        return sorted(w.name for w in await flow.workers()) == [f"pool-worker-7d9f-x2x4z-{i}" for i in range(processes)]

    await until("each process is registered under the pod's name", all_there)
    assert (await flow.workers())[0].held == 0
    text = (await get(worker, "/metrics")).text
    done = [
        sample
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "laneway_tasks_completed_total"
    ]
    assert sum(sample.value for sample in done) == 100
    if processes > 1:
        assert {sample.labels["process"] for sample in done} <= {f"worker-{i}" for i in range(processes)}
    for member in (gateway, worker, poller):
        first_process(member).send_signal(signal.SIGTERM)
        assert await ended(member) == 0, member.text()[-2000:]
        assert ".laneway" not in member.text()


async def test_a_role_hears_sigterm_from_its_first_moment(direct_flow: Flow) -> None:
    member = await pod(direct_flow, "worker", worker_args(), env=pod_env(direct_flow, 0))

    async def there() -> bool:
        try:
            words = first_process(member).cmdline()
        except (AssertionError, psutil.Error):
            return False
        # (before, it is setpriv)
        return "laneway" in words and words[0] == sys.executable

    await until("process 1 is there", there)
    process = first_process(member)
    while not _handles(process.pid, signal.SIGTERM):
        assert member.alive, member.text()
        await asyncio.sleep(0)
    process.send_signal(signal.SIGTERM)
    assert await ended(member, 10) in (0, 143)


def _handles(pid: int, number: int) -> bool:
    (caught,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


async def test_orphans_of_killed_children_do_not_stay_as_zombies(direct_flow: Flow) -> None:
    member = await pod(direct_flow, "worker", worker_args("--processes", "2"), env=pod_env(direct_flow, 0))
    await direct_flow.submit("in_process", 1)

    async def done() -> bool:
        return (await direct_flow.stats()).counts["succeeded"] == 1

    await until("a task ran in a process of its own", done, 20)
    supervisor = next(iter(first_process(member).children()))
    for child in supervisor.children():
        child.kill()

    async def no_zombies() -> bool:
        inside = first_process(member).children(recursive=True)
        return not [one for one in inside if one.status() == psutil.STATUS_ZOMBIE]

    async def two_again() -> bool:
        return sum(w.state == 2 for w in await direct_flow.workers()) >= 2

    await until("the children were started again", two_again, 20)
    await until("nobody stays dead and unburied", no_zombies, 10)
    first_process(member).send_signal(signal.SIGTERM)
    assert await ended(member) == 0


async def test_a_drain_in_a_pod_ends_in_time_and_is_not_ready_meanwhile(direct_flow: Flow) -> None:
    port = free_port()
    member = await pod(direct_flow, "worker", worker_args("--processes", "2"), port, env=pod_env(direct_flow, port))
    await answers(member, "/readyz", 200)
    await direct_flow.submit("hold", 2)
    await direct_flow.running(2)
    first_process(member).send_signal(signal.SIGTERM)
    await answers(member, "/readyz", 503)
    assert (await get(member, "/healthz")).status_code == 200
    direct_flow.release()
    assert await ended(member, 5 + 15) == 0
    stats = await direct_flow.ended()
    assert stats.counts["succeeded"] == 2


async def test_recycling_in_a_pod_does_not_end_it(direct_flow: Flow) -> None:
    member = await pod(direct_flow, "worker", worker_args("--recycle-tasks", "5"), env=pod_env(direct_flow, 0))
    for times in (1, 2):
        await direct_flow.submit("work", 6)
        await direct_flow.ended()

        async def recycled(times: int = times) -> bool:
            return member.text().count('"recycling"') >= times

        await until(f"it recycled {times} times", recycled)
    await direct_flow.submit("work", 1)
    await direct_flow.ended()
    assert member.alive
    first_process(member).send_signal(signal.SIGTERM)
    assert await ended(member) == 0


async def test_wrong_settings_end_a_pod_with_2_and_say_why(direct_flow: Flow) -> None:
    for processes in ("1", "2"):
        member = await pod(
            direct_flow, "worker", role("worker", "tests.flow.ledger_app:nothing", "--processes", processes),
            env=pod_env(direct_flow, 0),
        )  # fmt: skip
        assert await ended(member) == 2
        assert "is NoneType, not a laneway.App" in member.text()


async def test_a_worker_older_than_the_data_says_so_and_that_it_must_be_upgraded(direct_flow: Flow) -> None:
    await direct_flow.redis.hset(direct_flow.store.keys.key("meta"), "schema", 99)
    member = await pod(direct_flow, "worker", worker_args(), env=pod_env(direct_flow, 0))

    assert await ended(member) == 2, member.text()
    assert "schema 99, and this Laneway knows up to 1: run a version at least as new" in member.text()
    assert "Traceback" not in member.text()


async def test_a_gateway_answers_a_while_after_sigterm_and_is_not_ready_then(direct_flow: Flow) -> None:
    port = free_port()
    member = await pod(
        direct_flow, "gateway",
        role("gateway", "--host", "0.0.0.0", "--auth", "none", "--port", str(port), "--linger", "2s"), port,
        env=pod_env(direct_flow, 0),
    )  # fmt: skip
    await answers(member, "/readyz", 200)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=5) as http:
        assert (await http.get("/healthz")).headers.get("connection") != "close"
        first_process(member).send_signal(signal.SIGTERM)
        await answers(member, "/readyz", 503)
        answer = await http.post(f"/api/v1/queues/{direct_flow.queue}/tasks", json={"type": "work", "payload": {}})
        assert answer.is_success, answer.text
        assert answer.headers["connection"] == "close"
    assert await ended(member, 15) == 0
