"""Hostile words: in config.json, as ids, in sysctls; and what masks, read-only paths and the state directory keep."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.hostile import SECRET, attack, refused, tmpfs
from tests.integration.leftovers import cgroups_named
from tests.integration.support import Bundle, Json, Runtime, children_of
from tests.integration.views import Inside, MakeBundle

NUL_PLACES: dict[str, Callable[[Json, str], object]] = {
    "mount option": lambda config, text: config["mounts"].append(tmpfs("/x", f"size=1m{text}")),
    "mount destination": lambda config, text: config["mounts"].append(tmpfs(f"/x{text}")),
    "mount source": lambda config, text: config["mounts"].append({**tmpfs("/x"), "source": f"t{text}"}),
    "mount type": lambda config, text: config["mounts"].append({**tmpfs("/x"), "type": f"tmpfs{text}"}),
    "args": lambda config, text: config["process"].update(args=["true", text]),
    "program": lambda config, text: config["process"].update(args=[f"true{text}"]),
    "env": lambda config, text: config["process"]["env"].append(f"A=b{text}"),
    "hostname": lambda config, text: config.update(hostname=f"a{text}"),
    "domainname": lambda config, text: config.update(domainname=f"a{text}"),
    "cwd": lambda config, text: config["process"].update(cwd=f"/{text}"),
    "rootfs": lambda config, text: config["root"].update(path=f"rootfs{text}"),
    "masked path": lambda config, text: config["linux"]["maskedPaths"].append(f"/x{text}"),
    "read-only path": lambda config, text: config["linux"]["readonlyPaths"].append(f"/x{text}"),
    "sysctl": lambda config, text: config["linux"].update(sysctl={"net.ipv4.ip_forward": f"1{text}"}),
    "sysctl key": lambda config, text: config["linux"].update(sysctl={f"net.ipv4.ip_forward{text}": "1"}),
    "cgroups path": lambda config, text: config["linux"].update(cgroupsPath=f"/x{text}"),
    "namespace path": lambda config, text: config["linux"]["namespaces"][0].update(path=f"/proc/1/ns/pid{text}"),
    "device path": lambda config, text: config["linux"].update(
        devices=[{"path": f"/dev/x{text}", "type": "c", "major": 1, "minor": 3}]
    ),
    "hook path": lambda config, text: config.update(hooks={"createRuntime": [{"path": f"/bin/true{text}"}]}),
    "hook argument": lambda config, text: config.update(
        hooks={"startContainer": [{"path": "/bin/true", "args": ["true", text]}]}
    ),
}


@pytest.mark.parametrize("place", NUL_PLACES)
def test_mount_src_nul_and_controls(place: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """A NUL, at which C would cut the text off, is refused wherever it stands."""
    refused(runtime, make_bundle(lambda config: NUL_PLACES[place](config, "\0b")))


@pytest.mark.parametrize("control", ["\n", "\t", "\\", " ", "\x7f", "\x1b[31m", "é", "]:", ","], ids=repr)
def test_controls_in_paths_are_taken_as_they_are_or_refused(
    control: str, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    bundle = make_bundle(args=["sh", "-c", "ls /made"], process={"cwd": f"/made/a{control}b"})
    bundle.config["mounts"].append(tmpfs(f"/made/m{control}n"))
    bundle.config["linux"]["maskedPaths"].append(f"/made/m{control}n")
    result = attack(runtime, bundle)
    assert result.code != 0 or (bundle.rootfs / "made" / f"a{control}b").is_dir()


VALUES = [b"", b"{", b"[" * 100_000, b"{'a': 1}", b"\xff\xfe{}", b"\xef\xbb\xbf{}", b'{"a": "\xff"}', b"null", b"[]",
          b'{"ociVersion": NaN}', b'{"ociVersion": 1' + b"0" * 5000 + b"}", b'{"hostname": "\\ud800"}', b"\0",
          b'{"root": {"path": 1e999}}', b'{"a":' * 50_000, b'{"a": 1} x']  # fmt: skip


@pytest.mark.parametrize("number", range(len(VALUES)))
def test_config_hostile(number: int, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Whatever config.json is, the answer is a reason that fits on some lines, within seconds."""
    bundle = make_bundle()
    (bundle.path / "config.json").write_bytes(VALUES[number])
    began = time.monotonic()
    result = runtime.run("create", "--bundle", str(bundle.path), runtime.new_id(), check=False, timeout=10)
    assert time.monotonic() - began < 5
    assert "config.json" in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr) < 4000


