"""The names that applications build on, and what importing them costs."""

import subprocess
import sys

import laneway

PUBLIC = [
    "AccessDenied", "App", "Backoff", "Call", "Cancel", "ConfigError", "Context", "Discard", "Handle", "HttpClient",
    "IdempotencyConflict", "InvalidCheckpoint", "InvalidRequest", "InvalidTask", "LanewayError", "LeaseLost",
    "Middleware", "NewTask", "Outcome", "OutcomeUnknown",
    "PayloadTooLarge", "QueueFull", "RateLimited", "Refused", "ResultTimeout", "Retry", "SchemaTooNew",
    "ServerRefused", "Snooze", "State", "SyncApp", "SyncHandle", "Task", "TaskCancelled", "TaskDead",
    "TaskExpired",
    "TaskNotSucceeded", "TaskStatus", "Unavailable", "UnknownLane", "UnknownQueue", "UnknownTask", "WrongState",
    "__version__",
    "stand_in_context",
]  # fmt: skip

#: What servers and tools need, and an application that defines or submits tasks does not.
HEAVY = {"aiokafka", "starlette", "pydantic", "redis", "uvicorn", "structlog", "httpx", "click", "yaml"}


def test_the_public_names_are_these_and_no_others() -> None:
    assert sorted(laneway.__all__) == sorted(PUBLIC)
    assert dir(laneway) == sorted(PUBLIC)


def test_every_public_name_is_there() -> None:
    for name in PUBLIC:
        assert getattr(laneway, name) is not None
    assert not hasattr(laneway, "Nothing")


def test_all_errors_are_public() -> None:
    from laneway import errors

    tree = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert tree <= set(laneway.__all__)


def test_an_application_module_imports_nothing_that_only_servers_need() -> None:
    code = (
        "import sys, laneway; app = laneway.App('a')\n"
        "@app.task\n"
        "async def t(ctx: laneway.Context, a: int) -> int: return a\n"
        "t.call(1)\n"
        f"print(sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
