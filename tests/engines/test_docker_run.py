"""docker run: the process, its streams, its exit code and its view, as Docker's users expect them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines.docker import Docker
from tests.integration.views import fields


def test_the_daemon_knows_the_runtime_and_its_version(docker: Docker) -> None:
    assert docker("info", "--format={{.DefaultRuntime}}", check=True).stdout.strip() == docker.name
    version = docker("version", "--format={{json .Server.Components}}", check=True).stdout
    assert f'"Name":"{docker.name}"' in version


def test_the_exit_code_and_both_streams_are_passed_on(docker: Docker) -> None:
    done = docker.run("--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.code, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_a_signal_is_128_more(docker: Docker) -> None:
    assert docker.run("--init", "--", "sh", "-c", "kill -KILL $$").code == 137


def test_the_input_is_passed_on(docker: Docker) -> None:
    assert docker.run("--interactive", "--", "cat", stdin=b"hello\n", check=True).stdout == "hello\n"


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("nosuch", 127, "executable file not found"),
        ("/nosuch", 127, "no such file or directory"),
        ("/etc", 126, "permission denied"),
        ("/etc/passwd", 126, "permission denied"),
    ],
)
def test_a_command_that_cannot_run_has_its_code_and_words(docker: Docker, command: str, code: int, words: str) -> None:
    done = docker.run("--", command)
    assert done.code == code
    assert words in done.stderr


def test_user_groups_directory_and_environment(docker: Docker) -> None:
    words = ("--user=1000:5", "--group-add=77", "--workdir=/new/deep", "--env=A=b c", "--hostname=named")
    done = docker.run(*words, "--", "sh", "-c", "id -u; id -G; pwd; echo $A; hostname", check=True)
    assert done.stdout.splitlines() == ["1000", "5 77", "/new/deep", "b c", "named"]


def test_a_user_can_write_to_its_output_by_name(docker: Docker) -> None:
    done = docker.run("--user=1000", "--", "sh", "-c", "echo a >/dev/stdout; echo b >/dev/stderr", check=True)
    assert (done.stdout, done.stderr) == ("a\n", "b\n")


def test_capabilities_are_dropped_and_added(docker: Docker) -> None:
    status = fields(
        docker.run("--cap-drop=all", "--cap-add=chown", "--", "cat", "/proc/self/status", check=True).stdout
    )
    assert [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")] == [1, 1, 1]


@pytest.mark.usefixtures("every_capability")
def test_privileged_has_devices_and_may_mount(docker: Docker) -> None:
    script = "mount -t tmpfs x /tmp && echo mounted; ls /dev/fuse; grep Seccomp: /proc/self/status"
    done = docker.run("--privileged", "--", "sh", "-c", script, check=True)
    assert done.stdout.split() == ["mounted", "/dev/fuse", "Seccomp:", "0"]


def test_the_default_profile_filters_and_no_new_privileges_is_kept(docker: Docker) -> None:
    status = fields(docker.run("--security-opt=no-new-privileges", "--", "cat", "/proc/self/status", check=True).stdout)
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    status = fields(
        docker.run("--security-opt=seccomp=unconfined", "--", "cat", "/proc/self/status", check=True).stdout
    )
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("0", "0")


def test_a_read_only_root_with_a_tmpfs_and_a_bind_mount(docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host\n")
    words = ("--read-only", "--tmpfs=/t:size=1m", f"--volume={tmp_path}:/h:ro")
    done = docker.run(*words, "--", "sh", "-c", "touch /x; touch /h/x; touch /t/x; cat /h/file; df -k /t | tail -1")
    assert done.stderr.count("Read-only file system") == 2
    assert done.stdout.split()[:3] == ["host", "tmpfs", "1024"]


def test_a_volume_outlives_its_container(docker: Docker) -> None:
    docker.run("--volume=one:/v", "--", "sh", "-c", "echo kept >/v/kept", check=True)
    assert docker.run("--volume=one:/v", "--", "cat", "/v/kept", check=True).stdout == "kept\n"
    docker("volume", "rm", "one", check=True)


def test_devices_are_there_and_others_are_denied(docker: Docker) -> None:
    script = "ls /dev/f; : <>/dev/f && echo opened; mknod /tmp/m b 7 0; : </tmp/m && echo loop"
    done = docker.run("--device=/dev/fuse:/dev/f:rw", "--", "sh", "-c", script)
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
def test_limits_are_the_kernels(docker: Docker, option: str, file: str, text: str) -> None:
    if not Path("/sys/fs/cgroup", file.partition("/")[0]).is_dir():
        pytest.skip("needs cgroup v1")
    assert docker.run(option, "--", "cat", f"/sys/fs/cgroup/{file}", check=True).stdout.strip() == text


def test_sysctls_and_shared_memory(docker: Docker) -> None:
    words = ("--sysctl=net.ipv4.ip_forward=1", "--shm-size=2m", "--oom-score-adj=300")
    script = "cat /proc/sys/net/ipv4/ip_forward; df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2"
    done = docker.run(*words, "--", "sh", "-c", f"{script}; cat /proc/self/oom_score_adj", check=True)
    assert done.stdout.split() == ["1", "2048", "300"]


def test_namespaces_of_the_host_are_the_daemons(docker: Docker) -> None:
    words = ("--pid=host", "--ipc=host", "--uts=host")
    assert docker.run(*words, "--", "cat", "/proc/1/comm", network="host", check=True).stdout == "sleep\n"


def test_a_private_cgroup_namespace(docker: Docker) -> None:
    done = docker.run("--cgroupns=private", "--", "cat", "/proc/self/cgroup", check=True)
    assert {line.rpartition(":")[2] for line in done.stdout.splitlines()} == {"/"}


def test_a_terminal(docker: Docker) -> None:
    words = ["docker", "--host", docker.socket, "run", "--rm", "-t", "--network=none", "localhost/busybox", "tty"]
    done = docker.place.run("script", "-qec", " ".join(words), "/dev/null", check=True)
    assert "/dev/pts/0" in done.stdout
