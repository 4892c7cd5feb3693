"""The gateway serves the dashboard's files: to everybody, safely, and only once to who has them already."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.contract.gateways import asgi, open_store

from laneway.dashboard.files import dashboard_files

SCRIPT = next(path for path in dashboard_files() if path.endswith(".js"))


@pytest.fixture
async def client(redis7_url: str) -> AsyncIterator[httpx.AsyncClient]:
    store = await open_store(redis7_url)
    async with asgi(store) as client:
        yield client
    await store.close()


@pytest.mark.parametrize("path", ["", "q/mail", "q/mail/tasks/06h0p1l7ad4iv9ojdkq6on8", "no/such/page"])
async def test_every_address_is_the_document_and_the_page_is_found_in_the_browser(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.get(f"/dashboard/{path}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.content == dashboard_files()["index.html"].body
    # It names the current scripts, so it is asked for again each time.
    assert answer.headers["cache-control"] == "no-cache"


async def test_a_script_is_kept_for_good_since_its_name_changes_with_it(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/dashboard/{SCRIPT}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_a_script_of_another_version_is_missing_and_not_the_document(client: httpx.AsyncClient) -> None:
    answer = await client.get("/dashboard/assets/index-00000000.js")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/plain; charset=utf-8")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["../pyproject.toml", "..%2ffiles.py", "assets/../../pages.py", "%2e%2e/pages.py"])
async def test_no_other_file_is_served(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"/dashboard/{path}")
    assert b"import" not in answer.content and b"[project]" not in answer.content


@pytest.mark.parametrize("path", ["", SCRIPT])
async def test_who_has_it_already_is_told_so(client: httpx.AsyncClient, path: str) -> None:
    first = await client.get(f"/dashboard/{path}")
    etag = first.headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await client.get(f"/dashboard/{path}", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    other = await client.get(f"/dashboard/{path}", headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


async def test_it_comes_packed_to_who_takes_gzip_and_plain_to_others(client: httpx.AsyncClient) -> None:
    url = f"/dashboard/{SCRIPT}"
    packed = await client.get(url, headers={"Accept-Encoding": "br, gzip;q=0.5"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(packed.content) / 2
    for accepted in ("identity", "br", "gzip;q=0", ""):
        plain = await client.get(url, headers={"Accept-Encoding": accepted})
        assert "content-encoding" not in plain.headers
        assert plain.content == packed.content
        assert plain.headers["etag"] != packed.headers["etag"]
        assert plain.headers["vary"] == "Accept-Encoding"
    assert gzip.compress(packed.content, 9, mtime=0) == dashboard_files()[SCRIPT].packed


@pytest.mark.parametrize("path", ["/dashboard/", "/dashboard", f"/dashboard/{SCRIPT}", "/dashboard/assets/none.js"])
async def test_nothing_from_elsewhere_runs_in_it_and_nobody_frames_it(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy.pop("img-src") == "'self' data:"
    for kind in ("script-src", "style-src", "connect-src", "font-src"):
        assert policy.pop(kind) == "'self'"
    assert policy == dict.fromkeys(("default-src", "base-uri", "form-action", "frame-ancestors"), "'none'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"


async def test_a_browser_is_led_from_the_root_and_a_program_gets_the_index(client: httpx.AsyncClient) -> None:
    browser = await client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (browser.status_code, browser.headers["location"]) == (307, "/dashboard/")
    program = await client.get("/")
    assert program.json()["name"] == "laneway"
    assert browser.headers["vary"] == program.headers["vary"] == "Accept"
    assert (await client.get("/dashboard")).headers["location"] == "/dashboard/"


async def test_what_is_no_reading_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/dashboard/")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}
    head = await client.head("/dashboard/")
    assert head.status_code == 200 and head.headers["content-type"].startswith("text/html")


def test_the_licences_of_what_is_built_in_go_with_it() -> None:
    told = dashboard_files()["licences.txt"].body.decode()
    for name in ("preact ", "@preact/signals ", "uplot "):
        assert name in told
    assert told.count("Permission is hereby granted") >= 3
