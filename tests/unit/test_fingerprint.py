"""Which errors count as the same one."""

import subprocess
import sys

import pytest

from laneway.model.record import AttemptError
from laneway.policy.fingerprint import fingerprint, innermost_frame, normalized

_TRACE = """Traceback (most recent call last):
  File "{root}/shop/tasks.py", line {line}, in charge
    return client.post(url, json=payload)
  File "{root}/.venv/lib/python3.11/site-packages/httpx/_client.py", line 1144, in post
    return self.request(
  File "/usr/lib/python3.11/ssl.py", line 1342, in do_handshake
    self._sslobj.do_handshake()
ConnectionError: order {order} refused
"""


def trace(root: str = "/srv/app", line: int = 17, order: int = 1) -> str:
    return _TRACE.format(root=root, line=line, order=order)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("order 4711 is unknown", "order <n> is unknown"),
        ("order123 of user-7 is unknown", "order<n> of user-<n> is unknown"),
        ("took 1,234.5 s, over -3e-7", "took <n> s, over <n>"),
        ("1_000 of 2_000", "<n> of <n>"),
        ("no key 'a b'", "no key <str>"),
        ('no key "it\'s" here', "no key <str> here"),
        (r"no key 'it\'s' here", "no key <str> here"),
        ("can't find what isn't there", "can't find what isn't there"),
        ("use `x y` instead", "use <str> instead"),
        ("user 123e4567-e89b-12d3-a456-426614174000 gone", "user <uuid> gone"),
        ("<object at 0x7f3a2b>", "<object at <hex>>"),
        ("commit deadbeef12 is not there", "commit <hex> is not there"),
        ("the facade was effaced", "the facade was effaced"),
        ("GET https://x.org/a?b=1 failed", "GET <url> failed"),
        ("mail to ann.b+c@example.org bounced", "mail to <email> bounced"),
        ("at 2026-11-24T13:00:01.5Z and 13:00:01", "at <time> and <time>"),
        ("on 2026-11-24", "on <time>"),
        ("10.0.0.12:6379 refused, so did fe80::1", "<ip> refused, so did <ip>"),
        ("can't open /var/lib/x/y.db now", "can't open <path> now"),
        ("can't open ../a/b or ~/c/d", "can't open <path> or <path>"),
        (r"can't open C:\Users\ann\x.db now", "can't open <path> now"),
        ("read/write and/or", "read/write and/or"),
        ("task 06h0ovh07d6s1pd5fq1pr80 is gone", "task <id> is gone"),
        ("an_ordinary_long_identifier_of_code failed", "an_ordinary_long_identifier_of_code failed"),
        ("line one\n   line\ttwo  ", "line one line two"),
        ("", ""),
    ],
)
def test_what_differs_from_task_to_task_is_taken_out_of_a_message(message: str, expected: str) -> None:
    assert normalized(message) == expected


def test_the_same_error_of_two_tasks_has_one_fingerprint() -> None:
    one = fingerprint("charge", AttemptError("ConnectionError", "order 1 refused", traceback=trace(order=1)))
    two = fingerprint("charge", AttemptError("ConnectionError", "order 99 refused", at=5, attempt=3, worker="w-2",
                                             traceback=trace(order=99)))  # fmt: skip
    assert one == two
    assert (one.kind, one.message, one.frame) == ("ConnectionError", "order <n> refused", "tasks.py charge")


def test_neither_line_numbers_nor_where_the_code_is_installed_matter() -> None:
    here = fingerprint("charge", AttemptError("E", "m", traceback=trace("/srv/app", 17)))
    there = fingerprint("charge", AttemptError("E", "m", traceback=trace("/home/x/releases/42", 88)))
    assert here.id == there.id
    assert innermost_frame('File "/srv/releases/41/tasks.py", line 3, in f') == "tasks.py f"
    assert innermost_frame('File "/srv/shop/__init__.py", line 3, in f') == "shop/__init__.py f"


@pytest.mark.parametrize(
    "other",
    [
        fingerprint("refund", AttemptError("E", "m", traceback=trace())),
        fingerprint("charge", AttemptError("F", "m", traceback=trace())),
        fingerprint("charge", AttemptError("E", "n", traceback=trace())),
        fingerprint("charge", AttemptError("E", "m", traceback=trace().replace("in charge", "in settle"))),
        fingerprint("charge", AttemptError("E", "m")),
        fingerprint("charge", None),
    ],
    ids=["another type", "another kind", "another message", "another function", "no traceback", "no error"],
)
def test_errors_that_differ_in_what_counts_have_other_fingerprints(other: object) -> None:
    assert fingerprint("charge", AttemptError("E", "m", traceback=trace())) != other


def test_a_worker_that_died_makes_one_group_whatever_its_name() -> None:
    def crash(worker: str) -> str:
        message = f"worker {worker} stopped answering while it ran this task"
        return fingerprint("charge", AttemptError("crash", message, worker=worker)).id

    assert crash("orders-7c9d8f-abcde-0") == crash("orders-aaaaa-zzzzz-1")


def test_the_innermost_frame_of_ones_own_code_counts_and_not_a_library() -> None:
    assert innermost_frame(trace()) == "tasks.py charge"


def test_a_traceback_of_libraries_alone_gives_its_innermost_frame() -> None:
    text = _TRACE.replace("{root}/shop/tasks.py", "/usr/lib/python3/dist-packages/x/y.py")
    assert innermost_frame(text) == "ssl.py do_handshake"


def test_of_a_chain_of_exceptions_the_last_one_counts() -> None:
    chain = trace() + (
        "\nDuring handling of the above exception, another exception occurred:\n\n"
        "Traceback (most recent call last):\n"
        '  File "/srv/app/shop/retry.py", line 3, in wrap\n    raise E from None\nE\n'
    )
    assert innermost_frame(chain) == "retry.py wrap"


def test_a_traceback_whose_beginning_was_cut_off_still_has_its_end() -> None:
    assert innermost_frame(trace()[60:].replace("shop/tasks.py", "gone")) == "ssl.py do_handshake"
    assert innermost_frame("no frames at all") == innermost_frame("") == ""


def test_an_exception_group_gives_a_frame_too() -> None:
    group = (
        "  + Exception Group Traceback (most recent call last):\n"
        '  |   File "/srv/app/shop/many.py", line 9, in gather\n  |     raise\n  | ExceptionGroup: two\n'
    )
    assert innermost_frame(group) == "many.py gather"


def test_the_fingerprint_is_the_same_in_another_process() -> None:
    code = (
        "from laneway.policy.fingerprint import fingerprint; from laneway.model.record import AttemptError\n"
        "print(fingerprint('charge', AttemptError('E', 'order 5 of \"x\" failed')).id)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "77"}
    )
    assert ran.stdout.strip() == fingerprint("charge", AttemptError("E", 'order 6 of "y" failed')).id


def test_the_rules_in_force_are_pinned_by_known_fingerprints() -> None:
    """Whoever changes the rules changes VERSION too: a filter by fingerprint that somebody keeps must not silently mean
    other tasks."""
    made = fingerprint("charge", AttemptError("ConnectionError", "order 1 refused", traceback=trace()))
    assert made.id == "6361c40626f24e08"


def test_messages_that_are_hard_to_read_are_read_all_the_same() -> None:
    for text in ("'" * 5000, '"a' * 3000, "/a" * 3000, "a-1" * 3000, "1:" * 3000, "\\" * 4000, "0x" * 3000, "\ud800 5"):
        assert len(fingerprint("t", AttemptError("E", text, traceback=text)).message) <= 240
