"""System calls that Python lacks, one typed function each; leaves every decision to its callers.

All functions raise SystemCallError with the kernel's errno. Descriptors that they return are close-on-exec and the
caller's to close.
"""

from __future__ import annotations

import posix
from _struct import Struct
from errno import EINTR, ETIMEDOUT
from time import monotonic

from ocirt.errors import SystemCallError, failed
from ocirt.linux._kernel import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


INT = Struct("i")

# Every signal but the two that the C library keeps for its threads (signal(7)).
SIGNALS = (*range(1, 32), *range(34, 65))


class Fd:
    """Owns a file descriptor for the length of a `with` block, or until `take` hands it over."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __enter__(self) -> Fd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it now; a second call does nothing."""
        if self.number >= 0:
            posix.close(self.take())

    def take(self) -> int:
        """Hand the descriptor over: it is no longer closed here."""
        number, self.number = self.number, -1
        return number


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise SystemCallError(what, -result)
    return result


def number_at(memory: bytearray, offset: int = 0) -> int:
    """A number that the shim has written; what it writes to are buffers of ours, which every binding takes."""
    return int(INT.unpack_from(memory, offset)[0])


def raw(path: str) -> bytes:
    """As the kernel takes it: Python writes bytes that are not UTF-8 as surrogates (PEP 383)."""
    return path.encode("utf-8", "surrogateescape")


def opened(path: str, flags: int = posix.O_RDONLY) -> Fd:
    """A file or directory of the host, by open(2) with `flags`."""
    try:
        return Fd(posix.open(path, flags | posix.O_CLOEXEC))
    except OSError as error:
        raise failed(f'open "{path}"', error) from None


def sealed_memfd(name: str, data: bytes) -> Fd:
    """A memfd with `data`, sealed against every change, at its start (memfd_create(2), F_ADD_SEALS of fcntl(2))."""
    return Fd(_checked(lib.shim_sealed_memfd(name.encode(), data, len(data)), f"memfd for {name}"))


def zeros(directory: int, name: str, size: int) -> Fd:
    """A new file of `size` zero bytes in the directory, or a memfd where that is -1 (posix_fallocate(3))."""
    return Fd(_checked(lib.shim_zeros(directory, name.encode(), size), f'make the file "{name}"'))


def socketpair() -> tuple[Fd, Fd]:
    """Two connected SOCK_SEQPACKET sockets (socketpair(2))."""
    fds = bytearray(2 * INT.size)
    _checked(lib.shim_socketpair(ffi.from_buffer("int[]", fds)), "socketpair")
    return Fd(number_at(fds)), Fd(number_at(fds, INT.size))


def send(socket: int, data: bytes, fds: Sequence[int] = ()) -> None:
    """One message with descriptors (sendmsg(2), SCM_RIGHTS of unix(7))."""
    _checked(lib.shim_send(socket, data, len(data), fds, len(fds)), "sendmsg")


def wait_readable(fd: int, timeout_ms: int = -1) -> bool:
    """Wait until `fd` can be read; False after `timeout_ms` milliseconds (poll(2); -1: wait for ever).

    A signal's handler runs meanwhile, and what it raises ends the wait. select.poll would wait on where the handler is
    not one that the interpreter knows.
    """
    end = monotonic() + timeout_ms / 1000
    left = timeout_ms
    while (ready := lib.shim_poll(fd, left)) == -EINTR:
        if timeout_ms >= 0:
            left = max(0, int((end - monotonic()) * 1000))
    return _checked(ready, "poll") > 0


def receive(socket: int, size: int, timeout_ms: int = -1) -> tuple[bytes, int]:
    """One message and the descriptor that came with it, or -1; b"" at end of file (recvmsg(2)).

    Raises SystemCallError with ETIMEDOUT after `timeout_ms` milliseconds (-1: wait for ever).
    """
    buffer = bytearray(size)
    fd = bytearray(INT.size)
    if not wait_readable(socket, timeout_ms):
        raise SystemCallError("recvmsg", ETIMEDOUT)
    to, fd_to = ffi.from_buffer(buffer), ffi.from_buffer("int[]", fd)
    count = _checked(lib.shim_receive(socket, to, size, fd_to), "recvmsg")
    return bytes(buffer[:count]), number_at(fd)


def open_tree(path: str, recursive: bool) -> Fd:
    """A detached clone of the mount at `path`, with those below it when `recursive` (open_tree(2), OPEN_TREE_CLONE)."""
    return Fd(_checked(lib.shim_open_tree(raw(path), recursive), f'open_tree "{path}"'))


def user_namespace() -> int:
    """The pid of a child that keeps a new user namespace until it is killed (clone(2), CLONE_NEWUSER)."""
    return _checked(lib.shim_user_namespace(), "make a user namespace")


def netlink_socket(namespace: int) -> Fd:
    """A NETLINK_ROUTE socket of the network namespace with that descriptor (netlink(7), setns(2))."""
    return Fd(_checked(lib.shim_netlink_socket(namespace), "open a netlink socket in a network namespace"))


def knows_seccomp_flags(flags: int) -> bool:
    """True where the kernel knows these SECCOMP_FILTER_FLAG_… (seccomp(2))."""
    return bool(lib.shim_seccomp_flags(flags))


