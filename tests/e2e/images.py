"""Builds the images that the tests run, from the Dockerfile, and gives them to the cluster."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.e2e.nodes import tag_image
from tests.e2e.settings import Run

from image_build.builders import Buildah, choose
from image_build.main import BASE as PUBLIC_BASE
from servers.clusters import Cluster, GivenCluster, KindCluster, NodeCluster
from servers.node import images as homemade
from servers.node.run import run

REGISTRY_ENV = "LANEWAY_E2E_REGISTRY"

Say = Callable[[str], None]


class NoRegistry(RuntimeError):
    """A cluster that is given takes images from a registry, and none is named."""


def prefix_of(cluster: Cluster) -> str:
    """Where images are named: this machine, or the registry that a given cluster takes them from."""
    if not isinstance(cluster, GivenCluster):
        return "localhost"
    registry = os.environ.get(REGISTRY_ENV, "").rstrip("/")
    if not registry:
        raise NoRegistry(
            f"a cluster that is given takes its images from a registry: name one that it reaches in {REGISTRY_ENV},"
            " such as registry.example.com/laneway, or unset KUBECONFIG"
        )
    return registry


def plan(cluster: Cluster, results: Path, *, throwaway: bool) -> Run:
    """The names of all images."""
    prefix = prefix_of(cluster)
    homemade_services = isinstance(cluster, NodeCluster)
    return Run(
        kind=cluster.kind,
        results=str(results),
        runtime=f"{prefix}/laneway-runtime:e2e",
        runtime_next=f"{prefix}/laneway-runtime:e2e-next",
        operator=f"{prefix}/laneway-operator:e2e",
        handlers=f"{prefix}/laneway-handlers:e2e-1",
        handlers_next=f"{prefix}/laneway-handlers:e2e-2",
        dev_redis=homemade.IMAGES["dev-redis"].name if homemade_services else "redis:7.4",
        dev_kafka=homemade.IMAGES["dev-kafka"].name if homemade_services else "apache/kafka:4.1.0",
        dev_user=int(homemade.USER.split(":")[0]) if homemade_services else None,
        throwaway=throwaway,
    )


def build(root: Path, names: Run, cluster: Cluster, say: Say) -> None:
    """Build runtime, operator and handlers. Raises BuildFailed or CommandFailed."""
    base = PUBLIC_BASE
    if isinstance(cluster, NodeCluster):
        homemade.ensure("base", say)
        base = homemade.IMAGES["base"].name
    prefix = names.runtime.rsplit("/", 1)[0]
    program = _builder(cluster)
    argv = [str(root / "hack" / "images"), "build", "--builder", program, "--base", base]
    run([*argv, "--name", f"{prefix}/laneway-{{target}}:e2e"], cwd=root)
    for version, name in (("1", names.handlers), ("2", names.handlers_next)):
        _build_handlers(root, names.runtime, version, name, program)


def load(names: Run, cluster: Cluster) -> None:
    """Give the images that were built to the cluster."""
    if isinstance(cluster, GivenCluster):
        program = _builder(cluster)
        run([program, "tag", names.runtime, names.runtime_next])
        for name in (names.runtime, names.runtime_next, names.operator, names.handlers, names.handlers_next):
            run([program, "push", name])
        return
    # Two at a time: one is read from the store while another is unpacked.
    with ThreadPoolExecutor(2) as pool:
        built = (names.operator, names.runtime, names.handlers, names.handlers_next)
        for done in [pool.submit(cluster.load_image, name, None) for name in built]:
            done.result()
    tag_image(cluster, names.runtime, names.runtime_next)


def load_services(cluster: Cluster, say: Say) -> None:
    """Give the cluster the development services' images, where it can't fetch public ones."""
    if isinstance(cluster, NodeCluster):
        for key in ("dev-redis", "dev-kafka"):
            cluster.load_image(homemade.IMAGES[key].name, homemade.ensure(key, say))


def _builder(cluster: Cluster) -> str:
    """The program whose store the cluster takes images from; for a registry, whichever works."""
    if isinstance(cluster, NodeCluster):
        return "buildah"
    if isinstance(cluster, KindCluster):
        return "docker"
    return "buildah" if isinstance(choose("auto"), Buildah) else "docker"


def _build_handlers(root: Path, runtime: str, version: str, name: str, program: str) -> None:
    with tempfile.TemporaryDirectory(prefix="laneway-handlers-") as context:
        inside = root / "tests" / "e2e" / "inside"
        for path in (*inside.iterdir(), root / "examples" / "quickstart" / "quickstart_app.py"):
            if path.is_file():
                shutil.copy(path, context)
        (Path(context) / "version").write_text(version)
        arguments = ["--build-arg", f"RUNTIME={runtime}", "--tag", name]
        if program == "buildah":
            run(["buildah", "bud", "--isolation", "chroot", "--format", "docker", "--layers", *arguments, context])
        else:
            run(["docker", "build", *arguments, context])
