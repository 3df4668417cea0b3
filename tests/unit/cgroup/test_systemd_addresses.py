"""Where the systemd manager is looked for."""

from __future__ import annotations

from ocirt.cgroup.systemd import addresses, own_uid, unix

PRIVATE = ("unix:path=/run/systemd/private", False)


def test_the_system_manager_is_asked_by_its_own_socket_first() -> None:
    assert addresses(False, {}) == [PRIVATE, ("unix:path=/run/dbus/system_bus_socket", True)]
    assert addresses(False, {b"DBUS_SYSTEM_BUS_ADDRESS": b"unix:path=/x"}) == [PRIVATE, ("unix:path=/x", True)]


def test_the_user_manager_is_found_without_a_bus_address() -> None:
    found = addresses(True, {b"XDG_RUNTIME_DIR": b"/run/user/7"})
    assert found == [("unix:path=/run/user/7/systemd/private", False), ("unix:path=/run/user/7/bus", True)]
    assert addresses(True, {b"XDG_RUNTIME_DIR": b""})[1] == (f"unix:path=/run/user/{own_uid()}/bus", True)
    named = addresses(True, {b"XDG_RUNTIME_DIR": b"/r", b"DBUS_SESSION_BUS_ADDRESS": b"unix:abstract=x"})
    assert named[1] == ("unix:abstract=x", True)


def test_an_address_is_escaped() -> None:
    assert unix("/run/a b,c=é") == "unix:path=/run/a%20b%2cc%3d%c3%a9"
