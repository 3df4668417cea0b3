"""podman run: the process, its streams, its exit code and its view, as Podman's users expect them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines.podman import Podman
from tests.integration.views import fields

# A list of one's own replaces the configured one.
ULIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")


def test_the_exit_code_and_both_streams_are_passed_on(podman: Podman) -> None:
    done = podman.run("--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.code, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_a_signal_is_128_more(podman: Podman) -> None:
    assert podman.run("--init", "--", "sh", "-c", "kill -KILL $$").code == 137


def test_the_input_is_passed_on(podman: Podman) -> None:
    assert podman.run("--interactive", "--", "cat", stdin=b"hello\n", check=True).stdout == "hello\n"


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("nosuch", 127, "executable file"),
        ("/nosuch", 127, "no such file"),
        ("/etc", 126, "permission denied"),
        ("/etc/passwd", 126, "permission denied"),
    ],
)
def test_a_command_that_cannot_run_has_its_code_and_words(podman: Podman, command: str, code: int, words: str) -> None:
    done = podman.run("--", command)
    assert done.code == code
    assert words in done.stderr


def test_user_groups_directory_and_environment(podman: Podman) -> None:
    words = ("--user=1000:5", "--group-add=77", "--workdir=/tmp", "--env=A=b c", "--hostname=named")
    done = podman.run(*words, "--", "sh", "-c", "id -u; id -G; pwd; echo $A; hostname", check=True)
    assert done.stdout.splitlines() == ["1000", "5 77", "/tmp", "b c", "named"]


def test_a_user_can_write_to_its_output_by_name(podman: Podman) -> None:
    done = podman.run("--user=1000", "--", "sh", "-c", "echo a >/dev/stdout; echo b >/dev/stderr", check=True)
    assert (done.stdout, done.stderr) == ("a\n", "b\n")


def test_capabilities_are_dropped_and_added(podman: Podman) -> None:
    status = fields(
        podman.run("--cap-drop=all", "--cap-add=chown", "--", "cat", "/proc/self/status", check=True).stdout
    )
    assert [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")] == [1, 1, 1]


@pytest.mark.usefixtures("every_capability")
def test_privileged_has_devices_and_may_mount(podman: Podman) -> None:
    script = "mount -t tmpfs x /tmp && echo mounted; ls /dev/fuse; grep Seccomp: /proc/self/status"
    assert podman.run("--privileged", "--", "sh", "-c", script, check=True).stdout.split() == [
        "mounted", "/dev/fuse", "Seccomp:", "0",
    ]  # fmt: skip


def test_the_default_profile_filters_and_no_new_privileges_is_kept(podman: Podman) -> None:
    status = fields(podman.run("--security-opt=no-new-privileges", "--", "cat", "/proc/self/status", check=True).stdout)
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    status = fields(
        podman.run("--security-opt=seccomp=unconfined", "--", "cat", "/proc/self/status", check=True).stdout
    )
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("0", "0")


def test_a_seccomp_profile_of_the_users(podman: Podman) -> None:
    profile = podman.place.scratch / "profile.json"
    profile.write_text(
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls":'
        ' [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}'
    )
    done = podman.run(f"--security-opt=seccomp={profile}", "--", "mkdir", "/x")
    assert "Operation not supported" in done.stderr


def test_a_read_only_root_with_a_tmpfs(podman: Podman) -> None:
    done = podman.run(
        "--read-only", "--tmpfs=/t:size=1m", "--", "sh", "-c", "touch /x; touch /t/x && df -k /t | tail -1"
    )
    assert "Read-only file system" in done.stderr
    assert done.stdout.split()[1] == "1024"


def test_volumes_and_bind_mounts(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host\n")
    script = "cat /h/file; touch /h/x; echo kept >/v/kept; touch /etc/x 2>&1 | grep -c Read-only"
    mounts = (f"--volume={tmp_path}:/h:ro", "--volume=one:/v")
    done = podman.run(*mounts, "--read-only", "--", "sh", "-c", script)
    assert done.stdout == "host\n1\n"
    assert "Read-only" in done.stderr
    assert podman.run("--volume=one:/v", "--", "cat", "/v/kept", check=True).stdout == "kept\n"
    podman("volume", "rm", "one", check=True)


def test_devices_are_there_and_others_are_denied(podman: Podman) -> None:
    script = "ls /dev/f; : <>/dev/f && echo opened; mknod /tmp/m b 7 0; : </tmp/m && echo loop"
    done = podman.run("--device=/dev/fuse:/dev/f:rw", "--", "sh", "-c", script)
    assert done.stdout == "/dev/f\nopened\n"
    assert "Operation not permitted" in done.stderr


@pytest.mark.parametrize(
    ("option", "file", "text"),
    [
        ("--memory=64m", "memory/memory.limit_in_bytes", "67108864"),
        ("--cpus=0.5", "cpu/cpu.cfs_quota_us", "50000"),
        ("--cpu-shares=512", "cpu/cpu.shares", "512"),
        ("--pids-limit=30", "pids/pids.max", "30"),
        ("--cpuset-cpus=0", "cpuset/cpuset.cpus", "0"),
    ],
)
def test_limits_are_the_kernels(podman: Podman, option: str, file: str, text: str) -> None:
    if not Path("/sys/fs/cgroup", file.partition("/")[0]).is_dir():
        pytest.skip("needs cgroup v1")
    done = podman.run(option, "--cgroupns=host", "--", "cat", f"/sys/fs/cgroup/{file}", check=True)
    assert done.stdout.strip() == text


def test_sysctls_limits_of_the_process_and_shared_memory(podman: Podman) -> None:
    words = ("--sysctl=net.ipv4.ip_forward=1", *ULIMITS, "--ulimit=core=10:20", "--shm-size=2m", "--oom-score-adj=300")
    script = "cat /proc/sys/net/ipv4/ip_forward; awk '/core file/ {print $5}' /proc/self/limits"
    script += "; df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2"
    done = podman.run(*words, "--", "sh", "-c", f"{script}; cat /proc/self/oom_score_adj", check=True)
    assert done.stdout.split() == ["1", "10", "2048", "300"]


def test_a_user_namespace_has_its_own_root(podman: Podman) -> None:
    words = ("--uidmap=0:100000:65536", "--gidmap=0:200000:65536")
    script = "cat /proc/self/uid_map /proc/self/gid_map; id -u; touch /x && stat -c %u:%g /x"
    lines = podman.run(*words, "--", "sh", "-c", script, check=True).stdout.splitlines()
    assert [line.split() for line in lines[:2]] == [["0", "100000", "65536"], ["0", "200000", "65536"]]
    assert lines[2:] == ["0", "0:0"]


def test_preserved_descriptors_reach_the_process_and_no_others_do(podman: Podman) -> None:
    assert podman.run("--", "ls", "/proc/self/fd", check=True).stdout.split() == ["0", "1", "2", "3"]


def test_namespaces_of_the_host_are_the_places(podman: Podman) -> None:
    script = "cat /proc/1/comm; ls /sys/class/net"
    words = ("--pid=host", "--ipc=host", "--uts=host")
    assert podman.run(*words, "--", "sh", "-c", script, network="host", check=True).stdout.split()[0] == "sleep"


def test_an_init_reaps_and_passes_signals_on(podman: Podman) -> None:
    assert podman.run("--init", "--", "cat", "/proc/1/comm", check=True).stdout == "podman-init\n"


def test_hooks_of_a_directory_run_with_the_state(podman: Podman) -> None:
    hooks = podman.place.scratch / "hooks"
    hooks.mkdir()
    script = hooks / "hook.sh"
    script.write_text(f"#!/bin/sh\n/bin/cat >>{hooks}/out\n")
    script.chmod(0o755)
    (hooks / "a.json").write_text(
        f'{{"version": "1.0.0", "hook": {{"path": "{script}"}}, "when": {{"always": true}},'
        ' "stages": ["createRuntime", "poststop"]}'
    )
    done = podman(
        f"--hooks-dir={hooks}", "run", "--rm", "--network=none", f"--cgroup-parent={podman.place.cgroup}", podman.image,
        "true", check=True,
    )  # fmt: skip
    assert done.code == 0
    text = (hooks / "out").read_text().replace(" ", "")
    assert '"status":"creating"' in text
    assert '"status":"stopped"' in text
