"""What a container may be called."""

from __future__ import annotations

import pytest

from ocirt.container import quick
from ocirt.container.ids import check_id
from ocirt.errors import ContainerNotFound, InvalidID

GOOD = ["a", "web", "A-Z_0.9+x", "...", ".hidden", "-dash", "a" * 255]
BAD = ["", ".", "..", "a/b", "a b", " a", "a ", "a\n", "ä", "a\0b", "../x", "a" * 256, "\udc80", "a:b", "٣"]


@pytest.mark.parametrize("text", GOOD)
def test_letters_digits_and_four_marks_make_an_id(text: str) -> None:
    assert check_id(text) == text


@pytest.mark.parametrize("text", BAD)
def test_everything_else_is_refused_with_a_line_that_can_be_read(text: str) -> None:
    with pytest.raises(InvalidID) as caught:
        check_id(text)
    assert "\n" not in str(caught.value)
    assert "container ID" in str(caught.value)


@pytest.mark.parametrize("text", [text for text in GOOD if len(text) < 255])
def test_the_quick_verbs_take_the_same_ids(text: str, root: str) -> None:
    with pytest.raises(ContainerNotFound):
        quick.status(root, text)


@pytest.mark.parametrize("text", [".", "..", "a/b", "a b", "a" * 256, ""])
def test_the_quick_verbs_refuse_the_same_ids(text: str, tmp_path) -> None:
    from ocirt.errors import SystemCallError

    (tmp_path / "a").mkdir()
    with pytest.raises(SystemCallError, match="invalid argument"):
        quick.status(str(tmp_path), text)
