"""Programs are built once, by one process at a time, and appear whole; what goes wrong is said."""

import os
import stat
import threading
from pathlib import Path

import pytest

from servers import kubernetes_build
from servers.kubernetes_build import KUBERNETES, BuildFailed, build, find

# As far as the module asks it: `build` writes down that it was called, and takes its time until it is told.
GO = r"""#!/bin/sh
here=$(dirname "$0")
case "$1 $2" in
  "version ") echo "go version go1.26.1 linux/amd64" ;;
  "env GOTOOLCHAIN") echo local ;;
  "mod download") echo "{\"GoMod\": \"$here/source.mod\"}" ;;
  "mod edit") echo '{"Go": "1.24.0", "Require": [
    {"Path": "k8s.io/api", "Version": "v0.0.0"}, {"Path": "example.org/other", "Version": "v1.2.3"}]}' ;;
  build*)
    echo "$@" >>"$here/builds"
    cp go.mod "$here/built.mod"
    if [ -e "$here/broken" ]; then echo "does not compile"; exit 1; fi
    read -r go_on <"$here/go-on"
    for program in kube-apiserver kubectl; do echo "$program" >"bin/$program"; done ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an empty cache, whose go is the script above; the folder of that."""
    (tmp_path / "go").write_text(GO)
    (tmp_path / "go").chmod(stat.S_IRWXU)
    (tmp_path / "go-on").write_text("now\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return tmp_path


def builds(machine: Path) -> list[str]:
    file = machine / "builds"
    return file.read_text().splitlines() if file.exists() else []


def test_what_is_there_already_is_not_built_again(machine: Path) -> None:
    said: list[str] = []
    assert list(build(kubernetes_build.ENVTEST, said.append)) == ["kubernetes"]
    assert any("building kube-apiserver, kubectl" in line for line in said)
    found = find("kube-apiserver")
    assert found is not None and found.parent.name == f"kubernetes-{KUBERNETES}"
    assert build(kubernetes_build.ENVTEST, said.append) == {}
    assert len(builds(machine)) == 1


def test_clients_can_read_the_version_and_staging_modules_are_of_the_same_release(machine: Path) -> None:
    build(kubernetes_build.ENVTEST, lambda _line: None)
    assert f"component-base/version.gitVersion={KUBERNETES}" in builds(machine)[0]
    module = (machine / "built.mod").read_text().splitlines()
    assert f"require k8s.io/kubernetes {KUBERNETES}" in module
    assert [line for line in module if "replace" in line] == [f"replace k8s.io/api => k8s.io/api v0{KUBERNETES[2:]}"]


def test_two_that_need_the_same_wait_for_one_build(machine: Path) -> None:
    (machine / "go-on").unlink()
    os.mkfifo(machine / "go-on")
    building, waiting = threading.Event(), threading.Event()

    def first(line: str) -> None:
        if line.startswith("building"):
            building.set()

    def second(line: str) -> None:
        if line.startswith("another process is building"):
            waiting.set()

    threads = [threading.Thread(target=build, args=(kubernetes_build.ENVTEST, first))]
    threads[0].start()
    assert building.wait(20)
    threads.append(threading.Thread(target=build, args=(kubernetes_build.ENVTEST, second)))
    threads[1].start()
    assert waiting.wait(20)
    assert find("kube-apiserver") is None
    (machine / "go-on").write_text("now\n")
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert find("kube-apiserver") is not None
    assert len(builds(machine)) == 1


def test_a_build_that_fails_says_why_and_leaves_nothing(machine: Path) -> None:
    (machine / "broken").touch()
    with pytest.raises(BuildFailed, match="does not compile"):
        build(kubernetes_build.ENVTEST, lambda _line: None)
    assert find("kube-apiserver") is None
    kept = [path for path in (machine / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert kept == []


def test_a_go_that_is_too_old_is_said_so(machine: Path) -> None:
    (machine / "go").write_text(GO.replace("go1.26.1", "go1.19.8"))
    with pytest.raises(BuildFailed, match=r"go1\.19\.8 linux/amd64 is too old \(version 1\.26 or newer"):
        build(kubernetes_build.ENVTEST, lambda _line: None)
    assert "is too old" in (kubernetes_build.missing(("kube-apiserver",)) or "")
