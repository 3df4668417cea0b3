"""Moves a network device of the host into the container; loaded where a config asks for it.

The order, and why:
    look           a name that is taken is an error before anything has changed
    addresses      read first: the kernel drops them when the device goes down or moves
    down, rename   to a name that nobody has, so that the move itself cannot meet a name that is taken
    move           the index may change: the device is found again by that name
    rename         to the wanted name, where the kernel fills in a %d
    addresses, up
A failure on the way takes the device back.
"""

from __future__ import annotations

import posix
from errno import EEXIST

from ocirt.errors import SystemCallError
from ocirt.linux import calls
from ocirt.linux.netlink import Netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.linux.netlink import Link


def move(pid: int, host: str, name: str) -> None:
    """Move the device `host` into the network namespace of process `pid`, as `name`. Raises SystemCallError.

    Source: config-linux.md "Network Devices".
    """
    with (
        calls.opened(f"/proc/{pid}/ns/net") as there,
        calls.opened("/proc/self/ns/net") as here,
        Netlink() as outside,
        Netlink(calls.netlink_socket(there.number).take()) as inside,
    ):
        link = outside.link(host)
        if "%d" not in name and inside.has(name) and not same(there, here):
            raise SystemCallError(f"the container has a network device {name}", EEXIST)
        journey = Journey(outside, inside, link)
        try:
            journey.go(there.number, name)
        except SystemCallError:
            journey.back(here.number)
            raise


class Journey:
    """One device on its way. `temporary` is a name that no other device has, `there` its index once it has arrived."""

    __slots__ = ("addresses", "inside", "link", "outside", "temporary", "there")

    def __init__(self, outside: Netlink, inside: Netlink, link: Link) -> None:
        self.outside = outside
        self.inside = inside
        self.link = link
        self.temporary = "oci" + posix.urandom(6).hex()
        self.there = 0
        self.addresses = outside.addresses(link.index)

    def go(self, namespace: int, name: str) -> None:
        """There, with its addresses, and up."""
        self.outside.set_up(self.link.index, False)
        self.outside.rename(self.link.index, self.temporary)
        self.outside.move(self.link.index, namespace)
        self.there = self.inside.link(self.temporary).index
        self.inside.rename(self.there, name)
        self.settle(self.inside, self.there)
        self.inside.set_up(self.there, True)

    def settle(self, where: Netlink, index: int) -> None:
        """Give it its addresses again."""
        for address in self.addresses:
            where.add_address(index, address)

    def back(self, namespace: int) -> None:
        """Undo what has been done so far; what cannot be undone does not hide the error that led here."""
        try:
            if self.there:
                self.inside.set_up(self.there, False)
                self.inside.rename(self.there, self.temporary)
                self.inside.move(self.there, namespace)
            if self.outside.has(self.temporary):
                self.outside.rename(self.outside.link(self.temporary).index, self.link.name)
            index = self.outside.link(self.link.name).index
            self.settle(self.outside, index)
            self.outside.set_up(index, self.link.up)
        except SystemCallError:
            pass


def same(one: calls.Fd, other: calls.Fd) -> bool:
    """True where both are the same namespace: the container shares the host's by path."""
    first, second = posix.fstat(one.number), posix.fstat(other.number)
    return (first.st_ino, first.st_dev) == (second.st_ino, second.st_dev)
