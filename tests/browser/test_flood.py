"""A thousand events a second do not freeze the page."""

from __future__ import annotations

from tests.browser.eyes import expect
from tests.browser.flood import Flood
from tests.browser.shop_stack import Shop
from tests.browser.visitor import Visitor

#: Milliseconds. A page that is frozen answers after seconds, or never; on a machine with much else to do a page that
#: is not may take some hundreds.
_FROZEN_MS = 1_000


def test_a_thousand_events_a_second_leave_the_page_quick(visitor: Visitor, shop: Shop) -> None:
    page = visitor.page
    with Flood(shop.url, rate=1_000, seconds=4.0) as flood:
        page.route("**/api/v1/queues/shop/events", lambda route: route.continue_(url=flood.url))
        # The longest that the page did not get its turn, by its own clock.
        page.add_init_script(
            "window.longest = 0; let before = performance.now();"
            "setInterval(() => { const now = performance.now();"
            " window.longest = Math.max(window.longest, now - before); before = now; }, 10)"
        )
        visitor.open("tasks")
        flood.begin()
        page.evaluate("window.longest = 0")
        expect(page.get_by_role("button", name="Live: pause live updates")).to_be_visible()
        # It is used all the while: pages are changed and shown as if nothing were the matter.
        for name in ("Workers", "Overview", "Lanes", "Tasks"):
            page.get_by_role("navigation").get_by_role("link", name=name).click()
            expect(page.get_by_role("heading", level=1)).to_have_text(name)
        page.get_by_role("navigation").get_by_role("link", name="Overview").click()
        latest = page.get_by_role("region", name="Latest events").locator("tbody tr")
        expect(latest).to_have_count(12)
        flood.until_sent()
        assert flood.sent == 4_000
        # The last one of them all is there: none waits in a line that only grows.
        expect(latest.first).to_contain_text("flood-last")
        assert page.evaluate("window.longest") < _FROZEN_MS
