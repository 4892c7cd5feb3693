"""What happens in the queue is seen as it happens, also after the stream broke, and as text whatever it says."""

from __future__ import annotations

import re

from tests.browser.eyes import Route, expect
from tests.browser.shop_stack import Shop, until
from tests.browser.visitor import Visitor

LIVE = re.compile("^Live")


def test_a_new_task_appears_in_the_list_by_itself_and_changes_as_it_ends(visitor: Visitor, shop: Shop) -> None:
    page = visitor.open("tasks?tenant=fresh")
    expect(page.get_by_text("Nothing matches these filters")).to_be_visible()
    gate = shop.gate()
    id = shop.submit("wait_for", {"file": str(gate)}, tenant="fresh")
    row = visitor.row(visitor.short(id))
    expect(row).to_be_visible()
    expect(row.locator(".state")).to_have_text("running")
    gate.touch()
    expect(row.locator(".state")).to_have_text("succeeded")


def test_paused_nothing_moves_and_resumed_it_catches_up(visitor: Visitor, shop: Shop) -> None:
    page = visitor.open("tasks?tenant=later", queue="depot")
    expect(page.get_by_role("button", name=LIVE)).to_be_visible()
    page.keyboard.press("p")
    expect(page.get_by_role("button", name=re.compile("^Paused"))).to_be_visible()
    id = shop.submit("nothing", queue="depot", tenant="later")
    shown = page.locator(".chips button", has_text="queued").locator(".num")
    before = shown.inner_text()
    told = {shop.client.get("/depot/stats").json()["at"]}

    def told_again() -> bool:
        told.add(shop.client.get("/depot/stats").json()["at"])
        return len(told) > 3  # so often would the stream have brought new numbers

    until(told_again, "the gateway to look at the queue again")
    assert shown.inner_text() == before
    expect(visitor.row(visitor.short(id))).to_have_count(0)
    page.keyboard.press("p")
    expect(visitor.row(visitor.short(id))).to_be_visible()


def test_choosing_holds_the_list_still(visitor: Visitor, shop: Shop) -> None:
    first = shop.submit("held", queue="depot", delay=3600)
    page = visitor.open("tasks?type=held", queue="depot")
    page.get_by_role("checkbox", name=f"Select {first}").check()
    expect(page.get_by_text("holds still while you choose")).to_be_visible()
    second = shop.submit("held", queue="depot", delay=3600)
    events = page.get_by_role("button", name=LIVE)
    expect(events).to_be_visible()
    expect(visitor.row(visitor.short(second))).to_have_count(0)
    page.get_by_role("region", name="Chosen tasks").get_by_role("button", name="Clear").click()
    other = shop.submit("held", queue="depot", delay=3600)
    expect(visitor.row(visitor.short(other))).to_be_visible()
    expect(visitor.row(visitor.short(second))).to_be_visible()


def test_a_stream_that_breaks_is_resumed_where_it_ended(visitor: Visitor, shop: Shop) -> None:
    page = visitor.page
    asked: list[str | None] = []
    broken = True

    def events(route: Route) -> None:
        asked.append(route.request.header_value("last-event-id"))
        if broken:
            frame = "id: 7-1\nevent: stats\ndata: " + shop.client.get("/depot/stats").text + "\n\n"
            route.fulfill(content_type="text/event-stream", body=frame)
        else:
            route.continue_(headers={**route.request.headers, "last-event-id": ""})

    page.route("**/api/v1/queues/depot/events", events)
    visitor.open(queue="depot")
    expect(page.get_by_role("button", name=re.compile("^Reconnecting"))).to_be_visible()
    broken = False
    expect(page.get_by_role("button", name=LIVE)).to_be_visible()
    assert asked[0] is None
    assert asked[1] == "7-1"


def test_without_a_stream_it_polls(visitor: Visitor, shop: Shop) -> None:
    page = visitor.page
    page.route("**/api/v1/queues/depot/events", lambda route: route.abort())
    visitor.open("tasks?tenant=polled", queue="depot")
    expect(page.get_by_role("button", name=re.compile("^Polling"))).to_be_visible()
    id = shop.submit("nothing", queue="depot", tenant="polled")
    expect(visitor.row(visitor.short(id))).to_be_visible()


def test_a_gateway_that_goes_away_is_told_and_what_was_read_stays(visitor: Visitor, shop: Shop) -> None:
    id = shop.submit("nothing", queue="depot", tenant="stays")
    page = visitor.open("tasks?tenant=stays", queue="depot")
    expect(visitor.row(visitor.short(id))).to_be_visible()
    page.context.set_offline(True)
    page.route("**/api/**", lambda route: route.abort())
    page.keyboard.press("p")
    page.keyboard.press("p")
    expect(page.get_by_role("alert").filter(has_text="Not up to date")).to_be_visible()
    expect(visitor.row(visitor.short(id))).to_be_visible()
    page.context.set_offline(False)
    page.unroute("**/api/**")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("alert")).to_have_count(0)


MARKUP = "<img src=x onerror='window.ranWhatATaskCarried=1'><script>window.ranWhatATaskCarried=2</script>"


def test_what_a_task_carries_is_text_and_nothing_more(visitor: Visitor, shop: Shop) -> None:
    # (At the end of each test the visitor looks whether anything of it ran.)
    waiting = shop.submit(
        MARKUP[:60],
        {"to": MARKUP, MARKUP: MARKUP},
        queue="depot",
        description=MARKUP,
        labels={"html": MARKUP},
        idempotencyKey=MARKUP[:80],
    )
    shop.clear_dead()
    dead = shop.submit("send_mail", {"to": f"{MARKUP}@nobody.example"}, maxAttempts=1, labels={"html": MARKUP})
    shop.until_state(dead, "dead")
    page = visitor.open(f"tasks/{waiting}", queue="depot")
    expect(page.locator("h1")).to_contain_text(MARKUP[:60])
    expect(page.locator("pre[aria-label='the payload']")).to_contain_text("<img src=x onerror=")
    expect(page.locator(".description")).to_have_text(MARKUP)
    visitor.open("tasks", queue="depot")
    expect(page.locator("tbody")).to_contain_text(MARKUP[:60])
    visitor.open(f"tasks/{dead}")
    expect(page.locator(".error").first).to_contain_text("<img src=x onerror=")
    visitor.open("dead")
    expect(page.locator("tbody")).to_contain_text("<img")
    visitor.open("dead?view=list")
    expect(page.locator("tbody")).to_contain_text("<img src=x")
    assert page.locator("main img, main script").count() == 0
    shop.clear_dead()
