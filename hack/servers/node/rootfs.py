"""Root file systems of Debian packages, from the mirrors that this machine's own apt uses."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from servers.node.run import CommandFailed, run

_KEEPS_SERVICES_DOWN = "#!/bin/sh\nexit 101\n"
_USELESS = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/lib/apt/lists", "var/cache/apt", "var/log")
# apt's own settings are bound in for the installation only: no mirror of this machine stays in an image.
_INSTALL = """
set -eu
root=$1; shift
for path in /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/auth.conf.d /etc/apt/trusted.gpg.d \
            /usr/share/keyrings /etc/resolv.conf /etc/hosts; do
  [ -e "$path" ] || continue
  if [ -d "$path" ]; then mkdir -p "$root$path"; else mkdir -p "$(dirname "$root$path")"; touch "$root$path"; fi
  mount --bind "$path" "$root$path"
done
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
chroot "$root" apt-get update -qq
chroot "$root" apt-get install -y -qq --no-install-recommends "$@"
"""


def debian_release() -> tuple[str, str]:
    """The code name of this machine's Debian, such as bookworm, and the mirror its apt takes it from.

    Raises `CommandFailed` if apt names none.
    """
    fields = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    codename = fields.get("VERSION_CODENAME", "").strip('"')
    listed = run(["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(SITE)", "Identifier: Packages"])
    for line in listed.splitlines():
        name, component, site = line.split(" ", 2)
        if (name, component) == (codename, "main"):
            return codename, site
    raise CommandFailed(f"apt has no index of {codename or 'this system'}'s main component: run `apt-get update`")


def make_minimal(root: Path) -> None:
    """The smallest Debian that apt works in, into the empty folder `root`."""
    codename, mirror = debian_release()
    run(["debootstrap", "--variant=minbase", codename, str(root), mirror], env=_proxies())
    (root / "etc/apt/sources.list").write_text("")
    for copied in ("etc/hostname", "etc/resolv.conf"):
        (root / copied).unlink(missing_ok=True)
    _slim(root)


def install(root: Path, packages: Sequence[str]) -> None:
    """Install packages, starting no service."""
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text(_KEEPS_SERVICES_DOWN)
    policy.chmod(0o755)
    private = ["unshare", "--mount", "--propagation", "private"]
    env = {"DEBIAN_FRONTEND": "noninteractive", **_proxies()}
    run([*private, "sh", "-c", _INSTALL, "install", str(root), *packages], env=env)
    policy.unlink()
    for bound in ("etc/resolv.conf", "etc/hosts", "etc/apt/sources.list"):
        if (root / bound).is_file() and (root / bound).stat().st_size == 0:
            (root / bound).unlink()
    _slim(root)


def _slim(root: Path) -> None:
    for useless in _USELESS:
        folder = root / useless
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    # apt expects these two.
    for needed in ("var/lib/apt/lists/partial", "var/cache/apt/archives/partial"):
        (root / needed).mkdir(parents=True, exist_ok=True)


def _proxies() -> dict[str, str]:
    """The proxies of apt's configuration, as the environment variables that tools read."""
    found = {}
    for scheme in ("http", "https"):
        said = run(["apt-config", "dump", "--format", "%v", f"Acquire::{scheme}::Proxy"]).strip()
        if said and said != "DIRECT" and f"{scheme}_proxy" not in os.environ:
            found[f"{scheme}_proxy"] = said
    return found


def pack(root: Path, archive: Path) -> None:
    """The folder as a tar file."""
    subprocess.run(["tar", "--numeric-owner", "-cf", archive, "-C", root, "."], check=True)


def unpack(archive: Path, root: Path) -> None:
    """The tar file as a folder."""
    root.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "--numeric-owner", "-xpf", archive, "-C", root], check=True)
