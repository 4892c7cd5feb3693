"""Every page shows what is there."""

from __future__ import annotations

import re
import secrets

from tests.browser.eyes import Page, expect
from tests.browser.shop_stack import Shop
from tests.browser.visitor import Visitor


def test_the_root_leads_a_browser_to_the_first_queues_overview(visitor: Visitor) -> None:
    page = visitor.page
    page.goto(visitor.url)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    assert re.fullmatch(r"/dashboard/q/(depot|shop)", visitor.address())


def test_the_overview_counts_tasks_and_has_charts_and_no_drift(visitor: Visitor, shop: Shop) -> None:
    shop.until_state(shop.submit("charge_card", {"order": 1}), "succeeded")
    page = visitor.open()
    tiles = page.locator(".tile")
    expect(tiles.filter(has_text="Drift").locator(".tile-value")).to_have_text("0")
    expect(tiles.filter(has_text="Workers").locator(".tile-value")).to_have_text("1")
    expect(page.get_by_role("button", name="Live: pause live updates")).to_be_visible()
    lanes = page.get_by_role("region", name="Lanes", exact=True)
    expect(lanes.locator("tbody tr")).to_have_text([re.compile("^urgent"), re.compile("^normal"), re.compile("^bulk")])
    states = page.get_by_role("region", name="Tasks by state")
    expect(states.locator("li", has_text="succeeded")).not_to_contain_text(re.compile(r"succeeded\s*0$"))
    # The poller samples the queue every ten seconds.
    for title in ("Tasks per second", "Queued by lane", "Wait before start", "Run time"):
        expect(page.get_by_role("region", name=title).locator("canvas")).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="24 h").click()
    assert visitor.address().endswith("?range=24h")
    expect(page.get_by_role("button", name="24 h")).to_have_attribute("aria-pressed", "true")


def test_lanes_are_in_their_order_with_their_limits(visitor: Visitor, shop: Shop) -> None:
    shop.submit("nothing", queue="depot", lane="second")
    page = visitor.open("lanes", queue="depot")
    rows = page.locator("tbody tr")
    expect(rows).to_have_text([re.compile("^first"), re.compile("^second"), re.compile("^default")][: rows.count()])
    expect(visitor.row("first").locator("[data-name=Running]")).to_contain_text("0/40")
    expect(visitor.row("second").locator("[data-name=Queued]")).not_to_have_text("0")
    visitor.row("second").get_by_role("link", name="second").click()
    expect(page.get_by_role("combobox", name="Lane")).to_have_value("second")
    assert visitor.address() == "/dashboard/q/depot/tasks?lane=second"


def test_tasks_are_filtered_by_what_the_address_says_and_the_address_by_what_is_clicked(
    visitor: Visitor, shop: Shop
) -> None:
    one = shop.submit("wanted.type", {"n": 1}, queue="depot", lane="first", labels={"region": "eu"})
    other = shop.submit("other.type", {"n": 2}, queue="depot", lane="second", labels={"region": "us"})
    page = visitor.open("tasks?type=wanted.type", queue="depot")
    expect(visitor.row(visitor.short(one))).to_be_visible()
    expect(visitor.row(visitor.short(other))).to_have_count(0)
    page.get_by_role("searchbox", name="Type").fill("other.type")
    expect(visitor.row(visitor.short(other))).to_be_visible()
    assert visitor.address() == "/dashboard/q/depot/tasks?type=other.type"
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("button", name=re.compile("^queued")).click()
    page.get_by_role("button", name="More filters").click()
    page.get_by_role("searchbox", name="Label").fill("region:eu")
    expect(visitor.row(visitor.short(other))).to_have_count(0)
    expect(visitor.row(visitor.short(one))).to_be_visible()
    assert visitor.address() == "/dashboard/q/depot/tasks?state=queued&label=region%3Aeu"
    page.reload()
    expect(visitor.row(visitor.short(one))).to_be_visible()
    expect(page.get_by_role("searchbox", name="Label")).to_have_value("region:eu")
    page.get_by_role("searchbox", name="Label").fill("region:none")
    expect(page.get_by_text("Nothing matches these filters")).to_be_visible()
    page.get_by_role("button", name="Clear the filters").click()
    expect(visitor.row(visitor.short(one))).to_be_visible()


