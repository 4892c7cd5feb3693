"""Contexts: the file, the credentials, and what leads a command where."""

from __future__ import annotations

import asyncio
import ssl
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from tests.contract.cli_queue import CliQueue
from tests.contract.gateway_process import PLACES, GatewayProcess
from tests.contract.scripted_http import answer, scripted

from laneway.cli.contexts import Context, load_contexts, masked
from laneway.cli.main import main
from servers.certificates import Authority

Run = Callable[..., Result]
TOKEN = "lw_abc_0123456789abcdef0123456789abcdef"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config" / "contexts.yaml"


@pytest.fixture
def run(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``laneway args`` in an empty folder, with a file of contexts of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*args: str, input: str | None = None, **env: str) -> Result:
        said: dict[str, str | None] = dict.fromkeys(PLACES)
        return CliRunner(env={**said, "LANEWAY_CONTEXTS": str(file), **env}).invoke(main, list(args), input=input)

    return call


def test_contexts_are_added_used_shown_and_removed(run: Run, file: Path) -> None:
    assert run("context", "list").stdout == f"no contexts in {file}; add one with laneway context add\n"
    assert run("context", "add", "prod", "--url", "https://a.example.com/", "-q", "orders").exit_code == 0
    assert run("context", "add", "local", "--redis", "redis://u:secret@127.0.0.1:1", "--namespace", "n").exit_code == 0
    listed = yaml.safe_load(run("context", "list", "-o", "yaml").stdout)
    assert listed == {
        "current": "prod",
        "contexts": {
            "prod": {"url": "https://a.example.com", "queue": "orders"},
            "local": {"redis": "redis://127.0.0.1:1", "namespace": "n"},
        },
    }
    assert run("context", "use", "local").stdout == "using local: redis://127.0.0.1:1\n"
    assert "secret" not in run("context", "show").stdout
    assert "secret" in run("context", "show", "--reveal").stdout
    assert run("context", "remove", "local").stdout == "removed local; no context is in use now\n"
    result = run("context", "use", "local")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no context 'local'" in result.stderr and "prod" in result.stderr


def test_the_file_is_for_nobody_else_and_tokens_are_not_shown(run: Run, file: Path) -> None:
    assert run("context", "add", "prod", "--url", "http://h", "--token", "-", input=TOKEN + "\n").exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert load(file)["contexts"]["prod"]["token"] == TOKEN
    for command in (("context", "show"), ("context", "list"), ("context", "show", "prod", "--json")):
        result = run(*command)
        assert result.exit_code == 0 and TOKEN not in result.output
    assert masked(TOKEN) in run("context", "show").stdout
    assert TOKEN in run("context", "show", "--reveal").stdout
    file.chmod(0o644)
    assert f"others can read the tokens in {file}: chmod 600" in run("context", "list").stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["add", "a"], "context a leads nowhere: it needs url, portForward or redis"),
        (["add", "a", "--url", "http://h", "--redis", "redis://h"], "has url and redis"),
        (["add", "a", "--url", "h:80"], "perhaps http://h:80"),
        (["add", "a", "--url", "http://u:p@h"], "a gateway takes no user and password in its URL"),
        (["add", "a b", "--url", "http://h"], "must have 1 to 63 of the characters"),
        (["add", "a", "--url", "http://h", "--token", "x", "--token-env", "Y"], "token and tokenEnv: keep one"),
        (["add", "a", "--url", "http://h", "--token", "x y"], "the token must have printable ASCII characters"),
        (["add", "a", "--redis", "redis://h", "--token", "x"], "a token is for a gateway"),
        (["add", "a", "--url", "http://h", "--namespace", "n"], "namespace and cluster go with redis"),
        (["add", "a", "--port-forward", "nope"], "must be NAMESPACE/SERVICE"),
        (["show"], "no context is in use"),
        (["use", "nope"], "there is no context 'nope'"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_what_is_wrong_is_said_and_nothing_is_written(run: Run, file: Path, args: list[str], message: str) -> None:
    result = run("context", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr and "Traceback" not in result.stderr
    assert not file.exists()


def test_the_help_says_which_names_may_be_left_out(run: Run) -> None:
    assert "context show [OPTIONS] [NAME]" in run("context", "show", "--help").stdout
    assert "context use [OPTIONS] NAME" in run("context", "use", "--help").stdout


def test_a_name_is_not_overwritten_by_accident(run: Run, file: Path) -> None:
    run("context", "add", "a", "--url", "http://one")
    assert "already: add --replace" in run("context", "add", "a", "--url", "http://two").stderr
    assert load(file)["contexts"]["a"]["url"] == "http://one"
    assert run("context", "add", "a", "--url", "http://two", "--replace").exit_code == 0
    assert load(file)["contexts"]["a"]["url"] == "http://two"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("contexts: [", "is no YAML"),
        ("- a", "must have `contexts`, by name, and `current`"),
        ("contexts: {a: {urll: x}}", "has 'urll', and may have url,"),
        ("contexts: {a: {url: 7}}", "url must be a text"),
        ("contexts: {a: {}}", "context a leads nowhere"),
        ("context: {}", "has context, and may have current and contexts"),
    ],
)
def test_a_file_of_another_form_is_refused_with_what_would_be_right(
    run: Run, file: Path, text: str, message: str
) -> None:
    file.parent.mkdir()
    file.write_text(text)
    result = run("stats", "--context", "a")
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert file.read_text() == text