LONG = "x" * 70_000
HUGE: dict[str, Callable[[Json], object]] = {
    "source": lambda config: config["mounts"].append({**tmpfs("/x", "bind"), "source": f"/{LONG}"}),
    "destination": lambda config: config["mounts"].append(tmpfs(f"/{LONG}")),
    "deep destination": lambda config: config["mounts"].append(tmpfs("/x" * 35_000)),
    "option": lambda config: config["mounts"].append(tmpfs("/x", f"size={LONG}")),
    "hostname": lambda config: config.update(hostname=LONG),
    "cwd": lambda config: config["process"].update(cwd=f"/{LONG}"),
    "program": lambda config: config["process"].update(args=[f"/{LONG}"]),
    "one argument": lambda config: config["process"].update(args=["true", LONG * 3]),
    "all arguments": lambda config: config["process"].update(args=["true", *[LONG] * 200]),
    "rootfs": lambda config: config["root"].update(path=f"/{LONG}"),
    "masked path": lambda config: config["linux"]["maskedPaths"].append(f"/{LONG}"),
    "cgroups path": lambda config: config["linux"].update(cgroupsPath=f"/{LONG}"),
    "sysctl": lambda config: config["linux"].update(sysctl={"net.ipv4.ip_forward": LONG}),
    "mappings": lambda config: config["linux"].update(
        namespaces=[*config["linux"]["namespaces"], {"type": "user"}],
        uidMappings=[{"containerID": n, "hostID": n, "size": 1} for n in range(6000)],
        gidMappings=[{"containerID": 0, "hostID": 0, "size": 1}],
    ),
    "groups": lambda config: config["process"]["user"].update(additionalGids=list(range(70_000))),
    "plan": lambda config: config["process"]["env"].extend(f"A{n}={LONG}" for n in range(500)),
}


