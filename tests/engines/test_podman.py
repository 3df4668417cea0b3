"""What Podman alone has: user namespaces, hooks, an init of its own, pods, namespaces by path, healthchecks by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.engine import SERVER, SLEEP
from tests.engines.podman import Podman


@pytest.fixture
def removed(podman: Podman) -> Iterator[str]:
    """A name; a container of that name is removed at the end."""
    yield "own"
    podman.remove("own")


def test_a_user_namespace_has_its_own_root(podman: Podman) -> None:
    words = ("--uidmap=0:100000:65536", "--gidmap=0:200000:65536")
    script = "cat /proc/self/uid_map /proc/self/gid_map; id -u; touch /x && stat -c %u:%g /x"
    lines = podman.run(*words, "--", "sh", "-c", script, check=True).stdout.splitlines()
    assert [line.split() for line in lines[:2]] == [["0", "100000", "65536"], ["0", "200000", "65536"]]
    assert lines[2:] == ["0", "0:0"]


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
        f"--hooks-dir={hooks}", "run", "--rm", "--network=none", *podman.container, podman.image,
        "true", check=True,
    )  # fmt: skip
    assert done.code == 0
    text = (hooks / "out").read_text().replace(" ", "")
    assert '"status":"creating"' in text
    assert '"status":"stopped"' in text


def test_a_healthcheck_is_an_exec(podman: Podman, removed: str) -> None:
    words = ("--health-cmd=test -e /tmp/well", "--health-interval=disable", "--health-retries=1")
    podman.start(removed, *words, *SLEEP)
    assert podman("healthcheck", "run", removed).code == 1
    podman("exec", removed, "touch", "/tmp/well", check=True)
    assert podman("healthcheck", "run", removed).code == 0
    assert podman.inspect(removed, ".State.Health.Status") == "healthy"


def test_create_init_start(podman: Podman, removed: str) -> None:
    podman(
        "create", f"--name={removed}", "--network=none", *podman.container, "--interactive",
        podman.image, "cat", check=True,
    )  # fmt: skip
    podman("init", removed, check=True)
    assert podman.inspect(removed, ".State.Status") in {"created", "initialized"}
    assert podman("start", "--attach", "--interactive", removed, stdin=b"abc", check=True).stdout == "abc"


def test_update_changes_the_limits(podman: Podman, removed: str) -> None:
    if "update" not in podman("--help").stdout:
        pytest.skip("this Podman has no update")
    podman.start(removed, *SLEEP)
    podman("update", "--cpu-shares=300", removed, check=True)
    path = "cpu.weight" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "cpu/cpu.shares"
    assert podman("exec", removed, "cat", f"/sys/fs/cgroup/{path}", check=True).stdout in {"300\n", "12\n"}


def test_a_user_namespace_is_joined_too(podman: Podman, removed: str) -> None:
    podman.start(removed, "--uidmap=0:100000:65536", "--gidmap=0:100000:65536", *SLEEP)
    joined = [f"--{kind}=container:{removed}" for kind in ("userns", "pid", "ipc")]
    done = podman.run(*joined, "--", "cat", "/proc/self/uid_map", network=f"container:{removed}", check=True)
    assert done.stdout.split() == ["0", "100000", "65536"]


def test_a_named_network_namespace_is_joined(podman: Podman) -> None:
    place = podman.place
    place.run("ip", "netns", "add", "outer", check=True)
    place.run("ip", "-n", "outer", "link", "add", "seen0", "type", "veth", check=True)
    done = podman.run("--", "ls", "/sys/class/net", network="ns:/run/netns/outer", check=True)
    assert "seen0" in done.stdout.split()
    place.run("ip", "netns", "del", "outer", check=True)


def test_containers_of_a_pod_share_its_namespaces(podman: Podman) -> None:
    infra = ("--infra-command", "/bin/sleep 600", "--infra-image", podman.image)
    created = podman(
        "pod", "create", "--name=pod", "--hostname=podhost", "--share=net,ipc,uts", *podman.container, *infra
    )
    assert created.code == 0, created.text
    try:
        start = ("run", "--detach", "--pod=pod")
        podman(*start, "--name=web", podman.image, *SERVER[1:], check=True)
        asked = "sleep 0.5; hostname; wget -qO- http://127.0.0.1/page"
        done = podman("run", "--rm", "--pod=pod", podman.image, "sh", "-c", asked, check=True)
        assert done.stdout.splitlines() == ["podhost", "page-of-podhost"]
        podman("pod", "stop", "--time=0", "pod", check=True)
        assert podman("pod", "ps", "--format={{.Status}}", check=True).stdout.strip() == "Exited"
        podman("pod", "start", "pod", check=True)
        assert podman("pod", "ps", "--format={{.Status}}", check=True).stdout.strip() == "Running"
    finally:
        podman("pod", "rm", "--force", "--time=0", "pod")
