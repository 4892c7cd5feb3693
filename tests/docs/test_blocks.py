"""The Python in the docs runs as written: each page's blocks in order, on a real Redis and a worker."""

import ast
import asyncio
import inspect
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from laneway.adapters.redis import RedisStore
from laneway.client import App
from laneway.dispatch.direct import DirectSource
from laneway.execute.executor import Executor
from laneway.execute.notes import Scribe
from laneway.execute.worker import Worker, WorkerSettings
from laneway.model.config import LaneConfig, QueueConfig
from laneway.model.task import TaskDef
from laneway.settle.buffer import OutcomeBuffer
from laneway.tend.promoter import Promoter

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    "../README.md": "minimal",
    "tutorial.md": "minimal",
    "reference/sdk.md": "photos",
    "explanation/concepts.md": "accounts",
    "how-to/read-a-tasks-logs.md": "pictures",
    "how-to/save-progress.md": "imports",
    "how-to/test-your-tasks.md": "shop",
    "how-to/trace-a-task.md": "traced",
}
LANES = tuple(LaneConfig(n=n, name=name) for n, name in enumerate(("high", "default", "low"), 1))

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[int, str]]:
    """Each Python block with the number of its first line."""
    text = page.read_text()
    return [(text.count("\n", 0, match.start(1)) + 1, match[1]) for match in _BLOCK.finditer(text)]


class PageTasks(Mapping[str, TaskDef]):
    """The tasks that a page's ``app`` has so far: a worker sees those of later blocks too."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names

    def _now(self) -> dict[str, TaskDef]:
        app = self._names.get("app")
        return app.tasks if isinstance(app, App) else {}

    def __getitem__(self, name: str) -> TaskDef:
        return self._now()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())


@asynccontextmanager
async def working(url: str, queue: str, names: dict[str, Any]) -> AsyncIterator[None]:
    """A configured queue, a worker for it, and what lets its retries come."""
    store = RedisStore(url, queue)
    await store.configure(QueueConfig(lanes=LANES, default_lane="default"), {}, expected="")

    def make_executor(**callbacks: Any) -> Executor:
        context = App("worker").context_factory(_still_held)
        scribe = Scribe(store.notes, lambda: worker.incarnation)
        return Executor(PageTasks(names), lane_name=str, make_context=context, scribe=scribe, **callbacks)

    worker = Worker(
        store,
        DirectSource(store),
        lambda: RedisStore(url, queue),
        make_executor,
        OutcomeBuffer(),
        WorkerSettings(name="docs", drain=1),
    )
    promoter = Promoter(store)
    await worker.start()
    await promoter.start()
    try:
        yield
    finally:
        await promoter.stop()
        await worker.stop()
        await store.close()


async def _still_held(id: bytes, fence: int) -> bool:
    """What Redis answers to extend() while the task is held and nobody asked for its cancellation."""
    return False


def test_the_pages_have_python_to_run() -> None:
    assert {page: len(blocks(DOCS / page)) > 0 for page in PAGES} == dict.fromkeys(PAGES, True)


def test_every_page_with_python_is_run() -> None:
    pages = {page.resolve() for page in (*DOCS.glob("**/*.md"), *DOCS.parent.glob("*.md")) if blocks(page)}
    assert pages == {(DOCS / page).resolve() for page in PAGES}


@pytest.mark.parametrize("page", PAGES)
async def test_every_python_block_of_the_page_runs(page: str, redis7_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWAY_REDIS_URL", redis7_url)
    module = ModuleType("docs_page")
    monkeypatch.setitem(sys.modules, "docs_page", module)
    names = module.__dict__
    async with working(redis7_url, PAGES[page], names):
        for line, source in blocks(DOCS / page):
            # Line numbers of the page, so that a failure shows where it is.
            code = compile("\n" * (line - 1) + source, str(DOCS / page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            result = eval(code, names)
            if inspect.isawaitable(result):
                await asyncio.wait_for(result, 60)
        await names["app"].close()


def test_the_tests_in_the_page_about_testing_pass(tmp_path: Path) -> None:
    page = blocks(DOCS / "how-to/test-your-tasks.md")
    (tmp_path / "test_shop.py").write_text("\n\n".join(source for _, source in page))
    settings = "asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
    (tmp_path / "pytest.ini").write_text(f"[pytest]\n{settings}")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout
    wanted = sum(source.count("def test_") for _, source in page)
    assert f"{wanted} passed" in done.stdout
