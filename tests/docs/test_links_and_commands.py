"""What the docs point at exists: files, headings of pages, `make` targets, and commands with their options."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from laneway.cli.main import main

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "charts/*/*.md", "tests/model/*.md")
    for page in ROOT.glob(pattern)
    if not page.relative_to(ROOT).parts[0].startswith(".")
)

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
#: What a reader puts something in the place of: ID, HOST:PORT, PACKAGE.MODULE:APP.
_PLACEHOLDER = re.compile(r"\b[A-Z]{1,}\b")


def name_of(page: Path) -> str:
    """A page as failures name it."""
    return str(page.relative_to(ROOT))


def without_code(text: str) -> str:
    """The page's prose."""
    return _INLINE.sub("", _FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """The anchors of the page's headings, as Git hosts make them."""
    plain = (re.sub(r"[`*]|\]\([^)]*\)|\[", "", title).lower() for title in _HEADING.findall(_FENCE.sub("", text)))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in plain}


def command_lines(text: str) -> Iterator[str]:
    """Every `laneway ...` and `make ...` that a page shows: in blocks of commands, and in running text."""
    for _, language, block in _FENCE.findall(text):
        if language not in ("console", "sh", ""):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            line = line.strip()
            if language == "console":
                if not line.startswith("$ "):
                    continue
                line = line[2:]
            yield from commands_in(line)
    for code in _INLINE.findall(_FENCE.sub("", text)):
        yield from commands_in(" ".join(code.split()))


def commands_in(line: str) -> Iterator[str]:
    """The parts of a shell line that call us."""
    for part in re.split(r"\s(?:\||&&|;)\s", line):
        if re.match(r"(laneway|make)( |$)", part):
            yield part


def check(line: str) -> None:
    """Takes a command line apart as the program would, but runs nothing.

    Raises:
        click.UsageError: there is no such command, option or argument, or a value is none of those it takes.
    """
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = main
    # (click keeps each command's help option as the first context made it)
    ctx = click.Context(main, info_name="laneway", help_option_names=["-h", "--help"])
    while True:
        values, rest, _ = command.make_parser(ctx).parse_args(list(words))
        check_values(ctx, command, values)
        if not isinstance(command, click.Group) or not rest:
            break
        name, *words = rest
        if _PLACEHOLDER.fullmatch(name):
            return
        inner = command.get_command(ctx, name)
        if inner is None:
            raise click.UsageError(f"laneway has no command {name!r} there")
        command, ctx = inner, click.Context(inner, info_name=name, parent=ctx)
        rest = []
    if rest:
        raise click.UsageError(f"too many arguments: {' '.join(rest)}")


def check_values(ctx: click.Context, command: click.Command, values: dict[str, Any]) -> None:
    """Checks values against their types, except files (of the reader's) and what stands for something."""
    for param in command.params:
        value = values.get(param.name or "")
        if isinstance(param.type, click.Path | click.File) or not isinstance(value, str | list | tuple):
            continue
        if not _PLACEHOLDER.search(value if isinstance(value, str) else " ".join(map(str, value))):
            param.type_cast_value(ctx, value)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in _LINK.findall(without_code(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or not file.is_relative_to(ROOT) or (anchor and anchor not in anchors(file.read_text())):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_line_is_one_that_the_program_takes(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wrong = []
    for line in command_lines(page.read_text()):
        try:
            if line.startswith("make"):
                words = [word for word in shlex.split(line, comments=True)[1:] if "=" not in word]
                if unknown := set(words) - targets:
                    raise click.UsageError(f"no such target: {', '.join(sorted(unknown))}")
            else:
                check(line)
        except (click.UsageError, ValueError) as error:
            wrong.append((line, str(error)))
    assert wrong == []


def test_pages_with_commands_were_found() -> None:
    found = {name_of(page): len(list(command_lines(page.read_text()))) for page in PAGES}
    assert found["README.md"] >= 5
    assert sum(found.values()) > 60


@pytest.mark.parametrize(
    "line",
    [
        "laneway sumbit checksum",
        "laneway submit checksum --prioritie 3",
        "laneway dead replay --limit ten",
        "laneway task show nope",
        "laneway dead show 06gmhl2oq4k1u8bn5d3ti98 more",
        "laneway up -f",
    ],
)
def test_a_wrong_command_line_is_seen(line: str) -> None:
    with pytest.raises(click.UsageError):
        check(line)


def test_a_heading_with_code_and_signs_has_the_anchor_that_hosts_give_it() -> None:
    assert anchors("# What is *promised*, and `what` not?\n\n## A [link](x.md) b\n") == {
        "what-is-promised-and-what-not",
        "a-link-b",
    }
