"""Paths of a container by their text alone; no file is looked at, so that symlinks are left to the init."""

from __future__ import annotations

# CVE-2019-16884: a mount inside /proc can redirect what the runtime writes there. These are what lxcfs and CRIU need.
PROC_MOUNTS = {
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
}


def normal(path: str) -> str:
    """A path of the container, absolute and without "//", "." and ".."; a relative one starts at "/"."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)
