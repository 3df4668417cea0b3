"""`ocirt features`: what this build can do, as features.md of the specification describes it.

Engines stop working around what is listed here, so a thing is listed once it works and not sooner. The names come from
the tables that carry them out.
"""

from __future__ import annotations

from ocirt.cli.output import say_json
from ocirt.config.default import VERSION
from ocirt.config.rules import HOOKS
from ocirt.errors import UnsupportedError
from ocirt.plan.namespaces import KINDS

NEW_LISTENER = 8  # SECCOMP_FILTER_FLAG_NEW_LISTENER
NEWER_CALLS = "io.github.ocirt.seccomp.newerCalls"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocirt.cli.main import Global
    from ocirt.cli.options import Options


def run(_globals: Global, _options: Options, _arguments: list[str]) -> int:
    """Print the document; return 0."""
    say_json(document())
    return 0


def document() -> dict[str, Any]:
    """Return the features document."""
    seccomp, annotations = _seccomp()
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": VERSION,
        "hooks": list(HOOKS),
        "mountOptions": _mount_options(),
        "linux": _linux(seccomp),
        "annotations": {"org.opencontainers.runc.checkpoint.enabled": "false", **annotations},
        "potentiallyUnsafeConfigAnnotations": [
            "org.systemd.property.",
            "run.oci.keep_original_groups",
            "run.oci.mount_context_type",
        ],
    }


def _linux(seccomp: dict[str, Any]) -> dict[str, Any]:
    from ocirt.linux.consts import CAPABILITIES
    from ocirt.plan import scheduling

    return {
        "namespaces": sorted(KINDS),
        "capabilities": list(CAPABILITIES),
        "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
        "seccomp": seccomp,
        # What the runtime can do, "irrelevant to the availability […] on the host": features-linux.md.
        "apparmor": {"enabled": True},
        "selinux": {"enabled": True},
        "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
        "memoryPolicy": {"modes": sorted(scheduling.MEMORY_MODES), "flags": sorted(scheduling.MEMORY_FLAGS)},
        "mountExtensions": {"idmap": {"enabled": True}},
        "netDevices": {"enabled": True},
    }


def _seccomp() -> tuple[dict[str, Any], dict[str, str]]:
    """Return linux.seccomp and the annotations that go with it."""
    try:
        from ocirt.linux import seccomp
    except ImportError:  # built without libseccomp
        return {"enabled": False}, {}
    found = {
        "enabled": True,
        "actions": sorted(seccomp.ACTIONS),
        "operators": sorted(seccomp.OPERATORS),
        "archs": _architectures(),
        "knownFlags": sorted(seccomp.FLAGS),
        "supportedFlags": _supported_flags(),
    }
    # What the document has no member for: how a call is answered that is newer than the profile.
    newer = "ENOSYS, unless defaultAction is SCMP_ACT_ALLOW, SCMP_ACT_LOG or SCMP_ACT_TRACE"
    return found, {"io.github.seccomp.libseccomp.version": seccomp.version(), NEWER_CALLS: newer}


def _supported_flags() -> list[str]:
    """Return those that the kernel takes; WAIT_KILLABLE_RECV (Linux 5.19) only goes with a listener."""
    from ocirt.linux import calls, seccomp

    asked = seccomp.FLAGS | {"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": seccomp.WAIT_KILLABLE_RECV | NEW_LISTENER}
    return sorted(name for name, bits in asked.items() if calls.knows_seccomp_flags(bits))


def _architectures() -> list[str]:
    """Return those that a filter for this host can cover; libseccomp refuses others, by age or byte order."""
    from ocirt.linux import seccomp

    found = []
    for name in sorted(seccomp.ARCHITECTURES):
        try:
            seccomp.compile({"defaultAction": "SCMP_ACT_ALLOW", "architectures": [name]})
        except UnsupportedError:
            continue
        found.append(name)
    return found


def _mount_options() -> list[str]:
    from ocirt.plan import options

    names = {"bind", "rbind", "idmap", "ridmap", "remount", "defaults", "loud", "silent"}
    names.update(options.ATTRIBUTES, options.SUPERBLOCK, options.PROPAGATION, options.FLAGS)
    return sorted(names.union("r" + name for name in options.ATTRIBUTES))