def test_options_that_name_two_places_are_refused(run: Run) -> None:
    for args, message in (
        (["--redis", "redis://h", "--url", "http://h"], "--redis goes without a gateway, and --url means one"),
        (["--redis", "redis://h", "--context", "c"], "--redis goes without a gateway, and --context means one"),
        (["--url", "http://h", "--port-forward", "a/b"], "give --url or --port-forward, not both"),
        (["--url", "http://h", "--namespace", "n"], "--namespace goes with --redis"),
    ):
        result = run("stats", *args)
        assert (result.exit_code, result.stdout) == (2, "")
        assert message in result.stderr


# -- against real servers


def test_a_token_comes_by_value_file_environment_or_command(
    run: Run, guarded: tuple[GatewayProcess, dict[str, str]], tmp_path: Path
) -> None:
    gateway, keys = guarded
    (tmp_path / "token").write_text(keys["admin"] + "\n")
    script = tmp_path / "get token"
    script.write_text(f"#!/bin/sh\necho '{keys['operator']}'\n")
    exec_credential = tmp_path / "exec"
    exec_credential.write_text(f'#!/bin/sh\necho \'{{"status": {{"token": "{keys["viewer"]}"}}}}\'\n')
    for made in (script, exec_credential):
        made.chmod(0o700)
    for name, options, who in (
        ("value", ["--token", keys["viewer"]], "viewer"),
        ("file", ["--token-file", "token"], "admin"),
        ("env", ["--token-env", "MY_TOKEN"], "submitter"),
        ("command", ["--token-command", f"'{script}'"], "operator"),
        ("exec", ["--token-command", str(exec_credential)], "viewer"),
    ):
        assert run("context", "add", name, "--url", gateway.url, *options).exit_code == 0
        shown = run("context", "show", name, "--check", "--json", MY_TOKEN=keys["submitter"])
        assert shown.exit_code == 0, shown.output
        assert f'"role":"{who}"' in shown.stdout
    assert run("stats", "--context", "env").exit_code == 2  # MY_TOKEN is not there
    # What the command line says counts before the context.
    assert run("stats", "--context", "value", "--token", "lw_no_no").exit_code == 8


def test_a_command_that_gives_no_token_is_told_with_its_exit_code(run: Run, tmp_path: Path) -> None:
    for command, message in (
        ("false", "which ended with 1"),
        ("true", "which writes none"),
        ("echo {}", "JSON that has no status.token"),
        ("/no/such/program", "which can't be run"),
    ):
        run("context", "add", "a", "--url", "http://127.0.0.1:1", "--token-command", command, "--replace")
        result = run("stats", "-q", "orders", "--context", "a")
        assert (result.exit_code, result.stdout) == (2, "")
        assert message in result.stderr


def test_the_context_in_use_counts_where_nothing_else_is_said(
    run: Run, guarded: tuple[GatewayProcess, dict[str, str]], redis7_url: str
) -> None:
    gateway, keys = guarded
    queue = CliQueue(redis7_url)
    queue.configure()
    run("context", "add", "prod", "--url", gateway.url, "--token", keys["admin"], "-q", "orders")
    queue.submit(3)
    assert '"queued":3' in run("stats", "--json").stdout
    assert run("task", "list", "--json").stdout.count('"id"') == 3
    # Options and environment count before it.
    assert "is a Redis at redis://127.0.0.1:1" in run("stats", "-q", "x", "--redis", "redis://127.0.0.1:1").stderr
    assert run("stats", LANEWAY_URL="http://127.0.0.1:1").exit_code == 5
    assert run("stats", LANEWAY_REDIS_URL="redis://127.0.0.1:1", LANEWAY_QUEUE="x").exit_code == 5


