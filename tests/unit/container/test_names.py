"""Names that the launcher and Python read alike: signals, the default state root."""

from __future__ import annotations

import os
import signal

import pytest

from ocirt.container.kill import signal_number
from ocirt.errors import UsageError
from ocirt.linux import calls


@pytest.mark.parametrize("number", range(1, 32))
def test_every_name_means_its_number_with_and_without_sig_in_any_case(number: int) -> None:
    name = signal.Signals(number).name
    assert {signal_number(text) for text in (name, name[3:], name.lower(), str(number))} == {number}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0), ("64", 64), ("09", 9), ("IOT", 6), ("CLD", 17), ("POLL", 29), ("RTMIN", 34), ("SIGRTMIN+3", 37),
        ("RTMAX", 64), ("RTMAX-14", 50), ("rtmin+30", 64),
    ],
)  # fmt: skip
def test_other_spellings(text: str, number: int) -> None:
    assert signal_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIG",
        "NOPE",
        "65",
        "-1",
        "+9",
        " 9",
        "9 ",
        "1e1",
        "RTMIN+31",
        "RTMAX+1",
        "RTMIN-1",
        "RTMIN+",
        "9\0",
        "\udc80",
    ],
)
def test_what_is_no_signal_is_a_usage_error_that_names_it(text: str) -> None:
    with pytest.raises(UsageError, match="unknown signal"):
        signal_number(text)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: without it the runtime directory always counts")
@pytest.mark.parametrize("value", [None, "", "/run/user/0", "relative"])
def test_the_root_user_of_the_host_has_run_ocirt_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("USER", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    if value is not None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", value)
    assert calls.default_root() == "/run/ocirt"


def in_child(prepare) -> str:
    """default_root in a child that has called `prepare`."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            prepare()
            os.write(writer, calls.default_root().encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader) as file:
        return file.read()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
@pytest.mark.parametrize(
    ("runtime_dir", "expected"),
    [("/run/user/7", "/run/user/7/ocirt"), ("", "/run/ocirt"), ("relative", "/run/ocirt"), (None, "/run/ocirt")],
)
def test_another_user_has_a_root_in_the_runtime_directory(runtime_dir: str | None, expected: str) -> None:
    def become_user() -> None:
        os.environ.pop("XDG_RUNTIME_DIR", None)
        if runtime_dir is not None:
            os.environ["XDG_RUNTIME_DIR"] = runtime_dir
        os.setresuid(7, 7, 7)

    assert in_child(become_user) == expected


@pytest.mark.parametrize(
    ("user", "expected"), [(None, "/run/user/7/ocirt"), ("root", "/run/ocirt"), ("eve", "/run/user/7/ocirt")]
)
def test_root_of_a_user_namespace_is_rootless_unless_it_is_at_home_there(user: str | None, expected: str) -> None:
    """Rootless podman calls like this, with XDG_RUNTIME_DIR and no USER."""
    import ctypes

    def enter_namespace() -> None:
        os.environ["XDG_RUNTIME_DIR"] = "/run/user/7"
        os.environ.pop("USER", None)
        if user:
            os.environ["USER"] = user
        uid = os.geteuid()
        if ctypes.CDLL(None).unshare(0x10000000) != 0:
            os.environ["XDG_RUNTIME_DIR"] = "/no/user/namespaces"
            return
        with open("/proc/self/uid_map", "w") as file:
            file.write(f"0 {uid} 1")

    found = in_child(enter_namespace)
    if "/no/user" in found:
        pytest.skip("user namespaces can't be made here")
    assert found == expected
