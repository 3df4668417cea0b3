"""Network devices and their addresses by rtnetlink(7); leaves which and where to container/net_devices.py. Cold.

A socket belongs to the network namespace that it was made in, whoever speaks through it.
"""

from __future__ import annotations

import socket
from _struct import Struct
from errno import EEXIST, ENODEV, ENXIO

from ocirt.errors import SystemCallError, failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

RTM_NEWLINK, RTM_GETLINK, RTM_SETLINK = 16, 18, 19
RTM_NEWADDR, RTM_GETADDR = 20, 22
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_DUMP, NLM_F_CREATE = 0x1, 0x4, 0x200, 0x300, 0x400
IFLA_IFNAME, IFLA_NET_NS_FD = 3, 28
IFF_UP = 1

# Attributes of an address that go with it to another device: not its label, which begins with the device's name, and
# not its lifetime, which is for ever
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS, IFA_RT_PRIORITY, IFA_PROTO = 1, 2, 4, 8, 9, 11
KEPT = (IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_RT_PRIORITY, IFA_PROTO)
IFA_F_PERMANENT = 0x80
# What an administrator says of an address: NODAD, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN
IFA_F_SETTINGS = 0x02 | 0x10 | 0x100 | 0x200 | 0x400
RT_SCOPE_UNIVERSE = 0

HEADER = Struct("=IHHII")  # length, type, flags, sequence, port
LINK = Struct("=BxHiII")  # family, hardware type, index, flags, change
ADDRESS = Struct("=BBBBI")  # family, prefix length, flags, scope, index
ATTRIBUTE = Struct("=HH")  # length, type
NUMBER = Struct("=I")
ERROR = Struct("=i")
BUFFER = 1 << 17
KERNEL = 0  # its port id


class Link:
    """A network device: its index, its name, and whether it is up."""

    __slots__ = ("index", "name", "up")

    def __init__(self, index: int, name: str, up: bool) -> None:
        self.index = index
        self.name = name
        self.up = up


class Netlink:
    """A NETLINK_ROUTE socket, of this process's network namespace or the one where `fd` was made. Used as a context.

    All methods raise SystemCallError with the kernel's errno.
    """

    __slots__ = ("_sequence", "_socket")

    def __init__(self, fd: int = -1) -> None:
        try:
            if fd < 0:
                self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            else:
                self._socket = socket.socket(fileno=fd)
            self._socket.bind((0, 0))
        except OSError as error:
            raise failed("open a netlink socket", error) from None
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def link(self, name: str) -> Link:
        """The device of that name; ENODEV where there is none."""
        body = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + attribute(IFLA_IFNAME, text(name))
        for kind, answer in self._ask(RTM_GETLINK, 0, body, f"find the network device {name}"):
            if kind == RTM_NEWLINK:
                _, _, index, flags, _ = LINK.unpack_from(answer)
                return Link(index, name, bool(flags & IFF_UP))
        raise SystemCallError(f"find the network device {name}", ENODEV)

    def has(self, name: str) -> bool:
        """True where there is a device of that name."""
        try:
            self.link(name)
        except SystemCallError as error:
            if error.errno != ENODEV:
                raise
            return False
        return True

    def set_up(self, index: int, up: bool) -> None:
        """Bring a device up or down."""
        self._change(index, IFF_UP if up else 0, IFF_UP, b"", "bring the network device up or down")

    def rename(self, index: int, name: str) -> None:
        """Rename a device, which must be down; a "%d" becomes the first number that is free."""
        self._change(index, 0, 0, attribute(IFLA_IFNAME, text(name)), f"rename the network device to {name}")

    def move(self, index: int, namespace: int) -> None:
        """Move a device into the network namespace of that descriptor."""
        self._change(index, 0, 0, attribute(IFLA_NET_NS_FD, NUMBER.pack(namespace)), "move the network device")

    def addresses(self, index: int) -> list[bytes]:
        """The permanent addresses of global scope, in the kernel's order, as `add_address` takes them."""
        found = []
        body = ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        for kind, answer in self._ask(RTM_GETADDR, NLM_F_DUMP, body, "list addresses"):
            family, prefix, flags, scope, of = ADDRESS.unpack_from(answer)
            values = dict(attributes(answer[ADDRESS.size :]))
            if IFA_FLAGS in values:
                (flags,) = NUMBER.unpack(values[IFA_FLAGS])
            if kind != RTM_NEWADDR or of != index or scope != RT_SCOPE_UNIVERSE or not flags & IFA_F_PERMANENT:
                continue
            kept = [attribute(number, values[number]) for number in KEPT if number in values]
            kept.append(attribute(IFA_FLAGS, NUMBER.pack(flags & IFA_F_SETTINGS)))
            found.append(ADDRESS.pack(family, prefix, 0, scope, 0) + b"".join(kept))
        return found

    def add_address(self, index: int, address: bytes) -> None:
        """Give a device one of `addresses`; that it has it already is no error."""
        body = address[: ADDRESS.size - NUMBER.size] + NUMBER.pack(index) + address[ADDRESS.size :]
        try:
            self._do(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body, "add an address")
        except SystemCallError as error:
            if error.errno != EEXIST:
                raise

    def _change(self, index: int, flags: int, change: int, more: bytes, what: str) -> None:
        self._do(RTM_SETLINK, 0, LINK.pack(socket.AF_UNSPEC, 0, index, flags, change) + more, what)

    def _do(self, kind: int, flags: int, body: bytes, what: str) -> None:
        for _ in self._ask(kind, NLM_F_ACK | flags, body, what):
            pass

    def _ask(self, kind: int, flags: int, body: bytes, what: str) -> Iterator[tuple[int, bytes]]:
        """Send a request; the answers as (type, body) up to the last."""
        self._sequence += 1
        head = HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST | flags, self._sequence, 0)
        try:
            self._socket.send(head + body)
            while True:
                received, (port, _) = self._socket.recvfrom(BUFFER)
                if port != KERNEL:
                    continue  # who has CAP_NET_ADMIN in the namespace can write to us
                for answer, data in messages(received):
                    if answer == NLMSG_ERROR:
                        check(-ERROR.unpack_from(data)[0], what)
                        return
                    if answer == NLMSG_DONE:
                        return
                    yield answer, data
                if not flags & (NLM_F_DUMP | NLM_F_ACK):
                    return
        except OSError as error:
            raise failed(what, error) from None


def check(number: int, what: str) -> None:
    """Raise the error of an answer; ENXIO is how old kernels say ENODEV."""
    if number:
        raise SystemCallError(what, ENODEV if number == ENXIO else number)


def text(name: str) -> bytes:
    """A name as an attribute's value."""
    return name.encode("utf-8", "surrogateescape") + b"\0"


def attribute(kind: int, value: bytes) -> bytes:
    """A struct rtattr with its value, padded to four bytes."""
    length = ATTRIBUTE.size + len(value)
    return ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in a body, (type, value)."""
    while len(data) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(data)
        if length < ATTRIBUTE.size:
            return
        yield kind, data[ATTRIBUTE.size : length]
        data = data[length + -length % 4 :]


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The messages in what one recv(2) gave, (type, body)."""
    while len(data) >= HEADER.size:
        length, kind, _, _, _ = HEADER.unpack_from(data)
        if length < HEADER.size:
            return
        yield kind, data[HEADER.size : length]
        data = data[length + -length % 4 :]