def test_an_order_is_chosen_in_the_address(visitor: Visitor, shop: Shop) -> None:
    first = shop.submit("charge_card", {"order": 1}, tenant="ordered")
    shop.until_state(first, "succeeded")
    second = shop.submit("charge_card", {"order": 2}, tenant="ordered")
    shop.until_state(second, "succeeded")
    page = visitor.open("tasks?state=succeeded&tenant=ordered")
    rows = page.locator("tbody tr")
    expect(rows).to_have_text([re.compile(re.escape(visitor.short(id))) for id in (second, first)])
    page.get_by_role("combobox", name="Order").select_option("ended")
    expect(rows).to_have_text([re.compile(re.escape(visitor.short(id))) for id in (first, second)])
    assert "sort=ended" in visitor.address()


def test_a_long_list_has_pages_and_the_browsers_back_leads_back(visitor: Visitor, shop: Shop) -> None:
    shop.submit_many([{"type": "paged", "delay": 3600 + n} for n in range(120)], queue="depot")
    page = visitor.open("tasks?state=scheduled&type=paged", queue="depot")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(50)
    first = rows.first.locator(".id").get_attribute("title")
    page.get_by_role("button", name="Next").click()
    page.wait_for_url("**cursor=**")
    expect(rows.first.locator(".id")).not_to_have_attribute("title", first or "")
    expect(rows).to_have_count(50)
    page.get_by_role("button", name="Next").click()
    expect(rows).to_have_count(20)
    expect(page.get_by_role("button", name="Next")).to_be_disabled()
    page.get_by_role("button", name="Back").click()
    expect(rows).to_have_count(50)
    page.get_by_role("button", name="First").click()
    expect(rows.first.locator(".id")).to_have_attribute("title", first or "")


def test_a_search_that_takes_several_calls_tells_how_far_it_is_and_can_be_stopped(visitor: Visitor) -> None:
    page = visitor.page
    calls: list[str] = []

    def empty(route: object) -> None:  # a page of the API without items, as a selective filter has among a million
        calls.append(route.request.url)  # type: ignore[attr-defined]
        answer = {"items": [], "next": f"c{len(calls)}", "scanned": 1000, "total": None}
        route.fulfill(json=answer)  # type: ignore[attr-defined]

    page.route("**/api/v1/queues/shop/tasks?*", empty)
    visitor.open("tasks?error=rare")
    expect(page.get_by_text(re.compile(r"Searched \d+,000, found 0"))).to_be_visible()
    page.get_by_role("button", name="Stop searching").click()
    expect(page.get_by_text("(stopped)")).to_be_visible()
    assert "cursor=c1" in calls[1]


