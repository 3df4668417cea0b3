"""What the process may do: capabilities, seccomp, no_new_privs, the labels of AppArmor and SELinux → operations."""

from __future__ import annotations

from errno import ENOENT

from ocirt.errors import UnsupportedError
from ocirt.linux.consts import CAPABILITIES, SLOT_REPORT
from ocirt.plan import holes, ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.plan.context import Context
    from ocirt.plan.ops import Op

SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
POINTER = "/process/capabilities"
SECCOMP = "/linux/seccomp"


# ---- capabilities ----------------------------------------------------------------------------------------------------


def bounding(c: Context) -> list[Op]:
    """While CAP_SETPCAP is there."""
    return [ops.bounding(f"{POINTER}/bounding", masks(c)["bounding"])] if c.process else []


def capabilities(c: Context) -> list[Op]:
    """After the ids: changing them would clear the sets again."""
    if not c.process:
        return []
    found = masks(c)
    return [ops.caps(POINTER, found["effective"], found["permitted"], found["inheritable"], found["ambient"])]


def masks(c: Context) -> dict[str, int]:
    """The five sets as bits; one that is missing is empty. What cannot be granted is left out.

    capabilities(7): effective is within permitted, ambient within permitted and inheritable.
    """
    known = grantable(c)
    listed = c.process.get("capabilities") or {}
    found = {}
    for name in SETS:
        mask = 0
        for capability in listed.get(name) or ():
            mask |= 1 << CAPABILITIES[capability] if capability in CAPABILITIES else 0
        found[name] = mask & known
    found["effective"] &= found["permitted"]
    found["ambient"] &= found["permitted"] & found["inheritable"]
    return found


def grantable(c: Context) -> int:
    """The capabilities that the process can hold: all that the kernel knows in a user namespace, else the runtime's."""
    known: int = (1 << c.facts.last_cap + 1) - 1
    return known if "user" in c.namespaces else known & c.facts.capabilities


def check_capabilities(c: Context) -> list[Op]:
    """Warn, once a name, of capabilities that cannot be granted (config.md: a warning, not a failure)."""
    listed = c.process.get("capabilities") or {}
    names = dict.fromkeys(name for kind in SETS for name in listed.get(kind) or ())
    known = grantable(c)
    for name in names:
        if name not in CAPABILITIES or CAPABILITIES[name] > c.facts.last_cap:
            question = f'; did you mean "CAP_{name}"?' if f"CAP_{name}" in CAPABILITIES else ""
            c.warnings.append(f'{POINTER}: the kernel knows no capability "{name}", it is ignored{question}')
        elif not known >> CAPABILITIES[name] & 1:
            c.warnings.append(f"{POINTER}: {name} cannot be granted, the runtime does not have it")
    within = {"effective": ("permitted",), "ambient": ("permitted", "inheritable")}
    for kind, others in within.items():
        for name in listed.get(kind) or ():
            if name in CAPABILITIES and not all(name in (listed.get(other) or ()) for other in others):
                c.warnings.append(f"{POINTER}/{kind}: {name} is not in {' and '.join(others)} too, it is ignored")
    return []


# ---- seccomp and no_new_privs ----------------------------------------------------------------------------------------


def listener(c: Context) -> list[Op]:
    """The agent of a filter that notifies: the runtime connects to it. Without such an action the path is ignored."""
    profile = c.linux.get("seccomp")
    if not profile or not c.process:
        return []
    from ocirt.linux.notify import notifies

    if not notifies(profile):
        return []
    from ocirt.plan import host_ops

    slots = (c.slot(), c.slot())
    c.listener = slots
    metadata = profile.get("listenerMetadata")
    status = "running" if c.launch.start == "exec" else "creating"
    pointer = f"{SECCOMP}/listenerPath"
    c.errands.append(
        host_ops.seccomp_listener(
            pointer, profile["listenerPath"], metadata or "", int(metadata is not None), *slots, status
        )
    )
    return []


def notifying_seccomp(c: Context) -> list[Op]:
    """A filter that notifies, with no_new_privs, while the runtime is there to hear that the agent was not reached.

    And before the wait for `start`: an agent that serves one connection after the other is not kept waiting.
    """
    if not (c.listener and c.process.get("noNewPrivileges")):
        return []
    return [ops.no_new_privs("/process/noNewPrivileges"), *_seccomp(c)]


