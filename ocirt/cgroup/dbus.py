"""Method calls, answers and signals of D-Bus, over sd-bus(3) of libsystemd; what they mean is left to systemd.py.

    bus = connect([(address, whether it is a message bus or the other side itself), …])
    cookie = bus.send(target, "ss", "name", "replace")       returns at once
    bus.answer(cookie, deadline)                             waits
    bus.signal(lambda body: …, deadline)                     waits, for one that may have come already

The library is opened here, by name and only when a container asks for the systemd manager: a host without it needs
none. A connection serves one thread. Deadlines are times of time.monotonic(), in seconds.
"""

from __future__ import annotations

import posix
from errno import ECONNREFUSED, EINTR, EINVAL, ENOENT, ETIMEDOUT
from time import monotonic

from ocirt.cgroup.signature import split
from ocirt.errors import OcirtError, SystemCallError, UnsupportedError
from ocirt.linux._systemd import ffi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    # (destination, object path, interface, member)
    Target = tuple[str, str, str, str]

LIBRARY = "libsystemd.so.0"

# Type codes of the D-Bus specification, "Basic types", and what C calls them in sd_bus_message_append_basic(3)
NUMBERS = {
    "y": "uint8_t *", "b": "int *", "n": "int16_t *", "q": "uint16_t *", "i": "int32_t *", "u": "uint32_t *",
    "x": "int64_t *", "t": "uint64_t *", "d": "double *",
}  # fmt: skip
STRINGS = "sog"

# sd_bus_message_open_container(3): the code of a struct and of a dictionary's entry is a letter there
CONTAINERS = {"(": b"r", "{": b"e"}