def test_a_change_at_a_context_that_the_command_line_does_not_name_says_where(
    run: Run, guarded: tuple[GatewayProcess, dict[str, str]], redis7_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, keys = guarded
    queue = CliQueue(redis7_url)
    queue.configure()
    run("context", "add", "prod", "--url", gateway.url, "--token", keys["admin"], "-q", "orders")
    told = f"laneway: using context prod ({gateway.url})\n"
    dead, *_ = queue.kill(3)
    for args in (
        ("submit", "charge"),
        ("dead", "replay", dead),
        ("task", "cancel", dead),
        ("workers", "drain", "--all", "-y"),
    ):
        assert run(*args).stderr == told, args
    assert run("submit", "charge", LANEWAY_CONTEXT="prod").stderr == told
    assert run("submit", "charge", "--context", "prod").stderr == ""
    assert run("stats").stderr == ""  # (which changes nothing)
    # A question names the place, too.
    for module in ("dead_change", "task_change", "workers"):
        monkeypatch.setattr(f"laneway.cli.{module}.on_terminal", lambda: True)
    asked = run("dead", "purge", "--all", input="n\n")
    assert f"purge 2 dead letters of queue orders at {gateway.url} (context prod)? [y/N]" in asked.stderr
    asked = run("task", "cancel", "--type", "charge", "--state", "queued", input="n\n")
    assert f"of queue orders at {gateway.url} (context prod)? [y/N]" in asked.stderr
    assert queue.counts()["dead"] == 2
    run("context", "add", "local", "--redis", redis7_url, "-q", "orders", "--use")
    asked = run("dead", "purge", "--all", input="n\n")
    assert f"laneway: using context local ({redis7_url}" in asked.stderr
    assert f"of queue default/orders on {redis7_url}" in asked.stderr and "(context local)?" in asked.stderr


def test_a_context_may_be_a_redis(run: Run, redis7_url: str) -> None:
    queue = CliQueue(redis7_url)
    queue.configure()
    queue.submit(2)
    run("context", "add", "local", "--redis", redis7_url, "-q", "orders")
    assert '"queued":2' in run("stats", "--json").stdout
    assert '"queued":2' in run("stats", "--json", "--context", "local").stdout


async def test_a_gateway_s_certificate_must_be_of_an_authority_that_is_known(run: Run, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca", "ca")
    pair = authority.issue("gateway", hosts=["127.0.0.1"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    stats = answer(200, '{"queue": "orders", "at": "2030-01-01T00:00:00Z", "tasks": {}}')
    async with scripted(*[stats] * 2, tls=context) as script:

        async def stats_at(*args: str) -> Result:
            run("context", "add", "a", "--url", script.url, "-q", "orders", "--replace", *args)
            return await asyncio.to_thread(run, "stats", "--json")

        unknown = await stats_at()
        assert (unknown.exit_code, unknown.stdout) == (5, "")
        assert "certificate" in unknown.stderr.lower()
        assert (await stats_at("--ca-file", str(authority.cert))).exit_code == 0
        assert (await stats_at("--insecure")).exit_code == 0
    bad = tmp_path / "no.pem"
    bad.write_text("no certificate")
    run("context", "add", "a", "--url", script.url, "-q", "orders", "--replace", "--ca-file", str(bad))
    result = await asyncio.to_thread(run, "stats")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"has the certificates {bad}, which can't be read" in result.stderr


def load(file: Path) -> dict[str, dict[str, dict[str, str]]]:
    loaded: dict[str, dict[str, dict[str, str]]] = yaml.safe_load(file.read_text())
    return loaded


def test_contexts_are_looked_for_where_the_user_keeps_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LANEWAY_CONTEXTS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert dict(load_contexts().contexts) == {}
    (tmp_path / "laneway").mkdir()
    (tmp_path / "laneway" / "contexts.yaml").write_text("contexts: {a: {url: 'http://h'}}\n")
    assert load_contexts().get("a") == Context("a", {"url": "http://h"})
