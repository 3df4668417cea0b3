"""The oracle itself: it finds nothing in a container that is as its config asks, and every way in which one is not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.fuzz.bundles import executable
from tests.fuzz.view import View
from tests.fuzz.weaker import weaker
from tests.integration.injection import GUARDED, guarded_bundle
from tests.integration.support import BASE, Json, Runtime, merged, wait_for
from tests.integration.views import MakeBundle

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

ERRNO = "SCMP_ACT_ERRNO"
SEIZE = {"index": 0, "value": 0x4206, "op": "SCMP_CMP_EQ"}
MASKED = "/sys/kernel"

# Name of a promise → what a config would say that asks for more than the container has; None removes a member
STRICTER: dict[str, Json] = {
    "Uid": {"process": {"user": {"uid": 1001}}},
    "Gid": {"process": {"user": {"gid": 1001}}},
    "Groups": {"process": {"user": {"additionalGids": [7]}}},
    "umask": {"process": {"user": {"umask": 0o77}}},
    "CapBnd": {"process": {"capabilities": {"bounding": ["CAP_CHOWN"]}}},
    "CapAmb": {"process": {"capabilities": {"inheritable": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"]}}},
    "NoNewPrivs": {"process": {"noNewPrivileges": False}},
    "namespace time": {"linux": {"namespaces": [*GUARDED["linux"]["namespaces"], {"type": "time"}]}},
    "namespace cgroup": {"linux": {"namespaces": BASE["linux"]["namespaces"]}},
    "RLIMIT_NOFILE": {"process": {"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 32, "hard": 64}]}},
    "RLIMIT_CORE": {"process": {"rlimits": [{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}]}},
    "oom_score_adj": {"process": {"oomScoreAdj": 101}},
    "environment": {"process": {"env": ["OTHER=1"]}},
    "the root": {"root": {"readonly": True}},
    "/dev/shm is not ro": {"mounts": [{**one, "options": [*one.get("options", ()), "ro"]} for one in BASE["mounts"]]},
    "nothing is mounted on /tmp": {"mounts": [*BASE["mounts"], {"destination": "/tmp", "type": "tmpfs"}]},
    "an unexplained mount": {"mounts": BASE["mounts"][:-2]},
    f"masked path {MASKED}": {"linux": {"maskedPaths": [MASKED]}},
    "masked path /proc/version": {"linux": {"maskedPaths": ["/proc/version"]}},
    "read-only path /dev/mqueue": {"linux": {"readonlyPaths": ["/dev/mqueue"]}},
    "cgroup": {"linux": {"cgroupsPath": "/other"}},
    "pids.max": {"linux": {"resources": {"pids": {"limit": 99}}}},
    "device c 10:229": {"linux": {"resources": {"devices": [{"allow": False, "access": "rwm"}]}}},
    "a filter that nobody asked for": {"linux": {"seccomp": None}},
    "seccomp: chroot": {"linux": {"seccomp": {"syscalls": [{"names": ["chroot", "getcwd"], "action": ERRNO}]}}},
    "seccomp: getcwd": {"linux": {"seccomp": {"syscalls": [{"names": ["getcwd"], "action": ERRNO, "errnoRet": 2}]}}},
    "seccomp: ptrace": {"linux": {"seccomp": {"syscalls": [{"names": ["ptrace"], "action": ERRNO, "args": [SEIZE]}]}}},
}  # fmt: skip
DEVICES = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}]
MORE: Json = {"root": {"readonly": False}, "linux": {"resources": {"pids": {"limit": 100}, "devices": DEVICES}}}


@pytest.fixture
def guarded(runtime: Runtime, make_bundle: MakeBundle) -> tuple[Json, View]:
    """A container with all that protects it, and what it is."""
    bundle = guarded_bundle(make_bundle)
    bundle.config = merged(bundle.config, {**MORE, "linux": {**MORE["linux"], "cgroupsPath": f"/{runtime.prefix}"}})
    container = runtime.start(bundle.write())
    wait_for(lambda: executable(container.pid) == "/pause", "the process is executed")
    return bundle.config, View(container.pid)


def test_a_container_that_is_as_asked_is_not_weaker(guarded: tuple[Json, View]) -> None:
    config, seen = guarded
    assert weaker(config, seen, View("self")) == []


def test_whatever_is_weaker_is_found(guarded: tuple[Json, View]) -> None:
    config, seen = guarded
    host, missed = View("self"), []
    for promise, change in STRICTER.items():
        found = weaker(merged(copy.deepcopy(config), change), seen, host)
        if not any(line.startswith(promise) or promise in line for line in found):
            missed.append((promise, found))
    assert not missed


def test_the_runtimes_own_process_is_weaker_in_nearly_everything(guarded: tuple[Json, View]) -> None:
    config, _ = guarded
    host: Any = View("self")
    found = weaker(config, host, host)
    for word in (
        "Uid",
        "CapEff",
        "NoNewPrivs",
        "namespace pid",
        "namespace mount",
        "RLIMIT_NOFILE",
        "no filter",
        "cgroup",
    ):
        assert any(line.startswith(word) for line in found), (word, found)
