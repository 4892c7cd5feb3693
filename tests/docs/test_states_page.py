"""The page of states says what the table of moves says, and the table speaks of the scripts there are."""

import docs_states
from laneway.adapters.redis.scripts import all_names, header, lua_root
from laneway.model.states import FINAL, MOVES, WAITING, State

#: Scripts that use the part `finish`, so can move tasks; `turn` makes the moves of settle and claim.
_MOVERS = {
    name
    for name in all_names()
    if {"finish", "lanes"} & set(header((lua_root() / f"{name}.lua").read_text()).get("USES", "").split())
} - {"turn"}


def test_the_page_is_what_the_table_gives() -> None:
    assert docs_states.PAGE.read_text() == docs_states.page(), "run: python hack/docs_states.py"


def test_the_table_names_every_script_that_can_move_a_task_and_no_other() -> None:
    assert {script for script, _, _ in MOVES} == _MOVERS | {"purge"}


def test_every_move_stands_in_the_table_once() -> None:
    assert len(MOVES) == len(set(MOVES))


def test_a_final_state_is_left_only_by_replay_and_purge() -> None:
    assert {script for script, origin, _ in MOVES if origin in FINAL} == {"replay", "purge"}


def test_every_waiting_state_can_be_cancelled_and_every_end_forgotten() -> None:
    assert {state for state in WAITING if ("cancel", state, State.CANCELLED) not in MOVES} == set()
    assert {state for state in FINAL if ("purge", state, None) not in MOVES} == set()
