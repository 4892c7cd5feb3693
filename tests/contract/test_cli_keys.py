"""``laneway keys``: the file that it writes, what it says, and that a gateway takes what it made."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from laneway.adapters.auth_files import load_keys
from laneway.adapters.key_file import change_keys
from laneway.cli.main import main
from laneway.gateway.auth.keys import KeyRing
from laneway.gateway.auth.rejected import Rejected
from laneway.model.apikeys import mint


def run(*args: str, input: str | None = None) -> Result:
    return CliRunner().invoke(main, ["keys", *args], input=input)


def ring(file: Path) -> KeyRing:
    return KeyRing({entry.id: entry for entry in load_keys(file).keys})


@pytest.mark.parametrize("name", ["keys.yaml", "keys.json"])
def test_a_key_is_shown_once_and_only_its_hash_is_kept(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    args = ["create", "-f", str(file), "--name", "ci", "--role", "submitter", "--tenant", "acme", "--payloads"]
    result = run(*args, "--expires", "2160h")
    assert result.exception is None, result.output
    key = result.stdout.strip()
    assert "this is the only time that it is shown" in result.stderr
    assert key not in file.read_text() and key.rsplit("_", 1)[1] not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    who = ring(file).verify(key, datetime.now(UTC))
    assert (who.name, who.role, who.tenants, who.payloads) == ("ci", "submitter", frozenset({"acme"}), True)
    assert who.expires_at is not None
    assert 2159 < (who.expires_at - datetime.now(UTC)).total_seconds() / 3600 < 2161
    parsed = json.loads(file.read_text()) if name.endswith("json") else yaml.safe_load(file.read_text())
    assert [one["name"] for one in parsed["keys"]] == ["ci"]


def test_json_has_the_key_and_what_it_may_do(tmp_path: Path) -> None:
    result = run("create", "-f", str(tmp_path / "k.yaml"), "--name", "a", "--role", "viewer", "--json")
    body = json.loads(result.stdout)
    assert body["key"].startswith(f"lw_{body['id']}_")
    assert (body["role"], body["tenants"], body["expires"], body["state"]) == ("viewer", None, None, "in force")


def test_revoking_without_a_terminal_says_to_add_yes_and_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "k.yaml"
    run("create", "-f", str(file), "--name", "ci", "--role", "admin")
    before = file.read_text()
    command = [sys.executable, "-m", "laneway", "keys", "revoke", "-f", str(file), "ci"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no terminal to ask on: add --yes to revoke it" in done.stderr
    assert file.read_text() == before


def test_a_revoked_key_is_refused_and_stays_in_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("laneway.cli.keys.on_terminal", lambda: True)
    file = str(tmp_path / "k.yaml")
    first = run("create", "-f", file, "--name", "ci", "--role", "admin").stdout.strip()
    second = run("create", "-f", file, "--name", "ci", "--role", "admin").stdout.strip()
    other = run("create", "-f", file, "--name", "ann", "--role", "admin").stdout.strip()
    assert run("revoke", "-f", file, "ci", input="n\n").exit_code == 130
    ring(tmp_path / "k.yaml").verify(first, datetime.now(UTC))
    asked = run("revoke", "-f", file, "ci", input="y\n")
    assert "of ci (admin)" in asked.stderr
    for key in (first, second):
        with pytest.raises(Rejected, match="revoked"):
            ring(tmp_path / "k.yaml").verify(key, datetime.now(UTC))
    ring(tmp_path / "k.yaml").verify(other, datetime.now(UTC))
    listed = json.loads(run("list", "-f", file, "--json").stdout)
    assert [one["state"].split()[0] for one in listed] == ["revoked", "revoked", "in"]
    assert "hash" not in listed[0]
    again = run("revoke", "-f", file, "ci", "-y")
    assert again.exit_code == 3
    assert "no key 'ci' that is not revoked" in again.stderr


def test_a_broken_file_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "k.yaml"
    file.write_text("keys: 7\n")
    result = run("create", "-f", str(file), "--name", "a", "--role", "viewer")
    assert result.exit_code == 2
    assert "keys: must be a list" in result.stderr
    assert file.read_text() == "keys: 7\n"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("args", "right"),
    [
        (["--name", "", "--role", "viewer"], "must be 1 to 256 printable ASCII characters"),
        (["--name", "a", "--role", "boss"], "'boss' is not one of 'viewer', 'submitter', 'operator', 'admin'"),
        (["--name", "a", "--role", "viewer", "--tenant", "a b"], "tenant"),
        (["--name", "a", "--role", "viewer", "--expires", "soon"], "must be a duration such as 2160h, or a time"),
        (["--name", "a", "--role", "viewer", "--expires", "2001-01-01T00:00:00Z"], "must be in the future"),
    ],
)
def test_wrong_options_are_refused_with_what_would_be_right(tmp_path: Path, args: list[str], right: str) -> None:
    result = run("create", "-f", str(tmp_path / "k.yaml"), *args)
    assert result.exit_code == 2
    assert right in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_keys_that_are_made_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    file = tmp_path / "k.yaml"
    made = [mint(f"n{i}", "viewer")[1] for i in range(20)]
    threads = [threading.Thread(target=change_keys, args=(file, lambda there, one=one: [*there, one])) for one in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {entry.id for entry in load_keys(file).keys} == {entry.id for entry in made}


def test_a_file_behind_a_link_is_changed_where_it_is_and_keeps_its_rights(tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    run("create", "-f", str(real), "--name", "a", "--role", "viewer")
    real.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(real)
    run("create", "-f", str(link), "--name", "b", "--role", "viewer")
    assert link.is_symlink() and len(load_keys(real).keys) == 2
    assert real.stat().st_mode & 0o777 == 0o640
