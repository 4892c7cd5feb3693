"""--token-file: a credential that is neither on the command line nor in the environment."""

from __future__ import annotations

from pathlib import Path

from tests.contract.cli_queue import CliQueue
from tests.contract.credentials import keys_of_roles
from tests.contract.gateway_process import gateway_process


def test_a_credential_can_be_in_a_file(redis7_url: str, tmp_path: Path) -> None:
    keys = keys_of_roles(tmp_path / "keys.json")
    (tmp_path / "auth.yaml").write_text("keys: {path: keys.json}\n")
    file = tmp_path / "key"
    file.write_text(keys["viewer"] + "\n")
    CliQueue(redis7_url).configure()
    with gateway_process(redis7_url, "orders", auth=tmp_path / "auth.yaml") as gateway:
        assert gateway.run("stats").exit_code == 8
        assert gateway.run("stats", "--token-file", str(file)).exit_code == 0
        # What the command line says counts before the environment.
        assert gateway.run("stats", "--token-file", str(file), LANEWAY_TOKEN="lw_nope_nope").exit_code == 0
        for args, problem in (
            (["--token-file", str(tmp_path / "nope")], "can't be read: "),
            (["--token-file", str(file), "--token", keys["viewer"]], "--token-file does not go with --token:"),
            (["--token-file", str(file), "--redis", redis7_url], "--token-file does not go with --redis:"),
        ):
            wrong = gateway.run("stats", *args)
            assert (wrong.exit_code, wrong.stdout) == (2, "")
            assert problem in wrong.stderr and keys["viewer"] not in wrong.stderr
        file.write_text(" \n")
        wrong = gateway.run("stats", "--token-file", str(file))
        assert (wrong.exit_code, wrong.stdout) == (2, "")
        assert "is empty: it must have the credential" in wrong.stderr
