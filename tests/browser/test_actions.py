"""Everything that can be done is done, and the queue shows it."""

from __future__ import annotations

import re

from tests.browser.eyes import Locator, Page, expect
from tests.browser.shop_stack import Shop, until
from tests.browser.visitor import Visitor


def dialog(page: Page) -> Locator:
    """The open dialog."""
    return page.get_by_role("dialog")


def test_a_waiting_task_is_cancelled_after_a_question(visitor: Visitor, shop: Shop) -> None:
    id = shop.submit("nothing", queue="depot")
    page = visitor.open(f"tasks/{id}", queue="depot")
    page.get_by_role("button", name="Cancel").click()
    dialog(page).get_by_role("button", name="Keep as it is").click()
    expect(dialog(page)).to_have_count(0)
    assert shop.state(id, "depot") == "queued"
    page.get_by_role("button", name="Cancel").click()
    dialog(page).get_by_role("button", name="Cancel the task").click()
    visitor.said("Cancelled.")
    expect(page.locator("h1 .state")).to_have_text("cancelled")
    assert shop.state(id, "depot") == "cancelled"


def test_a_running_task_is_asked_to_stop(visitor: Visitor, shop: Shop) -> None:
    id = shop.submit("wait_for", {"file": str(shop.gate())})
    shop.until_state(id, "running")
    page = visitor.open(f"tasks/{id}")
    page.get_by_role("button", name="Cancel").click()
    dialog(page).get_by_role("button", name="Cancel the task").click()
    expect(page.locator("h1 .state")).to_have_text("cancelled")


def test_a_dead_task_is_retried(visitor: Visitor, shop: Shop) -> None:
    gate = shop.gate()
    id = shop.submit("wait_for", {"file": str(gate)}, timeout=1.0)
    shop.until_state(id, "dead")
    gate.touch()  # the cause is mended
    page = visitor.open(f"tasks/{id}")
    page.get_by_role("button", name="Retry now").click()
    visitor.said("Queued.")
    expect(page.locator("h1 .state")).to_have_text("succeeded")


def test_a_scheduled_task_is_run_now(visitor: Visitor, shop: Shop) -> None:
    id = shop.submit("nothing", delay=3600)
    page = visitor.open(f"tasks/{id}")
    page.get_by_role("button", name="Run now").click()
    expect(page.locator("h1 .state")).to_have_text("succeeded")


def test_a_waiting_tasks_priority_and_lane_are_changed(visitor: Visitor, shop: Shop) -> None:
    id = shop.submit("nothing", queue="depot", lane="first")
    page = visitor.open(f"tasks/{id}", queue="depot")
    page.get_by_role("button", name="Change", exact=True).click()
    dialog(page).get_by_label("Priority, 0 to 9").fill("9")
    dialog(page).get_by_role("combobox", name="Lane").select_option("second")
    dialog(page).get_by_role("button", name="Change").click()
    visitor.said("Changed.")
    task = shop.task(id, "depot")
    assert (task["priority"], task["lane"]) == (9, "second")
    expect(page.get_by_role("region", name="Facts")).to_contain_text("second")


def test_a_change_of_what_somebody_else_changed_meanwhile_is_refused(visitor: Visitor, shop: Shop) -> None:
    id = shop.submit("nothing", queue="depot", lane="first")
    page = visitor.open(f"tasks/{id}", queue="depot")
    page.get_by_role("button", name=re.compile("pause live updates")).click()
    page.get_by_role("button", name="Change", exact=True).click()
    changed = shop.client.patch(f"/depot/tasks/{id}", json={"priority": 1})
    assert changed.status_code == 200, changed.text
    dialog(page).get_by_label("Priority, 0 to 9").fill("9")
    dialog(page).get_by_role("button", name="Change").click()
    expect(dialog(page).get_by_role("alert")).to_contain_text("changed meanwhile")
    assert shop.task(id, "depot")["priority"] == 1


