"""`hack/cluster` says plainly which cluster it would use, and what is lacking for it."""

import json
import os
import stat
from pathlib import Path

import pytest

from servers import cluster, kubernetes_build
from servers.clusters import GivenCluster, KindCluster, NodeCluster, choose
from servers.envtest import Envtest
from servers.node.state import NodeState


def run(folder: Path, *arguments: str) -> int:
    return cluster.main(arguments, folder, "about")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with no program on PATH and an empty cache; the folder of the cluster's state."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("KUBECONFIG", "KUBEBUILDER_ASSETS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / ".cluster"


def test_status_says_what_a_bare_machine_lacks_and_how_to_get_it(
    bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(bare, "status") == 1
    said = capsys.readouterr().out
    assert "none can be started here (node)" in said
    assert "containerd, ctr, runc, etcd" in said
    assert "apt-get install --no-install-recommends containerd runc etcd-server" in said
    assert "kube-apiserver" in said and "go is not on PATH" in said
    assert not bare.exists()


def test_status_as_json_has_the_same(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(bare, "status", "--json") == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["kind"], said["running"]) == ("node", False)
    assert any("runc" in line for line in said["lacks"])


def test_up_on_a_bare_machine_starts_nothing(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(bare, "up") == 1
    assert "no cluster can be started here (node):" in capsys.readouterr().err
    assert NodeState.load(bare / "node.json") is None


def test_images_on_a_bare_machine_are_refused_with_what_is_lacking(
    bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(bare, "base-image") == 1
    assert "buildah, debootstrap" in capsys.readouterr().err


@pytest.mark.parametrize("command", [("exec", "true"), ("load-image", "localhost/a:1")])
def test_what_needs_a_cluster_says_to_bring_it_up(
    bare: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    assert run(bare, *command) == 1
    assert "`hack/cluster up` first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "known"), [("base-image", "base, dev-redis, dev-kafka, pause"), ("build", "kube-apiserver")]
)
def test_an_unknown_name_is_refused_with_those_that_there_are(
    bare: Path, capsys: pytest.CaptureFixture[str], command: str, known: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(bare, command, "moon")
    assert ended.value.code == 2
    assert f"moon; there are {known}" in capsys.readouterr().err


def test_down_of_nothing_is_fine(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(bare, "down") == 0
    assert "no node was running" in capsys.readouterr().err


def test_a_kubeconfig_that_is_set_wins(
    bare: Path, envtest: Envtest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(envtest.kubeconfig))
    assert isinstance(choose(bare), GivenCluster)
    assert run(bare, "status") == 0
    assert "a cluster is up (given)" in capsys.readouterr().out
    assert run(bare, "up") == 0
    assert run(bare, "load-image", "localhost/a:1") == 1
    assert "push localhost/a:1 to one that it reaches" in capsys.readouterr().err
    assert run(bare, "down") == 0
    assert envtest.admin.ready()


def test_a_kubeconfig_that_is_no_file_is_said_so(
    bare: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere/config")
    assert run(bare, "status") == 1
    assert "/nowhere/config, which is no file: unset it, or give one file" in capsys.readouterr().out


def test_our_own_nodes_kubeconfig_is_not_taken_for_a_given_cluster(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(NodeCluster(bare).kubeconfig))
    assert isinstance(choose(bare), NodeCluster)


@pytest.mark.parametrize(("answer", "kind"), [(0, KindCluster), (1, NodeCluster)])
def test_kind_is_used_where_docker_answers(
    bare: Path, tmp_path: Path, answer: int, kind: type[KindCluster | NodeCluster]
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("docker", "kind"):
        (folder / name).write_text(f"#!/bin/sh\nexit {answer}\n")
        (folder / name).chmod(stat.S_IRWXU)
    assert isinstance(choose(bare), kind)


def test_programs_of_kubebuilder_assets_win_over_the_cache(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    for name in ("kube-apiserver", "etcd", "kubectl"):
        (assets / name).touch()
    assert "etcd is neither on PATH" in (kubernetes_build.missing() or "")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    assert kubernetes_build.missing() is None
    assert kubernetes_build.find("etcd") == assets / "etcd"
    assert kubernetes_build.build(kubernetes_build.ENVTEST) == {}
    assert "kubelet: not built yet" in (kubernetes_build.missing(("kubelet",)) or "")


def test_a_node_whose_pids_others_have_by_now_is_down(tmp_path: Path) -> None:
    state = NodeState("mnt:[1]", processes={"etcd": (os.getpid(), 0.0), "kubelet": (os.getpid(), 0.0)})
    state.save(tmp_path / "node.json")
    loaded = NodeState.load(tmp_path / "node.json")
    assert loaded is not None
    assert loaded.entrance() is None
    assert loaded.dead() == ["etcd", "kubelet"]
    assert loaded.inside() == []
    assert loaded.end() == 0