class BusError(OcirtError):
    """The other side answered with an error; `name` is its D-Bus name."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message or name)
        self.name = name


class Bus:
    """A connection. `broker`: whether it leads to a message bus, which sends only signals that were asked for."""

    __slots__ = ("answers", "broker", "handle", "lib", "signals")

    def __init__(self, lib: Any, handle: Any, broker: bool) -> None:
        self.lib = lib
        self.handle = handle
        self.broker = broker
        self.answers: dict[int, list[Any] | BusError] = {}
        self.signals: list[list[Any]] = []

    def close(self) -> None:
        """Let go of the connection; what was not answered yet is lost."""
        ffi.release(self.handle)

    def send(self, target: Target, signature: str = "", *arguments: Any) -> int:
        """Call a method without waiting; return the cookie to ask for the answer by. Raises SystemCallError."""
        slot = ffi.new("sd_bus_message **")
        words = [word.encode() for word in target]
        self.check(self.lib.sd_bus_message_new_method_call(self.handle, slot, *words), f"call {target[3]}")
        try:
            for code, argument in zip(split(signature), arguments, strict=True):
                self.append(slot[0], code, argument)
            cookie = ffi.new("uint64_t *")
            self.check(self.lib.sd_bus_send(self.handle, slot[0], cookie), f"call {target[3]}")
        finally:
            self.lib.sd_bus_message_unref(slot[0])
        return int(cookie[0])

    def answer(self, cookie: int, deadline: float) -> list[Any]:
        """The values that the call of this cookie returned. Raises BusError, SystemCallError; ETIMEDOUT when late."""
        while cookie not in self.answers:
            self.receive(deadline)
        found = self.answers.pop(cookie)
        if isinstance(found, BusError):
            raise found
        return found

    def call(self, deadline: float, target: Target, signature: str = "", *arguments: Any) -> list[Any]:
        """`send` and `answer` in one."""
        return self.answer(self.send(target, signature, *arguments), deadline)

    def signal(self, wanted: Callable[[list[Any]], bool], deadline: float) -> list[Any]:
        """The body of the first signal, since the connection was made, that is `wanted`. Raises SystemCallError."""
        seen = 0
        while True:
            for body in self.signals[seen:]:
                seen += 1
                if wanted(body):
                    return body
            self.receive(deadline)

    def receive(self, deadline: float) -> None:
        """Take one message, or a step towards one. Raises SystemCallError; ETIMEDOUT when late."""
        slot = ffi.new("sd_bus_message **")
        done = self.check(self.lib.sd_bus_process(self.handle, slot), "read from the bus")
        message = slot[0]
        if message != ffi.NULL:
            try:
                self.take(message)
            finally:
                self.lib.sd_bus_message_unref(message)
        elif not done:
            left = deadline - monotonic()
            if left <= 0:
                raise SystemCallError("wait for an answer on the bus", ETIMEDOUT)
            if (error := self.lib.sd_bus_wait(self.handle, int(left * 1_000_000) + 1)) != -EINTR:
                self.check(error, "wait for the bus")

    def take(self, message: Any) -> None:
        """Put a message where `answer` or `signal` finds it."""
        cookie = ffi.new("uint64_t *")
        if self.lib.sd_bus_message_get_reply_cookie(message, cookie) < 0:
            if self.lib.sd_bus_message_is_signal(message, ffi.NULL, ffi.NULL) > 0:
                self.signals.append(self.body(message))
            return
        error = self.lib.sd_bus_message_get_error(message)
        name = text(error.name) if error != ffi.NULL else ""
        self.answers[int(cookie[0])] = BusError(name, text(error.message)) if name else self.body(message)

    def body(self, message: Any) -> list[Any]:
        """The values of a message, as far as they are numbers, strings or variants of these."""
        found = []
        for code in split(text(self.lib.sd_bus_message_get_signature(message, 1))):
            if code == "v":
                found.append(self.variant(message))
            elif code in NUMBERS or code in STRINGS:
                found.append(self.basic(message, code))
            else:
                break
        return found

    def variant(self, message: Any) -> Any:
        """The value in the variant that comes next."""
        for code in ("s", "o", "t", "u", "b", "i"):  # a wrong guess is -ENXIO and moves nothing
            if self.lib.sd_bus_message_enter_container(message, b"v", code.encode()) > 0:
                value = self.basic(message, code)
                self.lib.sd_bus_message_exit_container(message)
                return value
        raise SystemCallError("read a variant of an unexpected type from the bus", EINVAL)

    def basic(self, message: Any, code: str) -> Any:
        """The number or string that comes next."""
        slot = ffi.new(NUMBERS.get(code, "char **"))
        self.check(self.lib.sd_bus_message_read_basic(message, code.encode(), slot), "read from the bus")
        return slot[0] if code in NUMBERS else text(slot[0])

    def append(self, message: Any, code: str, value: Any) -> None:
        """Add one value of the complete type `code`: a variant is (type, value), a struct a sequence of its members."""
        if code in NUMBERS:
            try:
                pointer = ffi.new(NUMBERS[code], value)
            except OverflowError:
                raise SystemCallError(f"send {value} as a D-Bus number of type {code}", EINVAL) from None
            self.check(self.lib.sd_bus_message_append_basic(message, code.encode(), pointer), f"send {value}")
        elif code in STRINGS:
            pointer = ffi.new("char[]", value.encode("utf-8", "surrogateescape"))
            self.check(self.lib.sd_bus_message_append_basic(message, code.encode(), pointer), f'send "{value}"')
        else:
            self.append_container(message, code, value)

    def append_container(self, message: Any, code: str, value: Any) -> None:
        """`append` of a variant, an array or a struct."""
        if code == "v":
            kind, contents, members = b"v", value[0], [value]
        elif code[0] == "a":
            kind, contents, members = b"a", code[1:], [(code[1:], member) for member in value]
        else:
            kind, contents = CONTAINERS[code[0]], code[1:-1]
            members = list(zip(split(contents), value, strict=True))
        opened = self.lib.sd_bus_message_open_container(message, kind, contents.encode())
        self.check(opened, f'send a value of type "{code}"')
        for member_code, member in members:
            self.append(message, member_code, member)
        self.check(self.lib.sd_bus_message_close_container(message), f'send a value of type "{code}"')

    def check(self, result: int, what: str) -> int:
        """Pass a result on; raise SystemCallError for a negative errno."""
        if result < 0:
            raise SystemCallError(what, -result)
        return result


def connect(addresses: Sequence[tuple[str, bool]]) -> Bus:
    """Connect to the first of (address, whether it is a message bus) where somebody listens.

    Raises UnsupportedError where libsystemd cannot be loaded, or nobody listens.
    """
    try:
        lib = ffi.dlopen(LIBRARY)
    except OSError as error:
        raise UnsupportedError(f"the systemd cgroup manager needs libsystemd: {error}") from None
    refused = ""
    for address, broker in addresses:
        slot = ffi.new("sd_bus **")
        if lib.sd_bus_new(slot) < 0:
            continue
        bus = Bus(lib, ffi.gc(slot[0], lib.sd_bus_close_unref), broker)
        result = lib.sd_bus_set_address(bus.handle, address.encode("utf-8", "surrogateescape"))
        if result >= 0 and broker:
            result = lib.sd_bus_set_bus_client(bus.handle, 1)
        if result >= 0:
            result = lib.sd_bus_start(bus.handle)
        if result >= 0:
            return bus
        bus.close()
        if not refused or -result not in {ENOENT, ECONNREFUSED}:
            refused = f'"{address}": {posix.strerror(-result).lower()}'
    raise UnsupportedError(f"the systemd cgroup manager needs a running systemd: cannot connect to {refused}")


def text(pointer: Any) -> str:
    """A C string as text; "" for NULL."""
    return "" if pointer == ffi.NULL else str(ffi.string(pointer).decode("utf-8", "replace"))
