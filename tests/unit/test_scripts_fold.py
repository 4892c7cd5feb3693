"""What is sent to Redis has constants in the place of their names, and is the same script."""

import re

import pytest

from laneway.adapters.redis.scripts import all_names, fold, load


def test_constants_stand_where_their_names_stood() -> None:
    source = "local META = KEYS[1]\nlocal A, B = 1, 'x' -- two\nreturn {META, A + B, [A] = A == 1}\n"
    assert fold(source) == "\n -- two\nreturn {KEYS[1], 1 + 'x', [1] = 1 == 1}\n"


def test_comments_strings_and_fields_are_left_alone() -> None:
    source = "local A = 1\n-- A says 'A\nreturn {'A', \"A's\", conf.A, XA, A_, 'it\\'s A', A}\n"
    assert fold(source) == "\n-- A says 'A\nreturn {'A', \"A's\", conf.A, XA, A_, 'it\\'s A', 1}\n"


@pytest.mark.parametrize(
    "source",
    [
        "local A = 1\nA = 2\nreturn A\n",
        "local A = 1\nreturn {A = 2}\n",
        "do\nlocal A = 1\nend\ndo\nlocal A = 2\nend\n",
        "local A = B + 1\nreturn A\n",
        "local a = 1\nreturn a\n",
    ],
)
def test_what_is_no_constant_stays_a_local(source: str) -> None:
    assert fold(source) == source


def test_a_line_may_have_both() -> None:
    assert fold("local A, B = 1, 2\nB = 3\nreturn A + B\n") == "local B = 2\nB = 3\nreturn 1 + B\n"


@pytest.mark.parametrize("name", all_names())
def test_each_script_keeps_its_lines_and_has_no_name_left_for_a_key(name: str) -> None:
    script = load(name)
    assert script.source.count("\n") == script.readable.count("\n")
    assert not re.search(r"^local \w+ = KEYS\[", script.source, re.MULTILINE)
    assert f"KEYS[{len(script.keys)}]" in script.source


def test_a_name_that_reads_like_a_field_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a blank before A after"):
        fold("local A = 'x'\nreturn 'y'..A\n")
