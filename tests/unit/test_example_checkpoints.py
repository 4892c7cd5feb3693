"""examples/checkpoints does what its page says: it goes on where it was, shows how far it is, and keeps its lines."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from laneway import State
from laneway.adapters.manifests import load_manifests
from laneway.testing import TestQueue

EXAMPLE = Path(__file__).parents[2] / "examples" / "checkpoints"


@pytest.fixture
def example() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("import_app", EXAMPLE / "import_app.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["import_app"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["import_app"]


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    file = tmp_path / "sales.csv"
    file.write_text("product,amount\n" + "".join(f"product{n % 3},{n}\n" for n in range(1000)) + "product0,none\n")
    return file


async def test_an_import_adds_up_and_tells_how_far_it_is(example: ModuleType, sales: Path) -> None:
    async with TestQueue(example.app) as queue:
        handle = await example.import_sales.submit(str(sales), batch=300)
        await queue.drain()
        assert await handle.result() == {f"product{k}": sum(range(k, 1000, 3)) for k in range(3)}
        (task,) = queue.submitted()
        assert task.progress is not None
        assert (task.progress.fraction, task.progress.message) == (1.0, "1001 of 1001 rows")
        assert [line.message for line in task.logs] == [
            "beginning row=0 of=1001",
            "not a number product=product0 amount=none",
            "done skipped=1",
        ]


async def test_an_import_that_is_interrupted_goes_on_with_the_next_batch(
    example: ModuleType, sales: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = 0

    def rest(seconds: float) -> None:
        nonlocal batches
        batches += 1
        if batches == 2:
            raise ConnectionError("the machine goes away")

    monkeypatch.setattr(example, "time", SimpleNamespace(sleep=rest))
    async with TestQueue(example.app) as queue:
        handle = await example.import_sales.submit(str(sales), batch=300)
        task = await queue.run_one()
        assert task is not None and task.state is State.SCHEDULED
        assert task.saved["rows"] == 600
        monkeypatch.undo()
        await queue.drain()
        assert sum((await handle.result()).values()) == sum(range(1000))
        (task,) = queue.submitted()
        assert "going on row=600 of=1001" in [line.message for line in task.logs if line.attempt == 2]


def test_the_manifests_name_the_app_and_fit_together() -> None:
    (queue,) = load_manifests([EXAMPLE]).queues
    assert queue.name == "imports"
    assert [pool.spec.app for pool in queue.pools] == ["import_app:app"]
