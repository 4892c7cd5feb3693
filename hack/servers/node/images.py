"""Container images made at home, for machines that reach no image registry.

Each is kept as a docker-archive in the user's cache, keyed by its tag, and in buildah's own store.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers import kafka_jars
from servers.kubernetes_build import cache_folder
from servers.node import rootfs
from servers.node.run import CommandFailed, run

_HERE = Path(__file__).parent
USER = "65532:65532"


@dataclass(frozen=True)
class Image:
    """One image. Its tag is to be raised when what is in it changes."""

    name: str
    about: str
    packages: tuple[str, ...]
    fill: Callable[[Path], None]
    """Puts the rest into the root folder."""
    config: tuple[str, ...]
    """What `buildah config` is told."""
    minimal: bool = True
    """True if it stands on a minimal Debian, False if on nothing."""

    @property
    def archive(self) -> Path:
        """Where it is kept, whether or not it is there yet."""
        return cache_folder() / "images" / f"{self.name.removeprefix('localhost/').replace(':', '-')}.tar"


def _fill_base(root: Path) -> None:
    # The public Python images call it `python` too.
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")


def _fill_redis(root: Path) -> None:
    _put(root, "dev_redis.sh", "usr/local/bin/docker-entrypoint.sh")
    _owned(root / "data")


def _fill_kafka(root: Path) -> None:
    shutil.copytree(kafka_jars.jars(), root / "opt/kafka/libs")
    _put(root, "dev_kafka.sh", "usr/local/bin/docker-entrypoint.sh")
    for folder in ("var/lib/kafka/data", "mnt/shared/config"):
        _owned(root / folder)


def _fill_pause(root: Path) -> None:
    run(["gcc", "-static", "-Os", "-s", "-o", str(root / "pause"), str(_HERE / "pause.c")])


_ENTRYPOINT = ("--entrypoint", '["/usr/local/bin/docker-entrypoint.sh"]', "--user", USER)
IMAGES = {
    "base": Image(
        "localhost/laneway-base:1",
        "Python on Debian: the Dockerfile's BASE where the public image is not reached",
        ("python3", "ca-certificates"),
        _fill_base,
        ("--cmd", "python3"),
    ),
    "dev-redis": Image(
        "localhost/laneway-dev-redis:1",
        "Debian's redis-server, called as in the public image",
        ("redis-server",),
        _fill_redis,
        (*_ENTRYPOINT, "--cmd", "redis-server", "--port", "6379", "--workingdir", "/data"),
    ),
    "dev-kafka": Image(
        "localhost/laneway-dev-kafka:1",
        "Kafka of one node, set by KAFKA_* variables as in the public image",
        ("openjdk-17-jre-headless",),
        _fill_kafka,
        (*_ENTRYPOINT, "--port", "9092"),
    ),
    "pause": Image(
        "localhost/laneway-pause:1",
        "what holds a pod's namespaces",
        (),
        _fill_pause,
        ("--entrypoint", '["/pause"]', "--user", "65535:65535"),
        minimal=False,
    ),
}


def ensure(key: str, say: Callable[[str], None]) -> Path:
    """The archive of the image with this key, made first if need be. Raises `CommandFailed`."""
    image = IMAGES[key]
    with _locked(key):
        if not image.archive.exists():
            say(f"making {image.name} ({image.about})")
            _make(image, say)
        elif not _stored(image.name):
            run(["buildah", "pull", "-q", f"docker-archive:{image.archive}"])
    return image.archive


def export(name: str, archive: Path) -> None:
    """Write an image of buildah's store as a docker-archive of the same name. Raises `CommandFailed`."""
    if not _stored(name):
        raise CommandFailed(
            f"buildah's store has no image {name}: give its whole name and tag, as `buildah images` does"
        )
    archive.unlink(missing_ok=True)
    run(["buildah", "push", "-q", name, f"docker-archive:{archive}:{name}"])


def _make(image: Image, say: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(prefix=".image-", dir=cache_folder()) as work:
        root = Path(work) / "root"
        if image.minimal:
            rootfs.unpack(_minimal_debian(say), root)
            rootfs.install(root, image.packages)
        else:
            root.mkdir()
        root.chmod(0o755)
        image.fill(root)
        container = run(["buildah", "from", "scratch"]).strip()
        try:
            run(["buildah", "add", "-q", container, str(root), "/"])
            run(["buildah", "config", *image.config, container])
            run(["buildah", "commit", "-q", "--format", "docker", container, image.name])
        finally:
            run(["buildah", "rm", container])
        draft = Path(work) / "image.tar"
        export(image.name, draft)
        image.archive.parent.mkdir(parents=True, exist_ok=True)
        draft.rename(image.archive)


def _minimal_debian(say: Callable[[str], None]) -> Path:
    codename, _mirror = rootfs.debian_release()
    archive = cache_folder() / "images" / f"debian-{codename}-minimal.tar"
    with _locked(archive.stem):
        if not archive.exists():
            say(f"making a minimal Debian {codename} (a minute or two, once)")
            with tempfile.TemporaryDirectory(prefix=".debian-", dir=cache_folder()) as work:
                root, draft = Path(work) / "root", Path(work) / "root.tar"
                rootfs.make_minimal(root)
                rootfs.pack(root, draft)
                archive.parent.mkdir(parents=True, exist_ok=True)
                draft.rename(archive)
    return archive


def _stored(name: str) -> bool:
    return name in run(["buildah", "images", "--format", "{{.Name}}:{{.Tag}}"]).split()


def _put(root: Path, source: str, target: str) -> None:
    shutil.copyfile(_HERE / source, root / target)
    (root / target).chmod(0o755)


def _owned(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    user, group = USER.split(":")
    os.chown(folder, int(user), int(group))


@contextmanager
def _locked(key: str) -> Iterator[None]:
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / f".image-{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
