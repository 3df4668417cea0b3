"""An ordinary user's containers: the caller has no privilege at all but subordinate ids, and perhaps a systemd."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.support import BASE, DEV, PROC, PTS, Bundle, Json, Runtime, wait_for
from tests.integration.views import MakeBundle, fields, host_cgroups, namespaces

pytestmark = pytest.mark.ordinary

KINDS = [entry["type"] for entry in BASE["linux"]["namespaces"]]
MEMORY = {"resources": {"memory": {"limit": 64 << 20}}}


def one(host: int) -> list[Json]:
    """The mapping of this one id to root."""
    return [{"containerID": 0, "hostID": host, "size": 1}]


def subordinate(name: str, own: int) -> list[Json]:
    """The caller as root, and its subordinate ids of that file above it."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    lines = [line.split(":") for line in Path(name).read_text().splitlines()] if Path(name).exists() else []
    ranges = [(int(first), int(count)) for who, first, count in lines if who in {user, str(os.geteuid())}]
    if not ranges or not shutil.which("newuidmap"):
        pytest.skip(f"needs newuidmap and subordinate ids in {name}")
    return [*one(own), {"containerID": 1, "hostID": ranges[0][0], "size": ranges[0][1]}]


@pytest.fixture
def bundle(make_bundle: MakeBundle) -> Callable[..., Bundle]:
    """A factory as make_bundle, of bundles with a user namespace in which the caller is root."""

    def make(linux: Json | None = None, **delta: object) -> Bundle:
        maps = {"uidMappings": one(os.geteuid()), "gidMappings": one(os.getegid())}
        section = {"namespaces": namespaces("user", *KINDS), **maps, **(linux or {})}
        return make_bundle(mounts=[PROC, DEV, PTS], linux=section, **delta)

    return make


@pytest.fixture
def user_manager() -> None:
    """The caller's own systemd."""
    if not Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere"), "systemd/private").exists():
        pytest.skip("needs a systemd of the user's own")


def test_the_caller_is_root_of_its_container_alone(runtime: Runtime, bundle: Callable[..., Bundle]) -> None:
    made = bundle(args=["sh", "-c", "id -u; hostname; touch /made; cat /proc/self/setgroups"])
    assert runtime.run_container(made, check=True).stdout.split() == ["0", "box", "deny"]
    assert (made.rootfs / "made").stat().st_uid == os.geteuid()


def test_a_container_goes_through_its_life(runtime: Runtime, bundle: Callable[..., Bundle]) -> None:
    container = runtime.create(bundle(args=["sleep", "600"]))
    assert container.state()["owner"] == pwd.getpwuid(os.geteuid()).pw_name
    assert stat.S_IMODE((runtime.root / container.id).stat().st_mode) == 0o700
    container.start()
    assert runtime.run("exec", container.id, "hostname", check=True).stdout == "box\n"
    assert container.id in runtime.run("list", check=True).stdout
    container.kill("KILL")
    container.wait_stopped()
    container.delete()


def test_subordinate_ids_are_mapped(runtime: Runtime, bundle: Callable[..., Bundle]) -> None:
    uids, gids = subordinate("/etc/subuid", os.geteuid()), subordinate("/etc/subgid", os.getegid())
    made = bundle({"uidMappings": uids, "gidMappings": gids}, args=["sleep", "600"], process={"user": {"uid": 9}})
    status = fields(runtime.start(made).proc("status"))
    assert status["Uid"].split() == [str(uids[1]["hostID"] + 8)] * 4


def test_a_limit_that_the_caller_may_not_set_is_refused_with_the_reason(
    runtime: Runtime, bundle: Callable[..., Bundle]
) -> None:
    made = bundle({**MEMORY, "cgroupsPath": f"/{runtime.prefix}"})
    message = runtime.run_container(made, check=False).stderr
    assert "/linux/resources/memory" in message
    assert "limits need root or delegation" in message


@pytest.mark.usefixtures("user_manager")
def test_the_callers_systemd_limits_a_container(runtime: Runtime, bundle: Callable[..., Bundle]) -> None:
    container = runtime.create(bundle(MEMORY, args=["sleep", "600"]), "--systemd-cgroup")
    path = Path("/sys/fs/cgroup" + host_cgroups(container.pid)[""])
    assert path.name.endswith(f"{container.id}.scope")
    assert f"user@{os.geteuid()}.service" in path.parts
    assert (path / "memory.max").read_text() == f"{64 << 20}\n"
    container.start()
    container.stop()
    assert not path.exists()


@pytest.mark.usefixtures("user_manager")
def test_a_container_of_the_callers_systemd_is_paused_updated_watched_and_killed_whole(
    runtime: Runtime, bundle: Callable[..., Bundle]
) -> None:
    script = "sleep 600 & sleep 601 & wait"
    container = runtime.start(bundle(MEMORY, args=["sh", "-c", script]), "--systemd-cgroup")
    path = Path("/sys/fs/cgroup" + host_cgroups(container.pid)[""])
    wait_for(lambda: len(runtime.run("ps", "--format=json", container.id, check=True).json()) == 3, "both sleep")
    container.pause()
    assert container.status == "paused"
    container.resume()
    runtime.run("update", "--pids-limit", "20", "--memory", str(32 << 20), container.id, check=True)
    assert [(path / name).read_text() for name in ("pids.max", "memory.max")] == ["20\n", f"{32 << 20}\n"]
    stats = runtime.run("events", "--stats", container.id, check=True).json()["data"]
    assert (stats["pids"]["current"], stats["pids"]["limit"]) == (3, 20)
    assert stats["memory"]["usage"]["limit"] == 32 << 20
    container.kill("--all", "KILL")
    container.wait_stopped()
    container.delete()
    assert not path.exists()
