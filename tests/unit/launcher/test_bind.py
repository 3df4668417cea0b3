"""What bind.py makes of the shim's declarations: as much as cffi does."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("ocirt.linux._kernel", reason="the shim is not built: make build")

from ocirt.launcher import bind
from ocirt.linux import _kernel


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("int fd", "i"),
        ("uint64_t flags", "i"),
        ("const char *path", "r"),
        ("const void *data", "r"),
        ("void *data", "w"),
        ("int *ret_fd", "w"),
        ("int ret_fds[2]", "w"),
        ("struct message *ret_message", "w"),
        ("const int *fds", "v"),
    ],
)
def test_the_declaration_says_what_an_argument_is(declared: str, kind: str) -> None:
    assert bind.kind(declared) == kind


def test_numbers_are_cast_to_what_is_declared_and_memory_is_passed_as_it_is() -> None:
    text = bind.function("shim_send", ["int socket", "const void *data", "size_t size", "const int *fds"])
    call = "shim_send((int)arguments[0].number, arguments[1].data, (size_t)arguments[2].number, arguments[3].data)"
    assert call in text
    assert '"iriv"'.replace(" ", "") in text


def test_nothing_that_cffi_offers_is_missing() -> None:
    """One that is written in C is declared for both; the frozen interpreter would miss it only when it is called."""
    names = set(re.findall(r'\{ "(\w+)", ', bind.source()))
    assert {name for name in dir(_kernel.lib) if not name.endswith(("_operations", "_members"))} == names


def test_a_function_without_arguments_is_bound_too() -> None:
    assert bind.functions("int shim_subreaper(void);\nint shim_poll(int fd, int timeout_ms);") == {
        "shim_subreaper": [],
        "shim_poll": ["int fd", "int timeout_ms"],
    }
