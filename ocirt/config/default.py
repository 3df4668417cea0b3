"""The config.json that `ocirt spec` writes: a shell in a root filesystem, to be edited. Cold.

It asks for every namespace that isolates and for no capability beyond a few; the inheritable and ambient sets stay
out, since a non-empty inheritable set gives files of the image capabilities (CVE-2022-24769).
"""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.config.types import Config, Linux, Mount, NamespaceType

VERSION = "1.3.0"  # of the specification that this runtime follows
CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")

MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def document(rootless: bool = False) -> Config:
    """The document. `rootless`: for the user who runs this, mapped to root in a user namespace."""
    kinds: tuple[NamespaceType, ...] = ("cgroup", "ipc", "mount", "network", "pid", "uts")
    linux: Linux = {
        "namespaces": [{"type": kind} for kind in kinds],
        "maskedPaths": list(MASKED),
        "readonlyPaths": list(READONLY),
    }
    if rootless:
        # the network namespace stays: without one, a mount of sysfs needs the host's
        linux["namespaces"].append({"type": "user"})
        linux["uidMappings"] = [{"containerID": 0, "hostID": posix.geteuid(), "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": posix.getegid(), "size": 1}]
    else:
        # a fresh bundle gets no device but the default ones
        linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    return {
        "ociVersion": VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": list(CAPABILITIES),
                "effective": list(CAPABILITIES),
                "permitted": list(CAPABILITIES),
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "ocirt",
        "mounts": mounts(rootless),
        "linux": linux,
    }


def mounts(rootless: bool) -> list[Mount]:
    """The filesystems that config-linux.md wants in each container, and /dev, /dev/mqueue and the cgroup's."""
    quiet = ["nosuid", "noexec", "nodev"]
    # devpts refuses a group that the user namespace does not map
    group = [] if rootless else ["gid=5"]
    return [
        mount("/proc", "proc"),
        mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *group),
        mount("/dev/shm", "tmpfs", *quiet, "mode=1777", "size=65536k", source="shm"),  # noqa: S108
        mount("/dev/mqueue", "mqueue", *quiet),
        mount("/sys", "sysfs", *quiet, "ro"),
        mount("/sys/fs/cgroup", "cgroup", *quiet, "relatime", "ro"),
    ]


def mount(destination: str, kind: str, *options: str, source: str = "") -> Mount:
    """One mount, with the type as its source where there is no better name."""
    made: Mount = {"destination": destination, "type": kind, "source": source or kind}
    if options:
        made["options"] = list(options)
    return made