def test_a_dead_task_tells_its_story_with_every_traceback(visitor: Visitor, shop: Shop) -> None:
    id = shop.submit("send_mail", {"to": "ann@nobody.example"}, labels={"region": "eu"}, tenant="acme", maxAttempts=2)
    shop.until_state(id, "dead")
    page = visitor.open(f"tasks/{id}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("send_mail")
    expect(page.locator("h1 .state")).to_have_text("dead")
    story = page.get_by_role("region", name="What happened")
    for what in ("submitted", "failed", "dead"):
        expect(story.locator(".step-what", has_text=what).first).to_be_visible()
    errors = page.get_by_role("region", name="Errors of 2 attempts")
    expect(errors.locator("details").first).to_contain_text("550 no such mailbox")
    expect(errors.locator("pre").first).to_contain_text("shop_app.py")
    expect(page.locator("pre[aria-label='the payload']")).to_contain_text("ann@nobody.example")
    facts = page.get_by_role("region", name="Facts")
    for fact in ("acme", "region:eu", "2 of 2"):
        expect(facts).to_contain_text(fact)


def test_a_running_task_shows_progress_and_logs_until_it_ends_by_itself(visitor: Visitor, shop: Shop) -> None:
    gate = shop.gate()
    id = shop.submit("wait_for", {"file": str(gate), "steps": 5})
    shop.until_state(id, "running")
    page = visitor.open(f"tasks/{id}")
    expect(page.locator("h1 .state")).to_have_text("running")
    expect(page.get_by_role("region", name="Progress")).to_contain_text(re.compile(r"step \d+ of 5"))
    logs = page.get_by_role("list", name="Log lines")
    expect(logs.locator("li")).to_have_count(5)
    expect(logs).to_contain_text("looked for the file")
    gate.touch()
    expect(page.locator("h1 .state")).to_have_text("succeeded")
    expect(page.get_by_role("region", name="Result")).to_be_visible()


def test_dead_letters_are_grouped_by_their_error_and_a_group_opens(visitor: Visitor, shop: Shop) -> None:
    shop.clear_dead()
    shop.dead(3)
    shop.until_state(shop.submit("charge_card", {"order": 7, "amount": 0}, maxAttempts=1), "dead")
    page = visitor.open("dead")
    expect(page.get_by_role("region", name="2 kinds of error")).to_be_visible()
    rows = page.locator("tbody tr")
    expect(rows.nth(0)).to_contain_text(re.compile(r"^3\s*ConnectionError"))
    expect(rows.nth(1)).to_contain_text(re.compile(r"^1\s*ValueError"))
    rows.nth(0).get_by_role("link").first.click()
    expect(page.locator("tbody tr")).to_have_count(3)
    assert "fingerprint=" in visitor.address()
    page.get_by_role("link", name="All kinds").click()
    expect(page.locator("tbody tr")).to_have_count(2)


def test_without_dead_letters_the_page_says_so(visitor: Visitor) -> None:
    page = visitor.open("dead", queue="depot")
    expect(page.get_by_text("No dead letters")).to_be_visible()


def test_workers_are_shown_with_their_slots_and_tasks(visitor: Visitor, shop: Shop) -> None:
    gate = shop.gate()
    id = shop.submit("wait_for", {"file": str(gate)})
    page = visitor.open("workers")
    row = visitor.row("shop-0")
    expect(row.locator("[data-name=Slots]")).to_contain_text("/16")
    row.get_by_role("link", name=visitor.short(id)).click()
    expect(page.locator("h1 .state")).to_have_text("running")
    gate.touch()


def test_a_queue_without_workers_says_what_to_do(visitor: Visitor) -> None:
    page = visitor.open("workers", queue="depot")
    expect(page.get_by_text("No worker is registered")).to_be_visible()


def test_another_queue_is_chosen_and_the_page_stays_the_same(visitor: Visitor) -> None:
    page = visitor.open("lanes")
    page.get_by_role("combobox", name="Queue").select_option("depot")
    expect(visitor.row("first")).to_be_visible()
    assert visitor.address() == "/dashboard/q/depot/lanes"
    page.go_back()
    expect(visitor.row("urgent")).to_be_visible()


def test_what_is_not_there_is_said_plainly(page: Page, visitor: Visitor) -> None:
    visitor.open("tasks/06h0p1l7ad4iv9ojdkq6on8")
    expect(page.get_by_role("heading", name="There is no task 06h0p1l7ad4iv9ojdkq6on8")).to_be_visible()
    page.goto(f"{visitor.url}/dashboard/q/nowhere/tasks")
    expect(page.get_by_text("There is no queue nowhere here")).to_be_visible()
    expect(page.get_by_role("main").get_by_role("link", name="depot")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("live updates"))).to_have_count(0)
    page.goto(f"{visitor.url}/dashboard/q/shop/nothing")
    expect(page.get_by_text("There is no such page")).to_be_visible()


def test_keys_lead_through_pages_and_rows(visitor: Visitor, shop: Shop) -> None:
    shop.submit_many([{"type": (kind := f"by.key.{secrets.token_hex(3)}"), "delay": 3600}] * 3, queue="depot")
    page = visitor.open(queue="depot")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    for key, heading in (
        ("w", "Workers"),
        ("d", "Dead letters"),
        ("l", "Lanes"),
        ("s", "Submit a task"),
        ("t", "Tasks"),
    ):
        page.keyboard.press("g")
        page.keyboard.press(key)
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Task id begins with")).to_be_focused()
    page.keyboard.press("Escape")
    page.get_by_role("searchbox", name="Type").fill(kind)
    page.keyboard.press("Escape")
    expect(page.locator("tbody tr")).to_have_count(3)
    for _ in range(2):
        page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("x")
    expect(page.locator("tbody tr").first.get_by_role("checkbox")).to_be_checked()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text(kind)
