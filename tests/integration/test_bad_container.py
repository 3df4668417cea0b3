"""What is found wrong while a container is made, or between its commands: the message, and that nothing is left.

A create that fails is not known to the `runtime` fixture, so whatever it leaves fails the test.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import Result, Runtime
from tests.integration.views import MakeBundle
from tests.unit.config.changes import both, drop, mapping, put

Change = Callable[[dict[str, Any]], object]


def refused(result: Result, *words: str) -> None:
    """One line on standard error that holds all the words; nothing on standard output, and exit 1."""
    assert (result.code, result.stdout) == (1, ""), result
    [line] = result.stderr.splitlines()
    assert line.startswith("ocirt: ")
    for word in words:
        assert word in line


def add(name: str, **entry: object) -> Change:
    """Append an entry to the config's list at `name`."""
    return lambda config: config[name].append(entry)


def bind(source: str, destination: str = "/mnt") -> Change:
    return add("mounts", destination=destination, type="bind", source=source, options=["bind"])


def filesystem(fstype: str, destination: str = "/mnt", source: str = "it", **more: object) -> Change:
    return add("mounts", destination=destination, type=fstype, source=source, **more)


def device(path: str) -> Change:
    return put("/linux/devices", [{"path": path, "type": "c", "major": 1, "minor": 3}])


def hook(kind: str, path: str, *args: str, **more: object) -> Change:
    entry = {"path": path, **more} | ({"args": list(args)} if args else {})
    return put(f"/hooks/{kind}", [entry])


def shell_hook(kind: str, script: str, **more: object) -> Change:
    return hook(kind, "/bin/sh", "sh", "-c", script, **more)


def join_network(path: str) -> Change:
    return put("/linux/namespaces/4/path", path)


def user_namespace(config: dict[str, Any]) -> None:
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = mapping((0, 0, 1))


