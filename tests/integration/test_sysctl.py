"""linux.sysctl: what the container's own namespaces can have, in both spellings, and that the host's stays."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.support import Runtime
from tests.integration.views import Inside, MakeBundle, namespaces, user_namespace


def host(name: str) -> str:
    """The host's value."""
    return Path("/proc/sys", name).read_text()


# key in the config, value, file below /proc/sys
PARAMETERS = {
    "network": ("net.ipv4.ip_forward", "1", "net/ipv4/ip_forward"),
    "network, a range": ("net.ipv4.ping_group_range", "0 2147483647", "net/ipv4/ping_group_range"),
    "network, by slashes": ("net/ipv4/ip_unprivileged_port_start", "80", "net/ipv4/ip_unprivileged_port_start"),
    "network, of one interface": ("net.ipv4.conf.lo.rp_filter", "2", "net/ipv4/conf/lo/rp_filter"),
    "System V messages": ("kernel.msgmax", "16384", "kernel/msgmax"),
    "System V semaphores": ("kernel.sem", "32 64 16 8", "kernel/sem"),
    "System V memory": ("kernel.shm_rmid_forced", "1", "kernel/shm_rmid_forced"),
    "POSIX queues": ("fs.mqueue.msg_max", "77", "fs/mqueue/msg_max"),
    "name": ("kernel.domainname", "example.net", "kernel/domainname"),
}


@pytest.mark.parametrize(("key", "value", "file"), PARAMETERS.values(), ids=PARAMETERS)
def test_a_parameter_is_set_inside_and_not_outside(inside: Inside, key: str, value: str, file: str) -> None:
    before = host(file)
    seen = inside("cat", f"/proc/sys/{file}", linux={"sysctl": {key: value}})
    assert seen.split() == value.split()
    assert host(file) == before


def test_many_are_set_at_once(inside: Inside) -> None:
    wanted = {key: value for key, value, _ in PARAMETERS.values()}
    files = [f"/proc/sys/{file}" for _, _, file in PARAMETERS.values()]
    assert inside("cat", *files, linux={"sysctl": wanted}).split() == " ".join(wanted.values()).split()


def test_read_only_proc_sys_is_no_hindrance(inside: Inside) -> None:
    linux = {"sysctl": {"net.ipv4.ip_forward": "1"}, "readonlyPaths": ["/proc/sys"]}
    script = "cat /proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv4/ip_forward || true"
    assert inside("sh", "-c", script, linux=linux) == "1\n"


def test_no_proc_is_needed_in_the_container(runtime: Runtime, make_bundle: MakeBundle) -> None:
    linux = {"sysctl": {"net.ipv4.ip_default_ttl": "33"}, "maskedPaths": None, "readonlyPaths": None}
    container = runtime.start(make_bundle(args=["sleep", "600"], mounts=None, linux=linux))
    script = ["nsenter", f"--net=/proc/{container.pid}/ns/net", "cat", "/proc/sys/net/ipv4/ip_default_ttl"]
    assert subprocess.run(script, capture_output=True, text=True, check=True).stdout == "33\n"


@pytest.mark.parametrize("name", ["network", "network, of one interface", "POSIX queues", "System V messages", "name"])
def test_a_parameter_is_set_in_a_user_namespace(inside: Inside, name: str) -> None:
    key, value, file = PARAMETERS[name]
    before = host(file)
    assert inside("cat", f"/proc/sys/{file}", linux=user_namespace(sysctl={key: value})).split() == [value]
    assert host(file) == before


REFUSED = {
    "of the host": ("kernel.core_pattern", "|/bin/evil", None),
    "of the host's memory": ("vm.swappiness", "1", None),
    "of a network that is shared": ("net.ipv4.ip_forward", "1", "network"),
    "of an ipc namespace that is shared": ("kernel.msgmax", "16384", "ipc"),
    "by another way up": ("net/../kernel/core_pattern", "x", None),
}


@pytest.mark.parametrize(("key", "value", "without"), REFUSED.values(), ids=REFUSED)
def test_what_would_change_the_host_is_refused(
    runtime: Runtime, make_bundle: MakeBundle, key: str, value: str, without: str | None
) -> None:
    file = key.replace(".", "/") if ".." not in key else "kernel/core_pattern"
    before = host(file)
    kinds = [kind for kind in ("pid", "mount", "ipc", "uts", "network") if kind != without]
    result = runtime.run_container(
        make_bundle(linux={"namespaces": namespaces(*kinds), "sysctl": {key: value}}), check=False
    )
    assert "/linux/sysctl/" in result.stderr
    assert host(file) == before


@pytest.mark.parametrize(("key", "value"), [("net.ipv4.no_such_thing", "1"), ("net.ipv4.ip_forward", "many")])
def test_what_the_kernel_refuses_is_an_error_with_the_key(
    runtime: Runtime, make_bundle: MakeBundle, key: str, value: str
) -> None:
    result = runtime.run_container(make_bundle(linux={"sysctl": {key: value}}), check=False)
    assert f"/linux/sysctl/{key}" in result.stderr
