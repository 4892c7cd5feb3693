"""Task ids as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.kit.ids import ID_BYTES, id_bytes, id_text, id_texts, new_task_ids

_IDS = st.binary(min_size=ID_BYTES, max_size=ID_BYTES)


@given(st.lists(_IDS, max_size=40))
def test_many_ids_have_the_texts_that_each_has_alone(ids: list[bytes]) -> None:
    assert id_texts(ids) == [id_text(id) for id in ids]


@pytest.mark.parametrize("edge", [b"\0" * ID_BYTES, b"\xff" * ID_BYTES])
def test_the_smallest_and_the_largest_id_survive_the_way_through_text(edge: bytes) -> None:
    assert [id_bytes(text) for text in id_texts([edge, edge])] == [edge, edge]


def test_texts_sort_as_ids_do() -> None:
    ids = new_task_ids(500)
    texts = id_texts(ids)
    assert sorted(texts) == texts
    assert [id_bytes(text) for text in texts] == ids