def test_chosen_tasks_are_cancelled_together_and_the_others_are_not(visitor: Visitor, shop: Shop) -> None:
    ids = shop.submit_many([{"type": "bulk.some", "delay": 3600}] * 3, queue="depot")
    page = visitor.open("tasks?type=bulk.some", queue="depot")
    for id in ids[:2]:
        page.get_by_role("checkbox", name=f"Select {id}").check()
    bar = page.get_by_role("region", name="Chosen tasks")
    expect(bar).to_contain_text("2 tasks chosen")
    bar.get_by_role("button", name="Cancel").click()
    dialog(page).get_by_role("button", name="Cancel", exact=True).click()
    visitor.said("2 tasks cancelled.")
    assert [shop.state(id, "depot") for id in ids] == ["cancelled", "cancelled", "scheduled"]
    expect(visitor.row(visitor.short(ids[0])).locator(".state")).to_have_text("cancelled")


def test_all_that_match_the_filters_are_changed_also_those_on_other_pages(visitor: Visitor, shop: Shop) -> None:
    shop.submit_many([{"type": "bulk.all", "delay": 3600}] * 60, queue="depot")
    page = visitor.open("tasks?state=scheduled&type=bulk.all", queue="depot")
    page.get_by_role("checkbox", name="Select all on this page").check()
    bar = page.get_by_role("region", name="Chosen tasks")
    expect(bar).to_contain_text("50 tasks chosen")
    bar.get_by_role("button", name="Choose all that match the filters").click()
    bar.get_by_role("button", name="Cancel").click()
    expect(dialog(page)).to_contain_text("60 tasks match")
    dialog(page).get_by_role("button", name="Cancel", exact=True).click()
    visitor.said("60 tasks cancelled.")
    expect(page.get_by_text("Nothing matches these filters")).to_be_visible()
    left = shop.client.get("/depot/tasks", params={"state": "scheduled", "type": "bulk.all"}).json()
    assert left["items"] == []


def test_a_canary_is_replayed_first_and_the_rest_when_it_did_well(visitor: Visitor, shop: Shop) -> None:
    shop.clear_dead()
    gate = shop.gate()
    ids = shop.submit_many([{"type": "wait_for", "payload": {"file": str(gate)}, "timeout": 1.0}] * 12)
    for id in ids:
        shop.until_state(id, "dead")
    gate.touch()  # the cause is mended
    page = visitor.open("dead?type=wait_for")
    page.locator("tbody tr").first.get_by_role("link").first.click()
    page.get_by_role("button", name="Replay…").click()
    expect(dialog(page)).to_contain_text("12 dead letters.")
    expect(dialog(page).get_by_role("radio", name="A tenth first (canary)")).to_be_checked()
    share = dialog(page).get_by_text(re.compile(r"At first: \d+ of 12\."))
    expect(share).to_be_visible()
    first = int(re.findall(r"\d+", share.inner_text())[0])
    # Of twelve a tenth may be none, by their ids: then the dialog says so, and all of them are taken.
    dialog(page).get_by_role("button", name="Replay the canary").click()
    none = dialog(page).get_by_text("None of them falls into that share")
    rest = dialog(page).get_by_role("button", name="Replay the rest")
    expect(none.or_(rest)).to_be_visible()
    assert rest.is_visible() == (first > 0)
    if rest.is_visible():
        expect(dialog(page)).to_contain_text(f"{first} of 12 tasks replayed as a canary.")
        expect(dialog(page)).to_contain_text("All have ended well.")
        rest.click()
    else:
        dialog(page).get_by_role("radio", name="All of them").check()
        dialog(page).get_by_role("button", name="Replay").click()
    expect(dialog(page).get_by_role("button", name="Close").last).to_have_text("Close")
    expect(dialog(page)).to_contain_text("All have ended well.")
    until(lambda: all(shop.state(id) == "succeeded" for id in ids), "all of them to succeed")


def test_a_purge_wants_its_words_typed(visitor: Visitor, shop: Shop) -> None:
    shop.clear_dead()
    ids = shop.dead(2)
    page = visitor.open("dead")
    page.get_by_role("button", name="Purge all dead letters").click()
    purge = dialog(page).get_by_role("button", name="Purge")
    field = dialog(page).get_by_role("textbox")
    field.fill("purge 3")
    expect(purge).to_be_disabled()
    field.press("Enter")
    assert shop.state(ids[0]) == "dead"
    field.fill("purge 2")
    purge.click()
    visitor.said("2 dead letters purged.")
    expect(page.get_by_text("No dead letters")).to_be_visible()
    assert shop.client.get(f"/shop/tasks/{ids[0]}").status_code == 404


