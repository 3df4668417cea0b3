"""linux.netDevices: moved, renamed, with their addresses, and up. The host's are those of a namespace of the test."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocirt.linux import netlink
from ocirt.linux.netlink import Netlink
from tests.integration.support import Json, Runtime, wait_for
from tests.integration.views import MakeBundle, namespaces, ns_of, ns_path, user_namespace, wrapper


class Host:
    """A network namespace that the runtime takes for the host's."""

    def __init__(self, runtime: Runtime) -> None:
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "600"], stdin=subprocess.DEVNULL)
        ours = ns_of("self", ["network"])
        wait_for(lambda: ns_of(self._holder.pid, ["network"]) != ours, "unshare")
        self.prefix = ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--"]
        runtime.program = wrapper(runtime.scratch / "in-net", [*self.prefix, runtime.program])

    def ip(self, *words: str) -> Any:
        """What `ip -json WORDS` says in it."""
        done = subprocess.run([*self.prefix, "ip", "-json", *words], capture_output=True, text=True, check=True)
        return json.loads(done.stdout or "[]")

    def veth(self, name: str, peer: str) -> None:
        """A pair of devices."""
        self.ip("link", "add", name, "type", "veth", "peer", "name", peer)

    def devices(self) -> set[str]:
        return {link["ifname"] for link in self.ip("link", "show")} - {"lo"}

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()


@pytest.fixture
def host(runtime: Runtime) -> Iterator[Host]:
    """The network namespace in which the runtime is called."""
    if shutil.which("ip") is None:
        pytest.skip("needs ip (iproute2)")
    program = runtime.program
    view = Host(runtime)
    yield view
    runtime.program = program
    view.close()


def links(pid: int) -> dict[str, Json]:
    """Name → device with its addresses, in the network namespace of a process."""
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", "--", "ip", "-json", "address", "show"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {link["ifname"]: link for link in json.loads(done.stdout)}


def addresses(link: Json) -> list[tuple[str, int, str]]:
    return [(entry["local"], entry["prefixlen"], entry["scope"]) for entry in link["addr_info"]]


def test_a_device_is_moved_renamed_and_up(runtime: Runtime, host: Host, make_bundle: MakeBundle) -> None:
    host.veth("veth0", "peer0")
    host.ip("link", "set", "veth0", "mtu", "1234", "address", "02:00:00:00:00:07")
    bundle = make_bundle(args=["sleep", "600"], linux={"netDevices": {"veth0": {"name": "lan0"}}})
    container = runtime.create(bundle)
    found = links(container.pid)
    assert set(found) == {"lo", "lan0"}
    assert "UP" in found["lan0"]["flags"]
    assert (found["lan0"]["mtu"], found["lan0"]["address"]) == (1234, "02:00:00:00:00:07")
    assert host.devices() == {"peer0"}


@pytest.mark.parametrize("up", [True, False])
def test_permanent_addresses_of_global_scope_go_with_it(
    runtime: Runtime, host: Host, make_bundle: MakeBundle, up: bool
) -> None:
    host.veth("veth0", "peer0")
    host.ip("address", "add", "192.0.2.5/24", "broadcast", "192.0.2.255", "dev", "veth0")
    host.ip("address", "add", "192.0.2.6/24", "dev", "veth0")
    host.ip("address", "add", "198.51.100.1", "peer", "198.51.100.2", "dev", "veth0")
    host.ip("address", "add", "169.254.3.3/16", "scope", "link", "dev", "veth0")
    host.ip("address", "add", "203.0.113.9/24", "valid_lft", "1000", "preferred_lft", "1000", "dev", "veth0")
    host.ip("address", "add", "2001:db8::5/64", "nodad", "dev", "veth0")
    if up:
        host.ip("link", "set", "veth0", "up")
    container = runtime.create(make_bundle(args=["sleep", "600"], linux={"netDevices": {"veth0": {}}}))
    link = links(container.pid)["veth0"]
    found = [entry for entry in addresses(link) if not entry[0].startswith("fe80")]
    assert found == [
        ("192.0.2.5", 24, "global"),
        ("198.51.100.1", 32, "global"),
        ("192.0.2.6", 24, "global"),
        ("2001:db8::5", 64, "global"),
    ]
    by_address = {entry["local"]: entry for entry in link["addr_info"]}
    assert by_address["192.0.2.5"]["broadcast"] == "192.0.2.255"
    assert by_address["198.51.100.1"]["address"] == "198.51.100.2"
    assert by_address["2001:db8::5"].get("nodad") is True


def test_a_template_gets_the_first_free_number(runtime: Runtime, host: Host, make_bundle: MakeBundle) -> None:
    host.veth("veth0", "peer0")
    devices = {"veth0": {"name": "lan%d"}, "peer0": {"name": "lan%d"}}
    container = runtime.create(make_bundle(args=["sleep", "600"], linux={"netDevices": devices}))
    assert set(links(container.pid)) == {"lo", "lan0", "lan1"}
    assert host.devices() == set()


def test_a_user_namespaces_network_gets_it_too(runtime: Runtime, host: Host, make_bundle: MakeBundle) -> None:
    host.veth("veth0", "peer0")
    host.ip("address", "add", "192.0.2.5/24", "dev", "veth0")
    linux = {**user_namespace(), "netDevices": {"veth0": {"name": "eth0"}}}
    container = runtime.create(make_bundle(args=["sleep", "600"], linux=linux))
    assert addresses(links(container.pid)["eth0"])[0] == ("192.0.2.5", 24, "global")