@pytest.mark.parametrize("what", HUGE)
def test_huge_strings(what: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """What is larger than the kernel takes is refused with its place in the config, never cut or wrapped round."""
    result = attack(runtime, make_bundle(HUGE[what]))
    if what != "masked path":  # there is no such path, so that nothing has to be masked
        assert result.code != 0
        assert "config.json" in result.stderr or "exec" in result.stderr
        assert len(result.stderr) < 2000, "the error does not repeat what is too long"


BAD_NAMES = ["", ".", "..", "a/b", " a", "a ", "a b", "x" * 256, "x" * 2000, "a\n", "../x", "/x", "é", "a;b", "a\\b"]


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: repr(name[:9]))
@pytest.mark.parametrize("verb", ["create", "state", "delete"])
def test_id_validation(verb: str, name: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """An id that is no plain name is refused by every command, delete --force included, and reaches no path."""
    (runtime.scratch / "x").mkdir()
    flags = {"create": ["--bundle", str(make_bundle().path)], "delete": ["--force"]}.get(verb, [])
    result = runtime.run(verb, *flags, "--", name, check=False)
    assert "Traceback" not in result.stderr
    assert (runtime.scratch / "x").is_dir()
    assert runtime.entries() == []


def test_state_perms(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Nobody but the owner reaches a container's state, whatever the umask."""
    for umask in (0, 0o777):
        container = runtime.create(make_bundle(args=["true"]), umask=umask)
        paths = [runtime.root, runtime.root / container.id, *(runtime.root / container.id).rglob("*")]
        assert len(paths) > 3
        assert not [path for path in paths if path.stat().st_mode & 0o077 and not path.is_socket()]
        assert runtime.root.stat().st_mode & 0o7777 == 0o700
        container.delete("--force")


# ---- sysctls ---------------------------------------------------------------------------------------------------------

CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")
ESCAPES = [
    "kernel.core_pattern", "kernel/core_pattern", "net/../kernel/core_pattern", "net.ipv4/../../kernel.core_pattern",
    "net/ipv4/../../kernel/core_pattern", "/proc/sys/kernel/core_pattern", "net.....kernel.core_pattern",
    "net//../kernel/core_pattern", "fs/mqueue/../../kernel/core_pattern", "kernel/./core_pattern", "", "/", ".", "..",
    "net", "net/", "kernel.msgmax/../core_pattern",
]  # fmt: skip


@pytest.mark.parametrize("key", ESCAPES, ids=repr)
def test_sysctl_escape(key: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """No spelling of a key reaches a parameter of the host."""
    before = CORE_PATTERN.read_text()
    try:
        words = refused(runtime, make_bundle(linux={"sysctl": {key: "|/tmp/evil"}}))
        assert "/linux/sysctl" in words
        assert CORE_PATTERN.read_text() == before
    finally:
        if CORE_PATTERN.read_text() != before:
            CORE_PATTERN.write_text(before)


HOST_KEYS = {"network": "net.ipv4.ip_default_ttl", "ipc": "kernel.msgmax", "uts": "kernel.hostname"}


@pytest.mark.parametrize("kind", HOST_KEYS)
@pytest.mark.parametrize("way", ["absent", "joined"])
def test_sysctl_escape_by_the_hosts_namespace(way: str, kind: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """A key of a namespace that is the host's is the host's."""
    file = Path("/proc/sys") / HOST_KEYS[kind].replace(".", "/")
    before = file.read_text()

    def change(config: Json) -> None:
        spaces = [entry for entry in config["linux"]["namespaces"] if entry["type"] != kind]
        name = {"network": "net"}.get(kind, kind)
        joined = [{"type": kind, "path": f"/proc/self/ns/{name}"}] if way == "joined" else []
        config["linux"].update(namespaces=[*spaces, *joined], sysctl={HOST_KEYS[kind]: before.strip()})
        if kind == "uts":
            del config["hostname"]

    assert HOST_KEYS[kind] in refused(runtime, make_bundle(change))
    assert file.read_text() == before


# ---- masks, propagation, the end -------------------------------------------------------------------------------------


def test_mask_dir_ro_empty(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """A masked directory is empty, read-only, and stays so for a process that may mount; masks may repeat or miss."""
    masked = ["/sec", "/sec", "/sec/", "/no/such/path", "/sec/file", "/file"]
    script = "ls -A /sec; cat /file; touch /sec/x; umount /sec; mount -o remount,rw /sec; ls -A /sec; cat /sec/file"
    bundle = make_bundle(linux={"maskedPaths": masked}, args=["sh", "-c", script])
    bundle.add_file("/sec/file", SECRET)
    bundle.add_file("/file", SECRET)
    result = runtime.run_container(bundle)
    assert result.stdout == ""
    assert "Read-only file system" in result.stderr


@pytest.mark.parametrize("where", ["/sec/file", "/sec"])
def test_mask_readonly_symlink(where: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """A mask or a read-only path that is a symlink covers its target."""
    bundle = make_bundle(
        linux={"maskedPaths": ["/lnk"], "readonlyPaths": ["/lnk2"]},
        args=["sh", "-c", f"cat {where} /lnk; echo changed > /kept/file; cat /kept/file"],
    )
    bundle.add_file("/sec/file", SECRET)
    bundle.add_file("/kept/file", "kept\n")
    (bundle.rootfs / "lnk").symlink_to(where)
    (bundle.rootfs / "lnk2").symlink_to("../kept")
    assert runtime.run_container(bundle).stdout == "kept\n"


def test_no_mountns_host_propagation(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Without a mount namespace of its own a container changes nothing about the host's mounts."""

    def change(config: Json) -> None:
        config["mounts"] = [{"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"}]
        config["linux"] = {"namespaces": [{"type": "pid"}]}
        del config["hostname"]

    bundle = make_bundle(change, args=["true"])
    command = [runtime.program, "--root", str(runtime.root), "run", "--bundle", str(bundle.path), runtime.new_id()]
    script = 'mount --make-rshared /; cat /proc/self/mountinfo; echo ==; "$@" || exit; cat /proc/self/mountinfo'
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", *command]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    before, _, after = done.stdout.partition("==\n")
    assert done.returncode == 0, done.stderr
    assert after == before
    assert " shared:" in before


TIMED = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def test_hook_timeout(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """A hook of 30 s with a timeout of 1 s is ended, and of the container nothing is left, wherever the hook runs."""
    hook: dict[str, Any] = {
        "path": "/bin/sh",
        "args": ["sh", "-c", "sleep 30; true"],
        "env": ["PATH=/bin"],
        "timeout": 1,
    }
    began, started = time.monotonic(), []
    for kind in TIMED:
        bundle, name = make_bundle(hooks={kind: [hook]}, args=["sh", "-c", "sleep 0.1"]), runtime.new_id()
        stem = runtime.scratch / kind
        started.append((kind, stem, runtime.popen("run", "--bundle", str(bundle.path), name, stem=stem)))
    for kind, stem, process in started:
        code = process.wait(20)
        words = stem.with_suffix(".err").read_text()
        assert f"/hooks/{kind}/0" in words or kind == "poststop", words
        assert (code != 0) is (kind != "poststop"), kind
    assert time.monotonic() - began < 8
    assert runtime.entries() == []
    assert cgroups_named(runtime.prefix) == []


def test_exec_missing_binary_msg(runtime: Runtime, make_bundle: MakeBundle) -> None:
    assert "/no/such/prog" in refused(runtime, make_bundle(args=["/no/such/prog"]))


def test_delete_leaves_nothing(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """create, start, delete --force: no state, no cgroup, no process, no mount of the host's, nothing in the log."""
    mounts = Path("/proc/self/mountinfo").read_text()
    container = runtime.start(make_bundle(args=["sh", "-c", "sleep 600 & sleep 600 & wait"]))
    pid = container.pid
    children = children_of(pid)
    result = container.delete("--force")
    assert (result.stdout, result.stderr) == ("", "")
    os.waitpid(pid, 0)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    assert runtime.entries() == []
    assert cgroups_named(runtime.prefix) == []
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert json.loads(runtime.run("list", "--format", "json", check=True).stdout) in ([], None)


def test_the_process_cannot_trace_or_signal_outside(inside: Inside) -> None:
    """Process 1 is its own; the host's processes have no number inside."""
    assert inside("sh", "-c", "kill -0 -1 && echo; ls -d /proc/[0-9]* | wc -l").split() in (["3"], ["4"])


def test_bundle_is_only_read(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle: Bundle = make_bundle(args=["true"])
    before = sorted(os.listdir(bundle.path))
    runtime.run_container(bundle, check=True)
    assert sorted(os.listdir(bundle.path)) == before


def test_pid_file_symlink(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """The pid file's temporary name is known: a link there, in a directory of many users, must not be followed."""
    precious = runtime.scratch / "precious"
    precious.write_text("precious")
    (runtime.scratch / ".pid.tmp").symlink_to(precious)
    container = runtime.create(make_bundle(args=["true"]), "--pid-file", str(runtime.scratch / "pid"))
    assert (runtime.scratch / "pid").read_text() == str(container.pid)
    assert precious.read_text() == "precious"


def test_huge_annotations(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """What is written of them can be read: else the container could not be deleted."""
    container = runtime.create(make_bundle(annotations={"a": "b" * (1 << 20)}))
    assert len(container.state()["annotations"]["a"]) == 1 << 20
    container.delete("--force")
    assert not (runtime.root / container.id).exists()
