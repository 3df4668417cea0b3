"""What each kind of hook runs with (docs/plan.md, "Hooks"): the runtime's rights, or the process's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import Bundle, Json, Runtime
from tests.integration.test_hooks import KINDS
from tests.integration.views import MakeBundle, fields

# On the runtime's side, with its rights: programs of the host's.
RUNTIMES = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")

SCRIPT = """#!/bin/sh
out=$(cat /journal-of 2>/dev/null || echo $JOURNAL)
{
  cat /proc/self/status
  echo "Env: $(env | tr '\\n' ' ')"
  echo "Cwd: $(pwd)"
  echo "Mask: $(umask)"
  echo "Limit: $(grep 'Max open files' /proc/self/limits)"
  mkdir ${WHERE:-/tmp}/by-hook 2>/dev/null && echo "Mkdir: made" || echo "Mkdir: refused"
} >>$out
"""

CONFINED: Json = {
    "user": {"uid": 1000, "gid": 1001, "umask": 0o27, "additionalGids": [7]},
    "cwd": "/tmp",
    "env": ["PATH=/bin:/usr/bin", "OF=process"],
    "capabilities": {name: ["CAP_CHOWN"] for name in ("bounding", "permitted", "effective", "inheritable", "ambient")},
    "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}],
}
REFUSE_MKDIR = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
}


def seen_by_start_container(runtime: Runtime, make_bundle: MakeBundle, hook: Json, **delta: Any) -> dict[str, str]:
    """What a startContainer hook writes of itself."""
    bundle: Bundle = make_bundle(args=["true"], **delta)
    bundle.add_file("/hook", SCRIPT, 0o755)
    bundle.add_file("/etc/passwd", "someone:x:1000:1001::/home/someone:/bin/sh\n")
    journal = bundle.add_file("/journal", "", 0o666)
    bundle.add_file("/journal-of", "/journal\n")
    bundle.config["hooks"] = {"startContainer": [{"path": "/hook", **hook}]}
    container = runtime.create(bundle.write())
    assert not journal.read_text()
    container.start()
    return fields(journal.read_text())


@pytest.mark.parametrize("privileges", [True, False], ids=["no_new_privs", "privileged"])
def test_start_container_is_confined_as_the_process_is(
    runtime: Runtime, make_bundle: MakeBundle, privileges: bool
) -> None:
    process = {**CONFINED, "noNewPrivileges": privileges}
    seen = seen_by_start_container(runtime, make_bundle, {}, process=process, linux={"seccomp": REFUSE_MKDIR})
    assert seen["NoNewPrivs"] == ("1" if privileges else "0")
    assert (seen["Seccomp"], seen["Seccomp_filters"]) == ("2", "1")
    assert seen["Mkdir"] == "refused"
    assert (seen["Uid"].split(), seen["Gid"].split()) == (["1000"] * 4, ["1001"] * 4)
    assert seen["Groups"].split() == ["7"]
    assert {int(seen[name], 16) for name in ("CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb")} == {1}
    assert seen["Limit"].split()[3:5] == ["100", "200"]
    assert (seen["Cwd"], int(seen["Mask"], 8)) == ("/tmp", 0o27)
    assert {"OF=process", "HOME=/home/someone"} <= set(seen["Env"].split())


def test_a_setuid_program_as_start_container_hook_gains_nothing(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["true"], process={**CONFINED, "noNewPrivileges": True}, linux={"seccomp": REFUSE_MKDIR})
    busybox = bundle.rootfs / "setuid-id"
    busybox.write_bytes(Path("/bin/busybox").read_bytes())
    busybox.chmod(0o4755)
    bundle.config["hooks"] = {"startContainer": [{"path": "/setuid-id", "args": ["sh", "-c", "id -u >&2; exit 3"]}]}
    container = runtime.create(bundle.write())
    result = runtime.run("start", container.id, check=False)
    assert "exited with status 3: 1000" in result.stderr, result.stderr


def test_start_container_with_an_environment_of_its_own_gets_that_alone(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    seen = seen_by_start_container(runtime, make_bundle, {"env": ["PATH=/bin", "OWN=1"]}, process=CONFINED)
    assert {"OWN=1", "PATH=/bin"} <= set(seen["Env"].split())
    assert "OF=process" not in seen["Env"]
    assert "HOME=" not in seen["Env"]


def test_a_filter_need_not_allow_what_the_init_does_to_run_a_hook(runtime: Runtime, make_bundle: MakeBundle) -> None:
    own = ["clone", "clone3", "fork", "vfork", "wait4", "ppoll", "pipe2", "setsid", "dup3", "lseek", "close_range"]
    filter_ = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": own, "action": "SCMP_ACT_KILL_PROCESS"}]}
    bundle = make_bundle(args=["echo", "ran"], linux={"seccomp": filter_})
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/touch", "args": ["touch", "/hook-ran"]}]}
    assert runtime.run_container(bundle.write(), check=True).stdout == "ran\n"
    assert (bundle.rootfs / "hook-ran").exists()


@pytest.mark.parametrize("kind", RUNTIMES)
def test_the_others_have_the_runtimes_rights(
    runtime: Runtime, make_bundle: MakeBundle, scratch: Path, kind: str
) -> None:
    """Programs of whoever wrote the config, for work that takes privileges: a network, a device."""
    script = scratch / "hook"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    journal = scratch / "journal"
    journal.touch()
    bundle = make_bundle(args=["sleep", "600"], process=CONFINED, linux={"seccomp": REFUSE_MKDIR})
    environment = [f"JOURNAL={journal}", f"WHERE={scratch}", "PATH=/usr/bin:/bin"]
    bundle.config["hooks"] = {kind: [{"path": str(script), "env": environment}]}
    container = runtime.create(bundle.write())
    container.start()
    container.stop()
    own, seen = fields(Path("/proc/self/status").read_text()), fields(journal.read_text())
    for name in ("Uid", "Gid", "CapBnd", "CapPrm", "CapEff", "NoNewPrivs", "Seccomp"):
        assert seen[name] == own[name], name
    assert seen["Mkdir"] == "made"
    assert set(environment) <= set(seen["Env"].split())


def test_create_container_stands_in_the_root_that_is_not_entered_yet(
    runtime: Runtime, make_bundle: MakeBundle, scratch: Path
) -> None:
    bundle = make_bundle(args=["cat", "/made"])
    script = f"echo by-hook >made; pwd >{scratch}/cwd"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}
    bundle.config["hooks"] = {"createContainer": [hook]}
    assert runtime.run_container(bundle.write(), check=True).stdout == "by-hook\n"
    assert (scratch / "cwd").read_text().strip() == str(bundle.rootfs)


def test_every_kind_is_here() -> None:
    assert {*RUNTIMES, "startContainer"} == set(KINDS)
