"""Terminals of the tests' own, and what runs on them."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time

from tests.integration.support import Runtime


def read_until(fd: int, wanted: bytes, seconds: float = 10.0) -> bytes:
    """What a terminal says up to the wanted words (carriage returns left out); AssertionError when they don't come."""
    text, deadline = b"", time.monotonic() + seconds
    while wanted not in text:
        ready, _, _ = select.select([fd], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"{wanted!r} did not come, but {text!r}"
        try:
            more = os.read(fd, 4096)
        except OSError:  # EIO: every slave is closed
            more = b""
        assert more, f"{wanted!r} did not come, but {text!r}"
        text += more.replace(b"\r", b"")
    return text


def set_size(fd: int, height: int, width: int) -> None:
    """TIOCSWINSZ."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


def size(fd: int) -> tuple[int, int]:
    """Height and width."""
    height, width, _, _ = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
    return height, width


class Foreground:
    """A command of the runtime on a terminal of the test's own."""

    def __init__(self, runtime: Runtime, *argv: str) -> None:
        self.master, slave = pty.openpty()
        set_size(slave, 20, 70)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.argv = [runtime.program, "--root", str(runtime.root), *argv]
        self.process = subprocess.Popen(self.argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)

    def close(self) -> None:
        """Kill it, if it is there still."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)