def report_file(c: Context) -> list[Op]:
    """A filter may refuse the call that tells why the process was not executed; memory takes none."""
    return [ops.report_file(SECCOMP, SLOT_REPORT)] if c.program is not None and c.process else []


def no_new_privileges(c: Context) -> list[Op]:
    """Ahead of the startContainer hooks, whose programs are the image's."""
    wanted = c.process.get("noNewPrivileges") and not c.listener
    return [ops.no_new_privs("/process/noNewPrivileges")] if wanted else []


def early_seccomp(c: Context) -> list[Op]:
    """Without no_new_privs a filter takes CAP_SYS_ADMIN, which goes with the ids."""
    return [] if c.process.get("noNewPrivileges") else _seccomp(c)


def late_seccomp(c: Context) -> list[Op]:
    """With no_new_privs the filter is the last thing, and need not allow anything that the init does."""
    program, flags = late_filter(c)
    return [ops.seccomp(SECCOMP, program, flags)] if program else []


def late_filter(c: Context) -> tuple[bytes, int]:
    """The filter that is loaded last, and so is not in force yet for the hooks before it; (b"", 0) for none."""
    if c.program is None or not c.process.get("noNewPrivileges") or c.listener:
        return b"", 0
    return c.program, c.program_flags


def _seccomp(c: Context) -> list[Op]:
    if c.program is None or not c.process:
        return []
    if c.listener:
        return [ops.seccomp_notify(SECCOMP, c.program, c.program_flags, *c.listener)]
    return [ops.seccomp(SECCOMP, c.program, c.program_flags)]


# ---- labels ----------------------------------------------------------------------------------------------------------


def apparmor(c: Context) -> str:
    """The AppArmor profile to change to, "" for none.

    Raises UnsupportedError on a host without AppArmor: to run unconfined is not what was asked for.
    """
    profile: str = c.process.get("apparmorProfile") or ""
    if "apparmor" in c.facts.lsm:
        return profile
    if profile and profile != "unconfined":
        raise UnsupportedError(f'profile "{profile}": AppArmor is not enabled on this host', "/process/apparmorProfile")
    return ""


def selinux(c: Context) -> str:
    """The SELinux label of the process, "" for none. Raises UnsupportedError as `apparmor`."""
    label = holes.given(c.process.get("selinuxLabel"))
    if holes.is_given(label) and "selinux" not in c.facts.lsm:
        raise UnsupportedError(f'label "{label}": SELinux is not enabled on this host', "/process/selinuxLabel")
    return label


def check_mount_label(c: Context) -> list[Op]:
    """Raise UnsupportedError, as `apparmor`, for linux.mountLabel on a host without SELinux."""
    label = c.linux.get("mountLabel")
    if holes.is_given(label) and "selinux" not in c.facts.lsm:
        raise UnsupportedError(f'label "{label}": SELinux is not enabled on this host', "/linux/mountLabel")
    return []


def labels(c: Context) -> bool:
    """True where a label will be written to procfs."""
    return bool(apparmor(c)) or holes.is_given(selinux(c))


def keyring_label(c: Context) -> list[Op]:
    """Keyrings made from here on carry the process's label."""
    label = selinux(c)
    if not holes.is_given(label) or not c.launch.new_keyring:
        return []
    return [ops.write_proc("/process/selinuxLabel", "thread-self/attr/keycreate", label)]


def exec_labels(c: Context) -> list[Op]:
    """What execve(2) changes to. After everything else that executes, for it counts once."""
    found = []
    profile, label = apparmor(c), selinux(c)
    if profile:
        pointer, text = "/process/apparmorProfile", f"exec {profile}"
        own = ops.write_proc(pointer, "thread-self/attr/apparmor/exec", text)
        # ENOENT: before Linux 5.1, or where AppArmor has the shared file to itself.
        found += ops.fallback(own, (ENOENT,), [ops.write_proc(pointer, "thread-self/attr/exec", text)])
    if holes.is_given(label):
        found.append(ops.write_proc("/process/selinuxLabel", "thread-self/attr/exec", label))
    return found
