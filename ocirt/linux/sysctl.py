"""Names of kernel parameters: their two spellings, and the namespace that each belongs to. sysctl(8), sysctl.d(5)."""

from __future__ import annotations

# proc_sys(5); the parameters of the IPC namespace, ipc_namespaces(7)
IPC = {
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
}
UTS = {"kernel/domainname", "kernel/hostname"}


def path(key: str) -> str:
    """The file of a parameter, relative to /proc/sys; "" where the key names none.

    The first separator decides: in "net.ipv4.conf.eth0/1.forwarding" dots separate and a slash stands for a dot;
    in "net/ipv4/conf/eth0.1/forwarding" it is the other way about. No component is empty, "." or "..", so that the
    path stays where it begins.
    """
    dot, slash = key.find("."), key.find("/")
    if dot >= 0 and (slash < 0 or dot < slash):
        parts = [part.replace("/", ".") for part in key.split(".")]
    else:
        parts = key.split("/")
    if len(parts) < 2 or any(part in ("", ".", "..") for part in parts):
        return ""
    return "/".join(parts)


def namespace(file: str) -> str:
    """The type of namespace that a file of /proc/sys belongs to; "" for the host's alone."""
    if file.startswith("net/"):
        return "network"
    if file in IPC or file.startswith("fs/mqueue/"):
        return "ipc"
    return "uts" if file in UTS else ""
