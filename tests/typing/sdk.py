"""What a type checker sees of the SDK: what mypy must find stands at its line.

test_sdk_types.py compares: `# type:` is what `reveal_type` shows, `# error:` part of an error's message.
"""

from dataclasses import dataclass
from typing import reveal_type

from laneway import App, Backoff, Context

app = App("typed")


@app.task
async def resize(path: str, size: int = 3) -> str:
    return path


@app.task(lane="high", timeout=5, backoff=Backoff(base=1), give_up_on=[ValueError])
async def measure(ctx: Context, path: str) -> float:
    await ctx.extend()
    return float(ctx.attempt)


@dataclass
class Position:
    page: int


@app.task
async def walks(ctx: Context) -> None:
    reveal_type(ctx.saved_as(Position))  # type: Position | None
    reveal_type(await ctx.checkpoint(Position(1)))  # type: None
    ctx.progress("half")  # error: incompatible type "str"; expected "float"
    ctx.sync.checkpoint()  # error: Missing positional argument "data"
    ctx.log.info("read", rows=10)


@app.task
def count(path: str) -> dict[str, int]:
    return {path: 1}


@app.task(process=True)
def crunch(ctx: Context, n: int) -> list[int]:
    return [n]


async def main() -> None:
    handle = await resize.submit("a", size=3)
    calls = [resize.call("a"), resize.call("b")]
    reveal_type(handle)  # type: Handle[str]
    reveal_type(await handle.result(timeout=5))  # type: str
    reveal_type(await resize.options(lane="high", delay=5).submit(path="a"))  # type: Handle[str]
    reveal_type(await measure.submit("a"))  # type: Handle[float]
    reveal_type(await count.submit(path="a"))  # type: Handle[dict[str, int]]
    reveal_type(crunch.call(3))  # type: Call[list[int]]
    reveal_type(await app.submit_many(calls))  # type: list[Handle[str] | LanewayError]
    reveal_type(app.sync.submit(crunch.call(3)).result())  # type: list[int]
    reveal_type(await resize("a"))  # type: str
    reveal_type(count("a"))  # type: dict[str, int]
    reveal_type(count.handle("x"))  # type: Handle[dict[str, int]]
    reveal_type(app.handle("x"))  # type: Handle[Any]
    reveal_type((await handle.status()).attempts)  # type: int
    reveal_type((await handle.logs()).lines)  # type: list[LogLine]
    reveal_type(await handle.progress())  # type: Progress | None

    await resize.submit(5)  # error: incompatible type "int"; expected "str"
    await resize.submit()  # error: Missing positional argument "path"
    await resize.submit("a", sise=3)  # error: Unexpected keyword argument "sise"
    await measure.submit("a", "b")  # error: Too many arguments for "submit"
    await measure.submit(ctx=1, path="a")  # error: Unexpected keyword argument "ctx"
    crunch.call(n="3")  # error: incompatible type "str"; expected "int"
    resize.options(lanes="high")  # error: Unexpected keyword argument "lanes"
    resize.options(priority="9")  # error: incompatible type "str"; expected "int"
    total: int = await handle.result()  # error: expression has type "str", variable has type "int"
    print(total)


@app.task(prio=3)  # error: Unexpected keyword argument "prio"
def wrong() -> None: ...
