"""`run`: the process, its streams, its exit code and its view, as users of Podman and of Docker expect them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines.engine import Engine
from tests.integration.views import fields


def test_the_exit_code_and_both_streams_are_passed_on(engine: Engine) -> None:
    done = engine.run("--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.code, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_a_signal_is_128_more(engine: Engine) -> None:
    assert engine.run("--init", "--", "sh", "-c", "kill -KILL $$").code == 137


def test_the_input_is_passed_on(engine: Engine) -> None:
    assert engine.run("--interactive", "--", "cat", stdin=b"hello\n", check=True).stdout == "hello\n"


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("nosuch", 127, "executable file not found"),
        ("/nosuch", 127, "no such file or directory"),
        ("/etc", 126, "permission denied"),
        ("/etc/passwd", 126, "permission denied"),
    ],
)
def test_a_command_that_cannot_run_has_its_code_and_words(engine: Engine, command: str, code: int, words: str) -> None:
    done = engine.run("--", command)
    assert done.code == code
    assert words in done.stderr


def test_user_groups_directory_and_environment(engine: Engine) -> None:
    words = ("--user=1000:5", "--group-add=77", "--workdir=/tmp", "--env=A=b c", "--hostname=named")
    done = engine.run(*words, "--", "sh", "-c", "id -u; id -G; pwd; echo $A; hostname", check=True)
    assert done.stdout.splitlines() == ["1000", "5 77", "/tmp", "b c", "named"]


def test_a_user_can_write_to_its_output_by_name(engine: Engine) -> None:
    done = engine.run("--user=1000", "--", "sh", "-c", "echo a >/dev/stdout; echo b >/dev/stderr", check=True)
    assert (done.stdout, done.stderr) == ("a\n", "b\n")


def test_capabilities_are_dropped_and_added(engine: Engine) -> None:
    status = fields(
        engine.run("--cap-drop=all", "--cap-add=chown", "--", "cat", "/proc/self/status", check=True).stdout
    )
    assert [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")] == [1, 1, 1]


@pytest.mark.usefixtures("every_capability")
def test_privileged_has_devices_and_may_mount(engine: Engine) -> None:
    script = "mount -t tmpfs x /tmp && echo mounted; ls /dev/fuse; grep Seccomp: /proc/self/status"
    done = engine.run("--privileged", "--", "sh", "-c", script, check=True)
    assert done.stdout.split() == ["mounted", "/dev/fuse", "Seccomp:", "0"]


def test_the_default_profile_filters_and_no_new_privileges_is_kept(engine: Engine) -> None:
    status = fields(engine.run("--security-opt=no-new-privileges", "--", "cat", "/proc/self/status", check=True).stdout)
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    status = fields(
        engine.run("--security-opt=seccomp=unconfined", "--", "cat", "/proc/self/status", check=True).stdout
    )
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("0", "0")


def test_a_read_only_root_with_a_tmpfs_and_a_bind_mount(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host\n")
    words = ("--read-only", "--tmpfs=/t:size=1m", f"--volume={tmp_path}:/h:ro")
    done = engine.run(*words, "--", "sh", "-c", "touch /x; touch /h/x; touch /t/x; cat /h/file; df -k /t | tail -1")
    assert done.stderr.count("Read-only file system") == 2
    assert done.stdout.split()[:3] == ["host", "tmpfs", "1024"]


def test_a_volume_outlives_its_container(engine: Engine) -> None:
    engine.run("--volume=one:/v", "--", "sh", "-c", "echo kept >/v/kept", check=True)
    assert engine.run("--volume=one:/v", "--", "cat", "/v/kept", check=True).stdout == "kept\n"
    engine("volume", "rm", "one", check=True)


def test_devices_are_there_and_others_are_denied(engine: Engine) -> None:
    script = "ls /dev/f; : <>/dev/f && echo opened; mknod /tmp/m b 7 0; : </tmp/m && echo loop"
    done = engine.run("--device=/dev/fuse:/dev/f:rw", "--", "sh", "-c", script)
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
def test_limits_are_the_kernels(engine: Engine, option: str, file: str, text: str) -> None:
    if not Path("/sys/fs/cgroup", file.partition("/")[0]).is_dir():
        pytest.skip("needs cgroup v1")
    done = engine.run(option, "--cgroupns=host", "--", "cat", f"/sys/fs/cgroup/{file}", check=True)
    assert done.stdout.strip() == text


def test_sysctls_and_shared_memory(engine: Engine) -> None:
    words = ("--sysctl=net.ipv4.ip_forward=1", "--shm-size=2m", "--oom-score-adj=300")
    script = "cat /proc/sys/net/ipv4/ip_forward; df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2"
    done = engine.run(*words, "--", "sh", "-c", f"{script}; cat /proc/self/oom_score_adj", check=True)
    assert done.stdout.split() == ["1", "2048", "300"]


def test_a_private_cgroup_namespace(engine: Engine) -> None:
    done = engine.run("--cgroupns=private", "--", "cat", "/proc/self/cgroup", check=True)
    assert {line.rpartition(":")[2] for line in done.stdout.splitlines()} == {"/"}


def test_a_seccomp_profile_of_the_users(engine: Engine) -> None:
    profile = engine.place.scratch / "profile.json"
    profile.write_text(
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls":'
        ' [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}'
    )
    done = engine.run(f"--security-opt=seccomp={profile}", "--", "mkdir", "/x")
    assert "Operation not supported" in done.stderr


def test_preserved_descriptors_reach_the_process_and_no_others_do(engine: Engine) -> None:
    assert engine.run("--", "ls", "/proc/self/fd", check=True).stdout.split() == ["0", "1", "2", "3"]


def test_namespaces_of_the_host_are_the_places(engine: Engine) -> None:
    words = ("--pid=host", "--ipc=host", "--uts=host")
    assert engine.run(*words, "--", "cat", "/proc/1/comm", network="host", check=True).stdout == "sleep\n"


def test_a_terminal(engine: Engine) -> None:
    words = ("run", "--rm", "--tty", *engine.words(("--", "sh", "-c", "tty; ls -l /dev/console"), "none"))
    said = engine.terminal(*words).stdout
    assert "/dev/pts/0" in said
    assert "crw" in said
