"""An ordinary user calls the runtime: with a single id or subordinate ones, and no privileged step."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.support import BASE, DEV, PROC, PTS, Bundle, Json, Runtime, needs_open_way, wait_for
from tests.integration.views import (
    MAPPED,
    SUBORDINATE,
    MakeBundle,
    fields,
    mapping,
    namespaces,
    ns_of,
    ns_path,
    wrapper,
)

# An account that calls the runtime without privileges; nobody has this id.
CALLER = 12345


def as_caller(runtime: Runtime, scratch: Path, *before: str) -> None:
    """From here on CALLER calls the runtime, with a state root of its own; `before` is a command that wraps it."""
    needs_open_way(runtime.program)
    home = scratch / "home"
    home.mkdir(mode=0o700)
    os.chown(home, CALLER, CALLER)
    runtime.root = home / "state"
    drop = ["setpriv", f"--reuid={CALLER}", f"--regid={CALLER}", "--clear-groups", "--bounding-set=-all"]
    if before:
        drop.pop()  # a bounding set without CAP_SETUID would take the helper's rights away
    runtime.program = wrapper(scratch / "as-caller", [*before, *drop, "--", runtime.program])


ROOTLESS: Json = {"mounts": [PROC, DEV, PTS], "process": {"user": {"uid": 0, "gid": 0}}}


@pytest.fixture
def rootless_bundle(make_bundle: MakeBundle) -> Callable[..., Bundle]:
    """A factory as make_bundle, of bundles that belong to CALLER."""

    def make(maps: Json, **delta: object) -> Bundle:
        kinds = [entry["type"] for entry in BASE["linux"]["namespaces"]]
        section = {"namespaces": namespaces("user", *kinds), **maps}
        bundle = make_bundle(**{**ROOTLESS, **delta}, linux=section)
        subprocess.run(["chown", "-hR", f"{CALLER}:{CALLER}", bundle.path], check=True)
        return bundle

    return make


ALONE = {"uidMappings": mapping((0, CALLER, 1)), "gidMappings": mapping((0, CALLER, 1))}


def test_an_ordinary_user_gets_a_container_with_itself_for_root(
    runtime: Runtime, scratch: Path, rootless_bundle: Callable[..., Bundle]
) -> None:
    as_caller(runtime, scratch)
    bundle = rootless_bundle(ALONE, args=["sh", "-c", "id -u; hostname; touch /made; cat /proc/self/setgroups"])
    result = runtime.run_container(bundle, check=True)
    assert result.stdout.split() == ["0", "box", "deny"]
    assert (bundle.rootfs / "made").stat().st_uid == CALLER


def test_an_ordinary_user_takes_a_container_through_its_life(
    runtime: Runtime, scratch: Path, rootless_bundle: Callable[..., Bundle]
) -> None:
    as_caller(runtime, scratch)
    container = runtime.create(rootless_bundle(ALONE, args=["sleep", "600"]))
    assert container.state()["owner"] == str(CALLER)
    assert stat.S_IMODE((runtime.root / container.id).stat().st_mode) == 0o700
    container.start()
    assert fields(container.proc("status"))["Uid"].split()[0] == str(CALLER)
    container.kill("TERM")
    container.kill("KILL")
    container.wait_stopped()
    container.delete()


def test_an_ordinary_user_without_a_cgroup_gets_no_limit_and_is_told_why(
    runtime: Runtime, scratch: Path, rootless_bundle: Callable[..., Bundle]
) -> None:
    as_caller(runtime, scratch)
    unset = {"pids": {}, "memory": {"limit": 0}, "devices": [{"allow": False, "access": "rwm"}]}
    runtime.run_container(rootless_bundle({**ALONE, "resources": unset}), check=True)
    result = runtime.run_container(rootless_bundle({**ALONE, "resources": {"pids": {"limit": 5}}}), check=False)
    assert "config.json: /linux/resources/pids/limit: needs the cgroup " in result.stderr
    assert "limits need root or delegation" in result.stderr


def test_without_a_cgroup_every_process_is_still_listed(
    runtime: Runtime, scratch: Path, rootless_bundle: Callable[..., Bundle]
) -> None:
    as_caller(runtime, scratch)
    container = runtime.start(rootless_bundle(ALONE, args=["sh", "-c", "sleep 601 & sleep 602 & wait"]))
    listed = ("ps", "--format=json", container.id)
    wait_for(lambda: len(runtime.run(*listed, check=True).json()) == 3, "the children")
    assert container.pid in runtime.run(*listed, check=True).json()


@pytest.mark.parametrize("flags", [(), ("--all",)], ids=["first", "all"])
@pytest.mark.parametrize("kinds", [("user", "mount"), ("user", "mount", "pid")], ids=" ".join)
def test_without_a_cgroup_a_signal_still_reaches_the_first_process(
    runtime: Runtime, scratch: Path, rootless_bundle: Callable[..., Bundle], kinds: tuple[str, ...], flags: tuple[str]
) -> None:
    as_caller(runtime, scratch)
    plain = {"namespaces": namespaces(*kinds), "maskedPaths": None, "readonlyPaths": None}
    bundle = rootless_bundle({**ALONE, **plain}, args=["sleep", "600"], mounts=[], hostname=None)
    container = runtime.start(bundle)
    container.kill(*flags, "KILL")
    container.wait_stopped()


@pytest.mark.parametrize("kinds", [("user", "mount", "pid"), ("mount", "pid")], ids=" ".join)
@pytest.mark.parametrize("wanted", [[], [0]], ids=["none", "one"])
def test_root_of_a_user_namespace_that_denies_setgroups_gets_a_container(
    runtime: Runtime, scratch: Path, rootless_bundle: Callable[..., Bundle], kinds: tuple[str, ...], wanted: list[int]
) -> None:
    """As unshare --map-root-user makes one, and Podman for who has no subordinate ids."""
    as_caller(runtime, scratch)
    *drop, program = Path(runtime.program).read_text().split("'")[1::2]
    runtime.program = wrapper(scratch / "as-root", [*drop, "unshare", "--user", "--map-root-user", "--mount", program])
    maps = {f"{kind}Mappings": mapping((0, 0, 1)) for kind in ("uid", "gid")} if "user" in kinds else {}
    section = {"namespaces": namespaces(*kinds), **maps}
    user = {"uid": 0, "gid": 0, "additionalGids": wanted}
    bundle = rootless_bundle(section, args=["id", "-u"], process={"user": user}, mounts=[PROC], hostname=None)
    assert runtime.run_container(bundle, check=True).stdout == "0\n"


def test_time_offsets_can_be_set_by_an_ordinary_user(
    runtime: Runtime, scratch: Path, rootless_bundle: Callable[..., Bundle]
) -> None:
    as_caller(runtime, scratch)
    section = {
        "namespaces": namespaces("user", "mount", "pid", "uts", "time"),
        "timeOffsets": {"boottime": {"secs": 77}},
    }
    bundle = rootless_bundle({**ALONE, **section}, args=["cat", "/proc/self/timens_offsets"])
    assert ["boottime", "77", "0"] in [
        line.split() for line in runtime.run_container(bundle, check=True).stdout.splitlines()
    ]


def test_mappings_that_are_not_the_callers_are_refused_with_the_reason(
    runtime: Runtime, scratch: Path, rootless_bundle: Callable[..., Bundle]
) -> None:
    as_caller(runtime, scratch)
    result = runtime.run_container(rootless_bundle(MAPPED), check=False)
    assert "/linux/uidMappings" in result.stderr
    assert "newuidmap" in result.stderr


@pytest.fixture
def etc_with_subids(scratch: Path) -> list[str]:
    """A command that runs its arguments where /etc grants CALLER ids in subuid and subgid; the host's /etc stays."""
    for program in ("newuidmap", "newgidmap", "setpriv"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    etc = scratch / "etc"
    etc.mkdir()
    for name in ("passwd", "group"):
        shutil.copy(f"/etc/{name}", etc)
    with (etc / "passwd").open("a") as accounts:
        accounts.write(f"caller:x:{CALLER}:{CALLER}::/:/bin/sh\n")
    for name in ("subuid", "subgid"):
        (etc / name).write_text(f"caller:{SUBORDINATE}:65536\n")
    return ["unshare", "--mount", "sh", "-c", f'mount --bind {etc} /etc && exec "$@"', "sh"]


def test_an_ordinary_user_maps_its_subordinate_ids(
    runtime: Runtime, scratch: Path, rootless_bundle: Callable[..., Bundle], etc_with_subids: list[str]
) -> None:
    as_caller(runtime, scratch, *etc_with_subids)
    ranges = mapping((0, CALLER, 1), (1, SUBORDINATE, 65536))
    bundle = rootless_bundle(
        {"uidMappings": ranges, "gidMappings": ranges},
        args=["sh", "-c", "cat /proc/self/uid_map; chown 3:4 /tmp/f; exec sleep 600"],
        process={"user": {"uid": 0, "gid": 0, "additionalGids": [9]}},
    )
    (bundle.rootfs / "tmp" / "f").touch()
    os.chown(bundle.rootfs / "tmp" / "f", CALLER, CALLER)
    container = runtime.start(bundle)
    wait_for(lambda: (bundle.rootfs / "tmp" / "f").stat().st_uid == SUBORDINATE + 2, "chown inside")
    assert [line.split() for line in container.stdout.splitlines()] == [
        ["0", str(CALLER), "1"],
        ["1", str(SUBORDINATE), "65536"],
    ]
    assert fields(container.proc("status"))["Groups"] == str(SUBORDINATE + 8)
    subprocess.run(["chown", "-hR", f"{CALLER}:{CALLER}", bundle.path], check=True)


# ---- the other verbs -------------------------------------------------------------------------------------------------


def test_an_ordinary_user_lists_enters_and_deletes_its_containers(
    runtime: Runtime, scratch: Path, rootless_bundle: Callable[..., Bundle]
) -> None:
    as_caller(runtime, scratch)
    container = runtime.start(rootless_bundle(ALONE, args=["sleep", "600"]))
    (listed,) = runtime.run("list", "--format", "json", check=True).json()
    assert (listed["id"], listed["status"], listed["owner"]) == (container.id, "running", str(CALLER))
    script = "id -u; id -g; hostname; sed -n 's/^CapEff:.//p' /proc/self/status"
    entered = runtime.run("exec", container.id, "sh", "-c", script, check=True).stdout.split()
    assert entered[:3] == ["0", "0", "box"]
    assert entered[3] == fields(container.proc("status"))["CapEff"], "as the first process"
    runtime.run("delete", "--force", container.id, check=True)
    assert runtime.run("list", "--quiet", check=True).stdout == ""


def test_an_ordinary_user_enters_with_a_subordinate_id(
    runtime: Runtime, scratch: Path, rootless_bundle: Callable[..., Bundle], etc_with_subids: list[str]
) -> None:
    as_caller(runtime, scratch, *etc_with_subids)
    ranges = mapping((0, CALLER, 1), (1, SUBORDINATE, 65536))
    maps = {"uidMappings": ranges, "gidMappings": ranges}
    user = {"user": {"uid": 7, "gid": 8, "additionalGids": [9]}}
    container = runtime.start(rootless_bundle(maps, args=["sleep", "600"], process=user))
    assert fields(container.proc("status"))["Uid"].split()[0] == str(SUBORDINATE + 6)
    assert runtime.run("exec", container.id, "id", "-u", check=True).stdout == "7\n"
    shown = runtime.run("exec", "--user", "0:5", container.id, "sh", "-c", "id -u; id -g; id -G", check=True)
    assert shown.stdout.split()[:2] == ["0", "5"]


def test_two_users_do_not_see_each_others_containers(
    runtime: Runtime, scratch: Path, rootless_bundle: Callable[..., Bundle], ocirt_bin: str
) -> None:
    as_caller(runtime, scratch)
    container = runtime.start(rootless_bundle(ALONE, args=["sleep", "600"]))
    other = ["setpriv", f"--reuid={CALLER + 1}", f"--regid={CALLER + 1}", "--clear-groups", "--", ocirt_bin]
    listed = subprocess.run(
        [*other, "--root", str(runtime.root), "state", container.id],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert listed.returncode != 0
    assert f'"{runtime.root.parent}" belongs to user {CALLER}' in listed.stderr


# ---- networks --------------------------------------------------------------------------------------------------------


def test_a_network_of_its_own_has_the_loopback_alone(
    runtime: Runtime, scratch: Path, rootless_bundle: Callable[..., Bundle]
) -> None:
    as_caller(runtime, scratch)
    bundle = rootless_bundle(ALONE, args=["ip", "-o", "link"])
    (line,) = runtime.run_container(bundle, check=True).stdout.splitlines()
    assert "lo:" in line
    assert "UP" in line


def test_the_hosts_network_can_be_kept(runtime: Runtime, scratch: Path, rootless_bundle: Callable[..., Bundle]) -> None:
    as_caller(runtime, scratch)
    section = {**ALONE, "namespaces": namespaces("user", "pid", "mount", "ipc", "uts")}
    container = runtime.start(rootless_bundle(section, args=["sleep", "600"]))
    assert ns_of(container.pid, ["network"]) == ns_of("self", ["network"])


def test_the_network_of_another_container_is_joined_with_its_user_namespace(
    runtime: Runtime, scratch: Path, rootless_bundle: Callable[..., Bundle]
) -> None:
    as_caller(runtime, scratch)
    first = runtime.start(rootless_bundle(ALONE, args=["sleep", "600"]))
    joined = [{"type": kind, "path": ns_path(first.pid, kind)} for kind in ("user", "network")]
    section = {"namespaces": [*joined, *namespaces("pid", "mount", "ipc", "uts")]}
    second = runtime.start(rootless_bundle(section, args=["sleep", "600"]))
    assert ns_of(second.pid, ["user", "network"]) == ns_of(first.pid, ["user", "network"])
    assert ns_of(second.pid, ["mount"]) != ns_of(first.pid, ["mount"])


# ---- what takes a privilege ------------------------------------------------------------------------------------------


def test_what_takes_no_privilege_is_there_and_what_does_is_an_error_that_says_so(
    runtime: Runtime, scratch: Path, rootless_bundle: Callable[..., Bundle]
) -> None:
    as_caller(runtime, scratch)
    nicer = {"user": {"uid": 0, "gid": 0}, "scheduler": {"policy": "SCHED_BATCH", "nice": 4}}
    container = runtime.start(rootless_bundle(ALONE, args=["sleep", "600"], process=nicer))
    assert container.proc("stat").rpartition(")")[2].split()[16] == "4"
    less = {"user": {"uid": 0, "gid": 0}, "scheduler": {"policy": "SCHED_OTHER", "nice": -4}}
    result = runtime.run_container(rootless_bundle(ALONE, process=less), check=False)
    assert "config.json: /process/scheduler: set the scheduling policy SCHED_OTHER (nice -4) (a real-" in result.stderr
    mount = {"destination": "/mnt", "source": str(scratch), "options": ["bind"], **MAPPED}
    result = runtime.run_container(rootless_bundle(ALONE, mounts=[PROC, mount]), check=False)
    assert "config.json: /mounts/1/uidMappings: idmapped mounts require root on the host" in result.stderr
    result = runtime.run_container(rootless_bundle({**ALONE, "netDevices": {"lo": {"name": "x"}}}), check=False)
    assert "config.json: /linux/netDevices/lo: move the network device lo into the container as x" in result.stderr
    assert "it requires CAP_NET_ADMIN on the host" in result.stderr


def test_the_state_is_where_the_users_runtime_directory_is(
    runtime: Runtime, scratch: Path, rootless_bundle: Callable[..., Bundle], ocirt_bin: str
) -> None:
    as_caller(runtime, scratch)
    bundle = rootless_bundle(ALONE, args=["sleep", "600"])
    own = scratch / "run-user"
    own.mkdir(mode=0o700)
    os.chown(own, CALLER, CALLER)
    command = ["setpriv", f"--reuid={CALLER}", f"--regid={CALLER}", "--clear-groups", "--", ocirt_bin]
    name, out = runtime.new_id(), scratch / "out"

    def ocirt(*words: str) -> None:
        env = {"XDG_RUNTIME_DIR": str(own), "PATH": os.environ["PATH"]}
        with out.open("wb") as file:
            io = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": file}
            done = subprocess.run([*command, *words], env=env, check=False, **io)
        assert done.returncode == 0, out.read_text()

    ocirt("create", "--bundle", str(bundle.path), name)
    pid = int((own / "ocirt" / name / "state.json").read_text().split('"pid": ')[1].split(",")[0])
    ocirt("delete", "--force", name)
    os.waitpid(pid, 0)
    assert not (own / "ocirt" / name).exists()


@pytest.mark.parametrize("words", [["rw", "rprivate", "nosuid", "nodev", "rbind"], ["rbind", "noatime", "exec"]])
def test_flags_that_the_host_has_locked_stay_on_a_volume(
    runtime: Runtime, scratch: Path, rootless_bundle: Callable[..., Bundle], words: list[str]
) -> None:
    """A read-only mount of the host, as /usr of Silverblue is, can be bound whatever is asked for; --debug tells."""
    source = scratch / "volume"
    source.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,noexec,mode=755", "volume", source], check=True)
    try:
        as_caller(runtime, scratch)
        mount = {"destination": "/mnt", "type": "bind", "source": str(source), "options": words}
        bundle = rootless_bundle(ALONE, args=["grep", " /mnt ", "/proc/mounts"], mounts=[PROC, DEV, PTS, mount])
        found = runtime.run_container(bundle, check=True).stdout.split()[3].split(",")
        assert {"ro", "noexec"} <= set(found)
        assert ({"nosuid", "nodev"} <= set(found)) is ("nosuid" in words)
        name = runtime.new_id()
        told = runtime.run("--debug", "run", "--bundle", str(bundle.path), name, check=True).stderr
        (line,) = [line for line in told.splitlines() if "locked" in line]
        assert "/mnt" in line
        assert "ro, noexec of the source cannot be cleared: locked" in line
    finally:
        subprocess.run(["umount", source], check=True)
