"""How many free slots a worker fills at once, so that they do not all come free together again."""

from __future__ import annotations

import math
from typing import Final

#: By how much more than come free during an exchange the next one may fill: what has piled up is worked off by that.
AHEAD: Final = 1.5
#: However few those are, this share of what is free is filled, so that a worker that was idle is soon full.
SHARE: Final = 1 / 4


def slots_to_fill(free: int, slots: int, average_ms: float, exchange_ms: float) -> int:
    """How many of a worker's ``free`` slots the next exchange fills.

    What starts together ends together, and all that ends during an exchange starts together after it. So without this
    the slots of a worker fall into step, and an urgent task waits for all of them instead of for the first. Slots that
    are out of step come free ``slots * exchange_ms / average_ms`` at a time; filling hardly more keeps them so, and
    loses nothing: more do not come free, once they are out of step.

    ``average_ms`` is how long handlers take (0: not known yet), ``exchange_ms`` how long asking for tasks does. Where
    handlers take no longer than that, all are filled.
    """
    if average_ms <= 0:
        return free
    at_a_time = slots * exchange_ms / average_ms
    return min(free, math.ceil(max(AHEAD * at_a_time, SHARE * free)))