def test_hooks_and_sysctls_find_the_device(
    runtime: Runtime, host: Host, make_bundle: MakeBundle, scratch: Path
) -> None:
    host.veth("veth0", "peer0")
    seen = scratch / "seen"
    script = "pid=$(grep -o '\"pid\": *[0-9]*' | grep -o '[0-9]*$'); "
    script += f"exec nsenter --net=/proc/$pid/ns/net ip link show lan0 >{seen}"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/usr/sbin:/bin"]}
    linux = {"netDevices": {"veth0": {"name": "lan0"}}, "sysctl": {"net.ipv4.conf.lan0.forwarding": "1"}}
    hooks = {"createRuntime": [hook]}
    bundle = make_bundle(args=["cat", "/proc/sys/net/ipv4/conf/lan0/forwarding"], linux=linux, hooks=hooks)
    assert runtime.run_container(bundle, check=True).stdout == "1\n"
    assert "lan0" in seen.read_text()


def joined(pid: int, **devices: Json) -> Json:
    """A `linux` delta: the network of a process, and devices to move there."""
    network = {"type": "network", "path": ns_path(pid, "network")}
    return {"namespaces": [*namespaces("pid", "mount", "ipc", "uts"), network], "netDevices": devices}


def test_a_joined_network_gets_it_and_keeps_it(runtime: Runtime, host: Host, make_bundle: MakeBundle) -> None:
    host.veth("veth0", "peer0")
    other = runtime.start(make_bundle(args=["sleep", "600"]))
    runtime.run_container(make_bundle(linux=joined(other.pid, veth0={"name": "lan0"})), check=True)
    assert set(links(other.pid)) == {"lo", "lan0"}


def test_what_is_changed_inside_is_left_so(runtime: Runtime, host: Host, make_bundle: MakeBundle) -> None:
    host.veth("veth0", "peer0")
    container = runtime.create(make_bundle(args=["sleep", "600"], linux={"netDevices": {"veth0": {}}}))
    change = [
        "nsenter",
        f"--net=/proc/{container.pid}/ns/net",
        "--",
        "ip",
        "link",
        "set",
        "veth0",
        "down",
        "mtu",
        "999",
    ]
    subprocess.run(change, check=True)
    container.start()
    container.exec("true")
    found = links(container.pid)["veth0"]
    assert (found["mtu"], "UP" in found["flags"]) == (999, False)


def test_a_name_that_is_taken_is_an_error_and_the_device_stays(
    runtime: Runtime, host: Host, make_bundle: MakeBundle
) -> None:
    host.veth("veth0", "peer0")
    host.ip("address", "add", "192.0.2.5/24", "dev", "veth0")
    host.ip("link", "set", "veth0", "up")
    linux = {"netDevices": {"veth0": {"name": "lo"}}}
    result = runtime.run_container(make_bundle(linux=linux), check=False)
    assert "/linux/netDevices/veth0: move the network device veth0 into the container as lo (the" in result.stderr
    assert result.stderr.rstrip().endswith("file exists")
    (link,) = host.ip("address", "show", "dev", "veth0")
    assert "UP" in link["flags"]
    assert addresses(link)[0] == ("192.0.2.5", 24, "global")


def test_what_fails_on_the_way_is_taken_back(runtime: Runtime, host: Host, make_bundle: MakeBundle) -> None:
    """The kernel takes no second % in a name, which shows when the device has arrived."""
    host.veth("veth0", "peer0")
    host.ip("address", "add", "192.0.2.5/24", "dev", "veth0")
    host.ip("link", "set", "veth0", "up")
    other = runtime.start(make_bundle(args=["sleep", "600"]))
    result = runtime.run_container(make_bundle(linux=joined(other.pid, veth0={"name": "a%d%d"})), check=False)
    assert "/linux/netDevices/veth0: move the network device" in result.stderr
    assert set(links(other.pid)) == {"lo"}
    (link,) = host.ip("address", "show", "dev", "veth0")
    assert "UP" in link["flags"]
    assert addresses(link)[0] == ("192.0.2.5", 24, "global")


def test_a_device_that_is_not_there_is_an_error_that_names_it(
    runtime: Runtime, host: Host, make_bundle: MakeBundle
) -> None:
    result = runtime.run_container(make_bundle(linux={"netDevices": {"eth7": {}}}), check=False)
    assert "/linux/netDevices/eth7: move the network device eth7 into the container (the host has no" in result.stderr


def test_what_another_process_says_is_not_taken_for_the_kernels_answer() -> None:
    """Who has CAP_NET_ADMIN in a network namespace can send to every netlink socket that was made in it."""
    with Netlink() as ours, socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as theirs:
        (port,) = {sock for sock in own_ports() if sock != theirs.getsockname()[0]} - {0}
        body = netlink.LINK.pack(socket.AF_UNSPEC, 0, 1, 0, 0)
        head = netlink.HEADER.pack(netlink.HEADER.size + len(body), netlink.RTM_NEWLINK, 0, 1, 0)
        for message in (head + body, head[:-1], netlink.HEADER.pack(16, netlink.NLMSG_ERROR, 0, 1, 0)):
            theirs.sendto(message, (port, 0))
        assert not ours.has("no-such-device")


def own_ports() -> set[int]:
    """The port ids of this process's netlink sockets (NETLINK_ROUTE is 0)."""
    inodes = {os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    rows = [line.split() for line in Path("/proc/net/netlink").read_text().splitlines()[1:]]
    return {int(row[2]) for row in rows if row[1] == "0" and f"socket:[{row[-1]}]" in inodes}
