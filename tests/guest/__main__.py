"""`python -m tests.guest COMMAND…`: runs a shell command in the guest, in the checkout, built, as it is now.

    .venv/bin/python -m tests.guest 'uname -r; findmnt /sys/fs/cgroup'
    .venv/bin/python -m tests.guest '.venv/bin/python -m pytest tests/integration/test_smoke.py'
    .venv/bin/python -m tests.guest --user 'id; systemctl --user status'

The guest is a fresh one each time: Debian under qemu, cgroup v2, systemd, root with all capabilities, and an ordinary
user with a systemd of its own; no network. Exit status: the command's; 69 where this machine can't run it, 70 where
the guest cannot be made or does not boot, 124 late.
"""

from __future__ import annotations

import argparse
import shlex
import sys

from tests.guest import machine


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.guest", description=str(__doc__).split("\n")[0])
    parser.add_argument("--user", action="store_true", help="as the ordinary user, not as root")
    parser.add_argument(
        "--boot", choices=machine.BOOTS, default="v2", help="how systemd mounts the cgroups, or SELinux (v2)"
    )
    parser.add_argument("--seconds", type=float, default=600.0, help="what it may take once booted (600)")
    parser.add_argument("command")
    options = parser.parse_args()
    job = f"exec as-user sh -c {shlex.quote(options.command)}" if options.user else options.command

    def show(data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    try:
        return machine.run(job, show, options.seconds, options.boot)
    except machine.Unavailable as reason:
        print(f"no guest: {reason}", file=sys.stderr)
        return 69
    except (machine.Broken, machine.Late) as reason:
        print(reason, file=sys.stderr)
        return 124 if isinstance(reason, machine.Late) else 70


sys.exit(main())