def idmap(tree: int, namespace: int, recursive: bool) -> None:
    """Map the ids of a detached tree as the user namespace does (mount_setattr(2), MOUNT_ATTR_IDMAP, Linux 5.12)."""
    _checked(lib.shim_idmap(tree, namespace, recursive), "mount_setattr MOUNT_ATTR_IDMAP")


def sched_setattr(pid: int, attributes: bytes) -> None:
    """Scheduling policy and parameters of a process, as struct sched_attr (sched_setattr(2))."""
    _checked(lib.shim_sched_setattr(pid, attributes), "sched_setattr")


def ioprio_set(pid: int, value: int) -> None:
    """I/O class and priority of a process (ioprio_set(2))."""
    _checked(lib.shim_ioprio_set(pid, value), "ioprio_set")


def connect(path: str, what: str) -> Fd:
    """A stream connected to the unix socket at `path`; `what` it is, for the error (connect(2), unix(7))."""
    return Fd(_checked(lib.shim_connect(raw(path)), f'connect to {what} "{path}"'))


def listen(directory: int, name: str) -> Fd:
    """A unix stream socket listening at `name` below the directory's fd (bind(2), listen(2))."""
    return Fd(_checked(lib.shim_listen(directory, name.encode()), f"listen at {name}"))


def signalfd(signals: Sequence[int]) -> Fd:
    """Block `signals` in this thread and read them from a descriptor instead (signalfd(2))."""
    mask = 0
    for number in signals:
        mask |= 1 << (number - 1)
    return Fd(_checked(lib.shim_signalfd(mask), "signalfd"))


def read_signal(fd: Fd) -> int:
    """The number of the next signal that waits, 0 where none does (signalfd(2))."""
    return _checked(lib.shim_read_signal(fd.number), "read from signalfd")


def pidfd_send_signal(pidfd: int, number: int) -> None:
    """Send a signal to the process of a pidfd (pidfd_send_signal(2)). Raises OSError, as signal.pidfd_send_signal.

    That module is not imported on the hot path: it cannot be in an interpreter that the launcher has started half.
    """
    result = lib.shim_pidfd_send_signal(pidfd, number)
    if result < 0:
        raise OSError(-result, posix.strerror(-result))


def become_subreaper() -> None:
    """Adopt orphaned descendants from now on (PR_SET_CHILD_SUBREAPER of prctl(2))."""
    _checked(lib.shim_subreaper(), "become a subreaper")


class Raw:
    """Puts `fd`, where it is a terminal, into raw mode for the length of a `with` block (termios(3))."""

    __slots__ = ("fd", "saved")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.saved = ffi.from_buffer(bytearray(128))

    def __enter__(self) -> Raw:
        if self.fd >= 0 and posix.isatty(self.fd):
            _checked(lib.shim_terminal_raw(self.fd, self.saved, 128), "set the terminal to raw mode")
        else:
            self.fd = -1
        return self

    def __exit__(self, *_: object) -> None:
        if self.fd >= 0:
            # The terminal may be gone by now (hang-up): there is nothing to restore then.
            lib.shim_terminal_restore(self.fd, self.saved, 128)


def copy_terminal_size(source: int, target: int) -> bool:
    """Give terminal `target` the size of terminal `source` (ioctl_tty(2)); False where one of them is none."""
    return bool(lib.shim_terminal_copy_size(source, target) == 0)


def keep_newlines(terminal: int) -> None:
    """Have a terminal put no carriage return ahead of a newline (termios(3), ONLCR)."""
    _checked(lib.shim_terminal_keep_newlines(terminal), "set the terminal's mode")


def default_root() -> str:
    """The state root where --root does not say: /run/ocirt, or $XDG_RUNTIME_DIR/ocirt without privileges."""
    buffer = bytearray(4096)
    lib.default_root(ffi.from_buffer(buffer), len(buffer))
    return buffer.partition(b"\0")[0].decode()


def load_device_program(code: bytes) -> Fd:
    """A program of BPF_PROG_TYPE_CGROUP_DEVICE (bpf(2)). EPERM without CAP_BPF and CAP_SYS_ADMIN."""
    return Fd(_checked(lib.shim_bpf_load_device(code, len(code)), "load an eBPF program with the device rules"))


def device_programs(cgroup: Fd) -> list[int]:
    """The ids of the device programs of this very cgroup (BPF_PROG_QUERY of bpf(2)); it can have 64."""
    ids = bytearray(64 * INT.size)
    to = ffi.from_buffer("uint32_t[]", ids)
    count = _checked(lib.shim_bpf_query_device(cgroup.number, to, 64), "list the device programs of the cgroup")
    return [number_at(ids, index * INT.size) for index in range(count)]


def open_program(number: int) -> Fd:
    """The program with this id (BPF_PROG_GET_FD_BY_ID of bpf(2))."""
    return Fd(_checked(lib.shim_bpf_open(number), "open a device program of the cgroup"))


def attach_device_program(cgroup: Fd, program: Fd, replaced: Fd | None) -> None:
    """Add a device program to those of the cgroup, or put it in the place of one (BPF_F_REPLACE of bpf(2))."""
    place = replaced.number if replaced else -1
    _checked(lib.shim_bpf_attach_device(cgroup.number, program.number, place), "attach a device program to the cgroup")


def detach_device_program(cgroup: Fd, program: Fd) -> None:
    """Take a device program off the cgroup (BPF_PROG_DETACH of bpf(2))."""
    _checked(lib.shim_bpf_detach_device(cgroup.number, program.number), "detach a device program from the cgroup")
