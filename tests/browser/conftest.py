"""A real Chromium before a real gateway, with a poller and a worker behind it.

Playwright's synchronous API keeps an event loop running in this thread for as long as it is there, and other tests
have loops of their own: so all of this lives as long as this folder's tests, and no longer. Nothing here needs
Playwright before a test does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.browser.guarded_gateway import GuardedGateway
from tests.browser.shop_stack import Shop

from servers.browser import find_chromium
from servers.redis import RedisServer

if TYPE_CHECKING:
    from tests.browser.eyes import Browser, Page
    from tests.browser.visitor import Visitor


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    from tests.browser.eyes import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(),
            # As root there is no sandbox; in a container /dev/shm is small.
            args=["--no-sandbox", "--disable-dev-shm-usage", "--force-prefers-reduced-motion"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def shop(redis7_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The queues `shop`, with a worker, and `depot`, without, on a Redis of their own."""
    with RedisServer(redis7_binary) as redis, Shop(redis.url, tmp_path_factory.mktemp("shop")) as shop:
        yield shop


@pytest.fixture
def visitor(browser: Browser, shop: Shop) -> Iterator[Visitor]:
    """Somebody with the dashboard before him. At the end nothing may have failed behind his back."""
    with _visit(browser, shop.url) as visitor:
        yield visitor


@pytest.fixture(scope="package")
def _guarded_gateway(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedGateway]:
    with GuardedGateway(shop, tmp_path_factory.mktemp("guarded")) as gateway:
        yield gateway


@pytest.fixture
def guarded(_guarded_gateway: GuardedGateway) -> GuardedGateway:
    """Another gateway before the same queues, which asks for API keys: one of each role holds."""
    _guarded_gateway.restore()
    return _guarded_gateway


@pytest.fixture
def guest(browser: Browser, guarded: GuardedGateway) -> Iterator[Visitor]:
    """Somebody before the gateway that asks for keys."""
    with _visit(browser, guarded.url) as visitor:
        yield visitor


@contextmanager
def _visit(browser: Browser, url: str) -> Iterator[Visitor]:
    from tests.browser.eyes import PATIENCE_MS
    from tests.browser.visitor import Visitor

    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    context.set_default_timeout(PATIENCE_MS)
    visitor = Visitor(context.new_page(), url)
    try:
        yield visitor
        visitor.check()
    finally:
        context.close()


@pytest.fixture
def page(visitor: Visitor) -> Page:
    """The visitor's page."""
    return visitor.page