def test_a_worker_is_drained_and_another_takes_its_place(visitor: Visitor, shop: Shop) -> None:
    (before,) = [worker["id"] for worker in shop.client.get("/shop/workers").json()["items"]]
    page = visitor.open("workers")
    page.get_by_role("button", name="Drain shop-0").click()
    expect(dialog(page)).to_contain_text("takes no more tasks")
    dialog(page).get_by_role("button", name="Drain it").click()
    visitor.said("shop-0 drains")

    def replaced() -> bool:
        workers = shop.client.get("/shop/workers").json()["items"]
        return [worker["state"] for worker in workers if worker["id"] != before] == ["announced"]

    until(replaced, "another worker", 30)
    expect(page.locator(".worker-state", has_text="announced")).to_be_visible()


def test_a_task_is_submitted_by_the_fields_of_its_type(visitor: Visitor, shop: Shop) -> None:
    page = visitor.open("submit")
    page.get_by_role("combobox", name="Type").fill("charge_card")
    page.get_by_role("textbox", name="order").fill("4711")
    expect(page.get_by_role("textbox", name="amount")).to_have_value("19.9")
    page.get_by_role("combobox", name="currency").select_option("USD")
    page.get_by_role("textbox", name="Labels").fill("from:form")
    page.get_by_role("button", name="Submit").click()
    receipt = page.get_by_role("region", name="Submitted here").locator(".id").first
    expect(receipt).to_be_visible()
    id = receipt.inner_text()
    shop.until_state(id, "succeeded")
    task = shop.task(id)
    assert task["payload"] == {"order": 4711, "amount": 19.9, "currency": "USD"}
    assert (task["labels"], task["lane"], task["result"]) == ({"from": "form"}, "urgent", "charge-4711-USD")


def test_an_empty_text_that_is_needed_is_refused_here_and_one_that_is_not_is_left_out(
    visitor: Visitor, shop: Shop
) -> None:
    page = visitor.open("submit?type=send_mail")
    to = page.get_by_role("textbox", name="to (needed)")
    expect(to).to_be_visible()
    sent: list[str | None] = []
    page.on("request", lambda request: sent.append(request.post_data) if request.method == "POST" else None)
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_text("to needs a value")).to_be_visible()
    expect(to).to_be_focused()
    assert sent == []
    to.fill("ann@shop.example")
    page.get_by_role("textbox", name="subject").fill("")
    page.get_by_role("button", name="Submit").click()
    receipt = page.get_by_role("region", name="Submitted here").locator(".id").first
    expect(receipt).to_be_visible()
    assert shop.task(receipt.inner_text())["payload"] == {"to": "ann@shop.example", "urgent": False}


def test_a_wrong_field_is_named_beside_it_and_nothing_is_submitted(visitor: Visitor, shop: Shop) -> None:
    page = visitor.open("submit")
    page.get_by_role("combobox", name="Type").fill("charge_card")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("textbox", name="order")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("textbox", name="order")).to_be_focused()
    page.get_by_role("textbox", name="order").fill("1")
    page.get_by_role("textbox", name="Priority").fill("12")  # this one only the gateway refuses
    page.get_by_role("textbox", name="Tenant").fill("not a tenant")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("textbox", name="Priority")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("textbox", name="Tenant")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("whole number from 0 to 9").first).to_be_visible()
    expect(page.get_by_text("Tasks that you submit are listed here.")).to_be_visible()


def test_a_task_of_any_type_is_submitted_in_json_and_what_is_no_json_is_said(visitor: Visitor, shop: Shop) -> None:
    page = visitor.open("submit", queue="depot")
    page.get_by_role("combobox", name="Type").fill("of.my.own")
    payload = page.get_by_role("textbox", name="Payload")
    payload.fill('{"a": [1, 2')
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_text("This is not JSON")).to_be_visible()
    payload.fill('{"a": [1, 2]}')
    page.get_by_role("button", name="Submit").click()
    receipt = page.get_by_role("region", name="Submitted here").locator(".id").first
    expect(receipt).to_be_visible()
    assert shop.task(receipt.inner_text(), "depot")["payload"] == {"a": [1, 2]}