FAIL_AT_CREATE: dict[str, tuple[Change, str]] = {
    # the root and the working directory
    "no rootfs": (put("/root/path", "gone"), "/root/path: mount root filesystem .*/gone.*: no such file or directory"),
    "rootfs is a file": (put("/root/path", "config.json"), "/root/path: .*/config.json.*: not a directory"),
    "cwd is a file": (put("/process/cwd", "/etc/passwd"), '/process/cwd: .*cwd \\("/etc/passwd"\\).*: not a directory'),
    "cwd below a file": (put("/process/cwd", "/etc/passwd/x"), "/process/cwd: .*/etc/passwd/x.*: not a directory"),
    # mounts
    "no mount source": (bind("/no/such"), '/mounts/6: bind "/no/such" on /mnt: .*: no such file or directory'),
    "no source in bundle": (bind("data"), "/mounts/6: bind .*/bundle-[0-9]*/data.*: no such file or directory"),
    "directory on file": (bind("/tmp", "/etc/passwd"), "/mounts/6: .*: not a directory .*a file on a file"),
    "file on directory": (bind("/etc/passwd", "/etc"), "/mounts/6: .*: not a directory .*a file on a file"),
    "tmpfs on a file": (filesystem("tmpfs", "/etc/passwd"), '/mounts/6: mount "tmpfs" .* on /etc/passwd: .*: not'),
    "unknown filesystem": (filesystem("nosuchfs"), '/mounts/6: mount "nosuchfs" .*the kernel has no such filesystem'),
    "no block device": (filesystem("ext4", source="/etc/passwd"), "/mounts/6: .*: block device required"),
    "unknown option": (filesystem("tmpfs", options=["nosiud"]), '/mounts/6: .*: option "nosiud": invalid argument'),
    "bad value of option": (filesystem("tmpfs", options=["size=lots"]), '/mounts/6: .*: option "size=lots": invalid'),
    "option of a bind": (
        add("mounts", destination="/mnt", type="bind", source="/tmp", options=["bind", "nosiud"]),
        '/mounts/6/options/1: unknown option "nosiud": a bind mount has the options of the filesystem',
    ),
    "bind of nothing": (add("mounts", destination="/mnt", type="bind"), "/mounts/6/source: is missing"),
    "mount of no type": (add("mounts", destination="/mnt"), "/mounts/6/type: is missing"),
    # devices, sysctls, namespaces
    "device over a file": (device("/etc/passwd"), "/linux/devices/0: .*/etc/passwd: .*: file exists"),
    "device below a file": (device("/etc/passwd/x"), "/linux/devices/0: .*/etc/passwd/x: .*: not a directory"),
    "unknown sysctl": (put("/linux/sysctl", {"net.x": "1"}), "/linux/sysctl/net.x: .*/proc/sys/net/x: no such file"),
    "bad sysctl": (put("/linux/sysctl", {"net.ipv4.ip_forward": "x"}), "/linux/sysctl/.*: invalid argument"),
    "namespace gone": (join_network("/proc/4194305/ns/net"), "/linux/namespaces/4/path: .*: no such file or directory"),
    "no namespace": (join_network("/etc/passwd"), '/linux/namespaces/4/path: .*"/etc/passwd": .*: invalid argument'),
    "another namespace": (join_network("/proc/self/ns/uts"), "/linux/namespaces/4/path: .*/ns/uts.*: invalid argument"),
    "unmapped user": (both(user_namespace, put("/process/user/uid", 5)), "/process/user: become user 5 .*no mapping"),
    "cgroup above the root": (put("/linux/cgroupsPath", "/../x"), '/linux/cgroupsPath: "/../x" has a ".." component'),
    # what the host has not
    "AppArmor": (put("/process/apparmorProfile", "x"), '/apparmorProfile: profile "x": AppArmor is not enabled'),
    "SELinux": (put("/process/selinuxLabel", "a:b:c:d"), '/selinuxLabel: label "a:b:c:d": SELinux is not enabled'),
    "idmapped": (
        add("mounts", destination="/mnt", type="bind", source="/sys", options=["bind"],
            uidMappings=mapping((0, 9, 1)), gidMappings=mapping((0, 9, 1))),
        '/mounts/6: "/sys" cannot be idmapped: its filesystem, or one .* by this kernel: invalid argument',
    ),
    # hooks
    "no prestart hook": (hook("prestart", "/no/such"), '/hooks/prestart/0: hook "/no/such": no such file or directory'),
    "hook not executable": (hook("createRuntime", "/etc/passwd"), '/0: hook "/etc/passwd": permission denied'),
    "hook is a directory": (hook("createRuntime", "/etc"), '/hooks/createRuntime/0: hook "/etc": permission denied'),
    "failing hook": (
        shell_hook("createRuntime", "echo out; echo err >&2; exit 3"),
        '/hooks/createRuntime/0: hook "/bin/sh" exited with status 3: out; err',
    ),
    "killed hook": (shell_hook("createRuntime", "kill -9 $$"), '/0: hook "/bin/sh" was killed by signal 9'),
    "slow hook": (shell_hook("prestart", "sleep 60", timeout=1), '/0: hook "/bin/sh" did not finish within 1 s'),
    "no createContainer hook": (hook("createContainer", "/no/such"), '/createContainer/0: hook "/no/such": no such'),
    "failing createContainer hook": (
        shell_hook("createContainer", "echo out; exit 3"),
        '/hooks/createContainer/0: hook "/bin/sh" exited with status 3: out',
    ),
    "slow createContainer hook": (shell_hook("createContainer", "sleep 60", timeout=1), "did not finish within 1 s"),
    # the program: the words that engines look for
    "no program in PATH": (put("/process/args", ["gone"]), 'exec: "gone": executable file not found in \\$PATH'),
    "no PATH": (both(put("/process/args", ["gone"]), put("/process/env", [])), "executable file not found in \\$PATH"),
    "no program": (put("/process/args", ["/bin/gone"]), 'exec: "/bin/gone": stat /bin/gone: no such file or directory'),
    "no program in cwd": (put("/process/args", ["./gone"]), 'exec: "./gone": stat ./gone: no such file or directory'),
    "program is a directory": (put("/process/args", ["/etc"]), 'exec: "/etc": permission denied'),
    "program not executable": (put("/process/args", ["/etc/passwd"]), 'exec: "/etc/passwd": permission denied'),
    "target below a file": (filesystem("tmpfs", "/etc/passwd/x/y"), "/mounts/.*: not a directory: /etc/passwd$"),
    "file below a file": (bind("/etc/hostname", "/etc/passwd/x"), "/mounts/.*: not a directory: /etc/passwd$"),
    "source below a file": (bind("/etc/passwd/x"), "not a directory .a part of the source's path is no directory"),
    "cwd deep below one": (put("/process/cwd", "/etc/passwd/x/y"), "/process/cwd: .*: not a directory: /etc/passwd$"),
    "device in a file": (device("/etc/passwd/x"), "/linux/devices/0: .*: not a directory: /etc/passwd/$"),
    "root below a file": (put("/root/path", "config.json/x"), "/root/path: .*not a directory .root.path, or a part"),
    "root is a file": (put("/root/path", "config.json"), "/root/path: .*not a directory .root.path, or a part"),
    "inside /proc": (filesystem("tmpfs", "/proc/sys"), "inside /proc, other than on /proc/cpuinfo, .*/uptime"),
    "terminal without socket": (put("/process/terminal", True), "/process/terminal: .*needs --console-socket"),
}  # fmt: skip

