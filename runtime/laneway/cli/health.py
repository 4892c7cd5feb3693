"""``laneway health``: asks a role of Laneway whether it is well."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import click

from laneway.cli.exits import Exit, Failure

_TIMEOUT_S = 3.0
_LONGEST_ANSWER = 65_536


@click.command()
@click.argument("url", required=False, metavar="[URL]")
def health(url: str | None) -> int:
    """Ask a process of Laneway whether it is well: the health command of containers.

    URL is what to ask. Without it that is /healthz on this machine at port $LANEWAY_METRICS_PORT, where pollers
    and workers serve it, or at port 8080, the gateway's. Prints the answer; exit code 1 when it is not well, 5
    when none came within 3 s.

    \b
    Examples:
      laneway health
      laneway health http://127.0.0.1:9090/readyz
    """
    url = url or f"http://127.0.0.1:{os.environ.get('LANEWAY_METRICS_PORT') or 8080}/healthz"
    if urlsplit(url).scheme not in ("http", "https"):
        raise click.BadParameter(f"{url!r} is no URL such as http://127.0.0.1:8080/healthz", param_hint="'URL'")
    try:
        # A proxy of the environment is for what lies outside, and this is about a process right here.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=_TIMEOUT_S) as answer:
            text, code = answer.read(_LONGEST_ANSWER), Exit.OK
    except urllib.error.HTTPError as error:
        with error:
            text, code = error.read(_LONGEST_ANSWER), Exit.FAILED
    except (OSError, ValueError) as error:
        raise Failure(Exit.UNAVAILABLE, f"no answer from {url}: {error}") from error
    click.echo(text.decode(errors="replace").rstrip())
    return code
