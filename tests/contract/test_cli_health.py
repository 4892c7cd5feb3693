"""`laneway health` says what a process's health endpoint says, for containers that have no other client."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from laneway.cli.main import main
from servers.ports import free_port


@pytest.fixture
def role(request: pytest.FixtureRequest) -> Iterator[int]:
    """A process that is well at /healthz and not ready at /readyz; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            well = self.path == "/healthz"
            body = json.dumps({"ok": well}).encode()
            self.send_response(200 if well else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def _run(*argv: str, port: int | str = "") -> tuple[int, str]:
    environ = {"LANEWAY_METRICS_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
    done = CliRunner().invoke(main, ["health", *argv], env=environ)
    return done.exit_code, done.output


def test_a_process_that_is_well_is_exit_code_0_and_its_answer_is_shown(role: int) -> None:
    assert _run(port=role) == (0, '{"ok": true}\n')


def test_one_that_is_not_is_exit_code_1_with_its_answer(role: int) -> None:
    assert _run(f"http://127.0.0.1:{role}/readyz") == (1, '{"ok": false}\n')


def test_one_that_does_not_answer_is_exit_code_5() -> None:
    port = free_port()
    code, said = _run(port=port)
    assert code == 5
    assert f"no answer from http://127.0.0.1:{port}/healthz" in said


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "file:///etc/passwd", "healthz"])
def test_what_is_no_url_of_the_web_is_refused(url: str) -> None:
    code, said = _run(url)
    assert code == 2
    assert "is no URL such as http://127.0.0.1:8080/healthz" in said
