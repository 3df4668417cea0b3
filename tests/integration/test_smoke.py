"""The life of one container, as the demo shows it."""

from __future__ import annotations

from collections.abc import Callable

from tests.integration.support import CGROUP, Runtime, wait_for
from tests.integration.views import MakeBundle


def test_a_container_goes_through_created_running_stopped_and_is_gone(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    container = runtime.create(make_bundle(args=["sleep", "600"]))
    state = container.state()
    assert state["status"] == "created"
    assert state["id"] == container.id
    assert state["bundle"] == str(container.bundle.path)
    assert container.proc("comm", state["pid"]) != "sleep\n"

    container.start()
    state = container.state()
    assert state["status"] == "running"
    assert container.proc("cmdline", state["pid"]) == "sleep\0" + "600\0"

    container.kill("KILL")
    container.wait_stopped()
    container.delete()
    assert runtime.run("state", container.id, check=False).stderr.count("does not exist") == 1


def test_list_shows_the_container_in_both_formats(runtime: Runtime, make_bundle: MakeBundle) -> None:
    container = runtime.create(make_bundle(args=["sleep", "600"]))
    assert container.id in runtime.run("list", check=True).stdout
    listed = runtime.run("list", "--format", "json", check=True).json()
    assert [(entry["id"], entry["status"]) for entry in listed] == [(container.id, "created")]
    assert runtime.run("list", "--quiet", check=True).stdout == container.id + "\n"
    container.stop()
    assert runtime.run("list", "--quiet", check=True).stdout == ""


def test_run_passes_on_output_and_exit_code(runtime: Runtime, make_bundle: MakeBundle) -> None:
    result = runtime.run_container(make_bundle(args=["sh", "-c", "echo out; echo err >&2; exit 7"]))
    assert (result.code, result.stdout, result.stderr) == (7, "out\n", "err\n")


def test_run_tells_a_signal_as_128_and_its_number(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["sh", "-c", "sh -c 'kill -TERM $$'; exit $?"])
    assert runtime.run_container(bundle).code == 143


def test_detached_run_returns_at_once_and_leaves_a_running_container(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["sleep", "600"])
    result = runtime.run_container(bundle, "--detach")
    assert (result.code, result.stdout, result.stderr) == (0, "", "")
    container = runtime.containers[0]
    assert container.status == "running"
    assert container.delete(check=False).stderr != ""
    container.delete("--force")


def test_the_process_runs_with_pid_1_its_own_hostname_and_root(
    inside: Callable[..., str], make_bundle: MakeBundle
) -> None:
    output = inside("sh", "-c", "echo $$; hostname; ls /", hostname="vault")
    lines = output.split()
    assert lines[:2] == ["1", "vault"]
    assert set(lines[2:]) == {"bin", "sbin", "dev", "etc", "proc", "sys", "tmp", "root"}


def test_every_container_has_its_own_cgroup(runtime: Runtime, make_bundle: MakeBundle) -> None:
    container = runtime.start(make_bundle(args=["sleep", "600"]))
    assert f"/ocirt/{container.id}" in container.proc("cgroup")
    container.stop()


def test_cgroup_mounts_show_the_own_cgroup(runtime: Runtime, make_bundle: MakeBundle) -> None:
    script = "ls /sys/fs/cgroup; sleep 600"
    bundle = make_bundle(lambda config: config["mounts"].append(CGROUP), args=["sh", "-c", script])
    container = runtime.start(bundle)
    assert wait_for(lambda: container.stdout, "output of ls")
    assert any(mount.target.startswith("/sys/fs/cgroup") for mount in container.mounts())
    container.stop()