PRESENT = {"AppArmor": "/sys/module/apparmor", "SELinux": "/sys/fs/selinux/enforce"}


@pytest.mark.parametrize("case", FAIL_AT_CREATE)
def test_create_fails_with_field_and_reason_and_leaves_nothing(
    case: str, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    if Path(PRESENT.get(case, "/no/such")).exists():
        pytest.skip(f"the host has {case}")
    change, pattern = FAIL_AT_CREATE[case]
    bundle = str(make_bundle(change).path)
    result = runtime.run("create", "--bundle", bundle, runtime.new_id())
    refused(result)
    assert re.search(pattern, result.stderr), result.stderr
    if case != "terminal without socket":
        assert runtime.run("run", "--bundle", bundle, runtime.new_id()).stderr == result.stderr


# Found by execve(2) alone, so by `start`.
FAIL_AT_START: dict[str, tuple[str, str]] = {
    "#!/no/such\n": ('exec: "it": no such file or directory', "the file is there, its interpreter is not"),
    "#!/bin/sh\r\n": ('exec: "it": no such file or directory', "carriage return"),
    "echo no first line\n": ('exec: "it": exec format error', "a script without a #! line"),
    "\x7fELF\x02\x01\x01": ('exec: "it": exec format error', "another architecture"),
    "": ('exec: "it": exec format error', ""),
}


@pytest.mark.parametrize("content", FAIL_AT_START, ids=ascii)
def test_a_program_that_the_kernel_does_not_take_fails_at_start_with_its_reason(
    content: str, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    bundle = make_bundle(args=["it"])
    bundle.add_file("bin/it", content, 0o755)
    container = runtime.create(bundle)
    refused(container.start(check=None), *FAIL_AT_START[content])
    container.wait_stopped()
    refused(container.start(check=None), "cannot start a container that is stopped")
    container.delete()
    refused(runtime.run_container(bundle), *FAIL_AT_START[content])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (hook("startContainer", "/no/such"), '/hooks/startContainer/0: hook "/no/such": no such file or directory'),
        (shell_hook("startContainer", "echo out; exit 4"), '/0: hook "/bin/sh" exited with status 4: out'),
        (shell_hook("poststart", "echo out; exit 4"), '/hooks/poststart/0: hook "/bin/sh" exited with status 4: out'),
    ],
)
def test_a_hook_that_fails_at_start_is_told_and_the_container_is_gone(
    change: Change, message: str, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    container = runtime.create(make_bundle(change, args=["sleep", "600"]))
    refused(container.start(check=None), message)
    refused(runtime.run("state", container.id), f'container "{container.id}": container does not exist')
    refused(runtime.run_container(container.bundle), message)


def test_a_failed_poststop_hook_is_a_warning(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(shell_hook("poststop", "echo out; exit 4"))
    warning = 'config.json: /hooks/poststop/0: hook "/bin/sh" exited with status 4: out\n'
    container = runtime.create(bundle)
    for command in (["delete", "--force", container.id], ["run", "--bundle", str(bundle.path), runtime.new_id()]):
        result = runtime.run("--log-level=warning", *command)  # else the system log has it, or a terminal
        assert (result.code, result.stdout, result.stderr.count("\n")) == (0, "", 1)
        assert result.stderr.startswith("ocirt: warning: ")
        assert result.stderr.endswith(warning)


# ---- places that flags name ------------------------------------------------------------------------------------------

BAD_PLACES = [
    (["--pid-file", "/no/such/pid"], False, 'write the pid file "/no/such/pid": no such file or directory'),
    (["--pid-file", "/etc"], False, 'write the pid file "/etc": is a directory'),
    (["--pidfd-socket", "/no/such"], False, 'connect to the pidfd socket "/no/such": no such file or directory'),
    (["--console-socket", "/no/such"], False, "--console-socket was given, but the process has no terminal"),
    (["--console-socket", "/no/such"], True, 'connect to the console socket "/no/such": no such file or directory'),
    (["--console-socket", "/etc/passwd"], True, 'connect to the console socket "/etc/passwd": connection refused'),
    (["--console-socket", "/" + "x" * 256], True, "file name too long"),
    (["--preserve-fds", "1048576"], False, "cannot hand on 1048576 descriptors, RLIMIT_NOFILE is "),
]


@pytest.mark.parametrize(("flags", "terminal", "message"), BAD_PLACES)
def test_a_place_that_cannot_be_used_is_named(
    flags: list[str], terminal: bool, message: str, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    bundle = make_bundle(process={"terminal": terminal})
    refused(runtime.run("create", "--bundle", str(bundle.path), *flags, runtime.new_id()), message)


def test_a_detached_run_with_a_terminal_needs_a_socket(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(process={"terminal": True})
    refused(runtime.run("run", "--detach", "--bundle", str(bundle.path), runtime.new_id()), "needs --console-socket")


def test_a_bundle_on_a_path_that_is_not_utf8_works(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["cat", "/etc/passwd"])
    bundle.path = bundle.path.rename(os.fsdecode(os.fsencode(bundle.path) + b"\xff"))
    assert "root:x:0" in runtime.run_container(bundle, check=True).stdout
    container = runtime.create(bundle)
    assert container.state()["bundle"] == str(bundle.path)
    container.delete("--force")


# ---- the order of commands -------------------------------------------------------------------------------------------


def test_an_unknown_container_does_not_exist_for_any_verb(runtime: Runtime) -> None:
    for verb in ("state", "start", "kill", "delete"):
        refused(runtime.run(verb, "nosuch"), 'container "nosuch": container does not exist')
    assert runtime.run("delete", "--force", "nosuch").code == 0
    assert runtime.entries() == []


def test_each_verb_tells_what_the_state_forbids_and_changes_nothing(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["sleep", "600"])
    container = runtime.create(bundle)
    again = ("create", "--bundle", str(bundle.path), container.id)
    taken = f'container "{container.id}": container with given ID already exists'
    refused(runtime.run(*again), taken)
    refused(runtime.run("run", "--bundle", str(bundle.path), container.id), taken)
    refused(container.delete(check=None), "cannot delete a container that is created; stop it first, or use --force")
    assert container.status == "created"

    container.start()
    refused(container.start(check=None), "cannot start a container that is running")
    refused(container.delete(check=None), "cannot delete a container that is running; stop it first, or use --force")
    refused(runtime.run(*again), taken)
    assert container.status == "running"

    container.kill()
    container.wait_stopped()
    refused(container.kill("TERM", check=None), "container not running")
    refused(container.start(check=None), "cannot start a container that is stopped")
    refused(runtime.run(*again), taken)
    container.delete()


def test_a_container_without_process_is_created_but_not_started(runtime: Runtime, make_bundle: MakeBundle) -> None:
    container = runtime.create(make_bundle(drop("/process")))
    refused(container.start(check=None), "cannot start, its config.json has no process")
    assert container.status == "created"
    container.delete("--force")


def test_what_create_leaves_out_is_a_warning_for_those_who_ask(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(put("/process/capabilities/bounding", ["CAP_NEW"]))
    assert runtime.run_container(bundle).stderr == ""
    log = Path(runtime.scratch, "log")
    runtime.run(
        "--log", str(log), "--log-level=warning", "run", "--bundle", str(bundle.path), runtime.new_id(), check=True
    )
    assert "config.json: /process/capabilities: the kernel knows no capability" in log.read_text()
    assert "level=warning" in log.read_text()
