"""Under which lane the gateway counts submissions that name none."""

from tests.contract.gateways import TASKS, TRACE, TRACE_2, metric, served

from laneway.adapters.redis import RedisStore
from laneway.kit.ids import id_text, new_task_id

COUNTED = {"queue": "mail", "lane": "default", "type": "t"}


async def test_a_batch_counts_what_was_taken_by_the_default_lane_and_what_was_refused_by_none(
    store: RedisStore,
) -> None:
    batch = [
        {"type": "t", "idempotencyKey": "k"},
        {"type": "t", "idempotencyKey": "k"},
        {"type": "t", "idempotencyKey": "k", "payload": {"another": 1}},
        {"type": "t", "lane": "high"},
        {"type": "t", "lane": "fast"},
    ]
    async with served(store) as client:
        answer = (await client.post(f"{TASKS}/batch", json=batch)).json()
        assert [item["status"] for item in answer["results"]] == [201, 200, 409, 201, 422]
        assert answer["results"][0]["id"] == answer["results"][1]["id"]
        assert await metric(client, "laneway_tasks_submitted_total", **COUNTED) == 1
        assert await metric(client, "laneway_tasks_duplicate_total", **COUNTED) == 1
        assert await metric(client, "laneway_tasks_submitted_total", lane="high") == 1
        assert await metric(client, "laneway_tasks_rejected_total", lane="", reason="conflict") == 1
        assert await metric(client, "laneway_tasks_rejected_total", lane="", reason="lane") == 1


async def test_a_task_sent_again_with_another_trace_is_a_duplicate_in_its_lane(store: RedisStore) -> None:
    sent = {"type": "t", "id": id_text(new_task_id())}
    async with served(store) as client:
        for trace, status in ((TRACE, 201), (TRACE_2, 200)):
            answer = await client.post(TASKS, json=sent, headers={"traceparent": trace})
            assert answer.status_code == status
        again = await client.post(f"{TASKS}/batch", json=[sent], headers={"traceparent": TRACE_2})
        assert again.json()["results"] == [{"status": 200, "id": sent["id"], "state": "queued", "duplicate": True}]
        assert await metric(client, "laneway_tasks_submitted_total", **COUNTED) == 1
        assert await metric(client, "laneway_tasks_duplicate_total", **COUNTED) == 2
