"""The page of conditions says what the operator's reasons are, and each reason is used by somebody."""

import re
from pathlib import Path

import pytest

import docs_conditions
from laneway_operator.conditions import ConditionType, Happening, Reason

_SOURCES = "\n".join(
    path.read_text()
    for path in (Path(__file__).parents[2] / "operator" / "laneway_operator").rglob("*.py")
    if path.name != "conditions.py"
)


def test_the_page_is_what_the_reasons_give() -> None:
    assert docs_conditions.PAGE.read_text() == docs_conditions.page(), "run: python hack/docs_conditions.py"


@pytest.mark.parametrize("kind", [ConditionType, Reason, Happening], ids=lambda kind: kind.__name__)
def test_nothing_stands_there_that_the_operator_never_says(kind: type[ConditionType | Reason | Happening]) -> None:
    unsaid = [one.name for one in kind if not re.search(rf"\b{kind.__name__}\.{one.name}\b", _SOURCES)]
    assert unsaid == []


def test_a_reason_is_one_word_that_programs_can_tell_apart() -> None:
    for reason in (*Reason, *Happening):
        assert re.fullmatch(r"[A-Z][A-Za-z]+", reason), reason
        assert reason.meaning.endswith("."), reason
