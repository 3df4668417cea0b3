"""Races: paths that are exchanged while they are walked, runtimes that are killed, commands that meet on one id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.hostile import bind, clean_words, tmpfs, untouched
from tests.integration.leftovers import children, remains
from tests.integration.support import Bundle, Runtime, children_of, wait_for
from tests.integration.views import MakeBundle

# Exchanges two names of a directory as fast as it can, and tells how often when it is stopped.
FLIPPER = """
import ctypes, os, signal, sys
directory, one, other = os.open(sys.argv[1], os.O_PATH), *map(os.fsencode, sys.argv[2:])
renameat2, going, count = ctypes.CDLL(None).renameat2, [1], 0
signal.signal(signal.SIGTERM, lambda *_: going.clear())
print(flush=True)
while going:
    assert renameat2(directory, one, directory, other, 2) == 0  # RENAME_EXCHANGE
    count += 1
if count % 2:
    renameat2(directory, one, directory, other, 2)
print(count)
"""


@contextmanager
def flipping(directory: Path, one: str, other: str) -> Iterator[None]:
    """While the block runs, the two names change places all the time."""
    argv = [sys.executable, "-I", "-S", "-c", FLIPPER, str(directory), one, other]
    flipper = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert flipper.stdout is not None
    flipper.stdout.readline()
    try:
        yield
    finally:
        flipper.terminate()
        count = int(flipper.communicate(timeout=10)[0])
    assert flipper.returncode == 0
    assert count > 1000, f"the race was no race: {count} exchanges"


@pytest.mark.parametrize("place", ["a", "shared"])
def test_mount_dest_swap_race(place: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """A directory and a symlink to the host change places while mounts are made below: none of them gets out.

    a: in the rootfs itself; shared: in a volume that another container has too.
    """
    bundle = make_bundle()
    with untouched(bundle) as outside:
        source = bundle.path / "source"
        source.write_text("of the bundle\n")
        top = bundle.rootfs / "a"
        if place == "shared":
            top = bundle.path / "volume"
            bundle.config["mounts"].append(bind(top, "/a"))
        (top / "x" / "deep").mkdir(parents=True)
        (top / "y").symlink_to(outside.path if place == "a" else "../outside")
        for name in ("x", "y"):
            bundle.config["mounts"] += [tmpfs(f"/a/{name}/deep/t"), bind(source, f"/a/{name}/deep/f")]
        bundle.config["process"]["cwd"] = "/a/x/new/cwd"
        bundle.write()
        good = 0
        with flipping(top, "x", "y"):
            for _ in range(30):
                result = runtime.run_container(bundle, timeout=10)
                clean_words(result)
                outside.check()
                good += result.code == 0
    assert good > 5, "the container comes up where the race does not hit it"


def test_mount_dest_swap_race_of_proc(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """/proc as a directory and as a symlink: the procfs is on the real directory or nowhere."""
    bundle = make_bundle(args=["sh", "-c", "cat /proc/self/mountinfo"], linux={"sysctl": {"net.ipv4.ip_forward": "1"}})
    with untouched(bundle) as outside:
        (bundle.rootfs / "other").symlink_to("../outside")
        (bundle.rootfs / "data").mkdir()
        refusals = 0
        with flipping(bundle.rootfs, "proc", "other"):
            for _ in range(30):
                result = runtime.run_container(bundle, timeout=10)
                refusals += result.code != 0
                clean_words(result)
                outside.check()
    assert refusals > 0


def mounts_inside(output: str) -> list[tuple[int, int, str, str, str]]:
    """Of a mountinfo: id, parent's id, root, mount point, options; in the order of the mounts."""
    found = []
    for line in output.splitlines():
        first, _, last = line.partition(" - ")
        words = first.split()
        found.append((int(words[0]), int(words[1]), words[3], words[4], f"{words[5]} {last}"))
    return found


# /proc may be the decoy at this very moment; what is read is whole.
SHOW_MOUNTS = ["sh", "-c", "until cat /proc/self/mountinfo 2>&-; do :; done"]


def tables_of_runs(runtime: Runtime, bundle: Bundle) -> Iterator[list[tuple[int, int, str, str, str]]]:
    """The mounts in each of 20 containers, but for those, the fewer, that are refused in words."""
    good = 0
    for _ in range(20):
        result = runtime.run_container(bundle, timeout=10)
        clean_words(result)
        if result.code == 0:
            good += 1
            yield mounts_inside(result.stdout)
    assert good > 8


def test_masks_and_readonly_paths_stay_with_their_mount(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """/proc and a decoy change places: each mask and read-only path is on the procfs, wherever that is by then."""
    bundle = make_bundle(args=SHOW_MOUNTS)
    bundle.config["linux"].update(maskedPaths=["/proc/interrupts", "/proc/keys"], readonlyPaths=["/proc/sys"])
    bundle.write()
    decoy = bundle.rootfs / "decoy"
    (decoy / "sys").mkdir(parents=True)
    for name in ("interrupts", "keys"):
        (decoy / name).touch()
    with flipping(bundle.rootfs, "proc", "decoy"):
        for table in tables_of_runs(runtime, bundle):
            (proc,) = [own for own, _, root, _, options in table if root == "/" and " proc " in options]
            names = [(point.rpartition("/")[2], root, options) for _, up, root, point, options in table if up == proc]
            below = {name: (root, options) for name, root, options in names}
            assert set(below) == {"interrupts", "keys", "sys"}, table
            assert below["sys"][0] == "/sys"
            assert below["sys"][1].startswith("ro")
            assert below["interrupts"][0] == below["keys"][0] == "/null"


def test_what_is_made_below_a_mount_stays_in_it(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """/dev and a decoy change places: devices, links and mounts are in the new /dev or nowhere; read-only too."""
    bundle = make_bundle(args=SHOW_MOUNTS)
    bundle.config["mounts"].append({"destination": "/late", "type": "tmpfs", "options": ["ro"]})
    bundle.write()
    for name in ("decoy", "late", "late-decoy"):
        (bundle.rootfs / name).mkdir()
    before = sorted((bundle.rootfs / "dev").iterdir())
    with flipping(bundle.rootfs, "dev", "decoy"), flipping(bundle.rootfs, "late", "late-decoy"):
        for table in tables_of_runs(runtime, bundle):
            (dev,) = [own for own, _, _, point, options in table if point in {"/dev", "/decoy"} and "tmpfs" in options]
            assert {parent for _, parent, _, _, options in table if " devpts " in options} == {dev}, table
            (late,) = [options for _, _, _, point, options in table if point.startswith("/late")]
            assert late.startswith("ro"), table
    assert list((bundle.rootfs / "decoy").iterdir()) == []
    assert sorted((bundle.rootfs / "dev").iterdir()) == before


# ---- kill -9 ---------------------------------------------------------------------------------------------------------


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> None:
    time.sleep(seconds)
    process.kill()
    process.wait()


def duration(runtime: Runtime, bundle: Bundle) -> float:
    """Seconds that one create takes now."""
    began = time.monotonic()
    container = runtime.create(bundle)
    ended = time.monotonic()
    container.delete("--force")
    return ended - began


@pytest.mark.parametrize("kind", ["plain", "user-namespace", "hooks"])
def test_kill9_runtime_at_random(kind: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Killed at any of 40 moments of create, the runtime leaves nothing that delete --force does not remove, twice."""
    bundle = make_bundle(args=["sleep", "600"])
    if kind == "user-namespace":
        bundle.config["linux"]["namespaces"].append({"type": "user"})
        mapping = [{"containerID": 0, "hostID": 0, "size": 65536}]
        bundle.config["linux"].update(uidMappings=mapping, gidMappings=mapping)
    if kind == "hooks":
        hook = {"path": "/bin/sleep", "args": ["sleep", "0.004"]}
        bundle.config["hooks"] = {"createRuntime": [hook], "createContainer": [hook], "poststop": [hook]}
    bundle.write()
    before = children()
    whole = 1.2 * duration(runtime, bundle)
    finished = 0
    for step in range(40 if kind == "plain" else 20):
        name = runtime.new_id()
        process = runtime.popen("create", "--bundle", str(bundle.path), name, stem=runtime.scratch / "killed")
        kill_after(process, whole * step / (40 if kind == "plain" else 20))
        finished += process.returncode == 0
        whole *= 0.9 if process.returncode == 0 else 1  # it has become faster than when it was measured
        for _ in range(2):
            result = runtime.run("delete", "--force", name, check=True)
            assert result.stderr == ""
        # Where the pid was not recorded yet, the init ends by itself at its next word to the dead runtime.
        wait_for(lambda: not remains(runtime, before), f"nothing left of step {step}", 3)
    assert finished < 35, "most were killed on their way"


@pytest.mark.parametrize("victim", ["init", "both"])
def test_kill9_of_the_init_on_its_way(victim: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """An init that is killed while create waits for it: an error, nothing left; with its runtime: delete --force."""
    hook = {"path": "/bin/sleep", "args": ["sleep", "600"]}
    bundle, before = make_bundle(args=["sleep", "600"], hooks={"createContainer": [hook]}), children()
    stem = runtime.scratch / "create"
    name = runtime.new_id()
    process = runtime.popen("create", "--bundle", str(bundle.path), name, stem=stem)

    def init() -> int:
        state = runtime.run("state", name)
        return int(state.json()["pid"]) if state.code == 0 else 0

    pid = wait_for(init, "the init")
    hooks = wait_for(lambda: children_of(pid), "the hook runs")
    if victim == "both":
        process.kill()
    os.kill(pid, signal.SIGKILL)
    assert process.wait(10) != 0
    if victim == "init":
        assert "killed (SIGKILL)" in stem.with_suffix(".err").read_text()
        assert runtime.run("state", name).code != 0
    runtime.run("delete", "--force", name, check=True)
    wait_for(lambda: not remains(runtime, before), "nothing left", 3)
    assert not [hook for hook in hooks if Path(f"/proc/{hook}").exists()]


@pytest.mark.parametrize("verb", ["delete", "start", "kill"])
def test_kill9_of_a_command_in_the_life(verb: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """A start, kill or delete that is killed at any moment leaves a container that delete --force removes."""
    bundle, before = make_bundle(args=["sleep", "600"]), children()
    for step in range(10):
        container = runtime.create(bundle)
        flags = ["--force"] if verb == "delete" else []
        process = runtime.popen(verb, *flags, container.id, stem=runtime.scratch / "killed")
        kill_after(process, step * 0.0005)
        for _ in range(2):
            container.delete("--force")
        wait_for(lambda: not remains(runtime, before), "nothing left", 3)


# ---- one id, many commands -------------------------------------------------------------------------------------------


def test_same_id_race(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Of 16 creates of one id at once exactly one wins; its container is whole and starts."""
    bundle, name = make_bundle(args=["sleep", "600"]), runtime.new_id()
    argv = ("create", "--bundle", str(bundle.path), name)
    stems = [runtime.scratch / f"racer-{number}" for number in range(16)]
    racers = [runtime.popen(*argv, stem=stem) for stem in stems]
    codes = [racer.wait(20) for racer in racers]
    assert codes.count(0) == 1
    lost = [stem.with_suffix(".err").read_text() for stem, code in zip(stems, codes, strict=True) if code]
    assert all("container with given ID already exists" in words for words in lost), lost
    runtime.run("start", name, check=True)
    assert runtime.run("state", name, check=True).json()["status"] == "running"
    runtime.run("delete", "--force", name, check=True)


def test_create_and_forced_delete_in_turns(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Creates and forced deletes of one id at the same time: each create wins or loses whole."""
    bundle, name, before = make_bundle(args=["sleep", "600"]), runtime.new_id(), children()
    for number in range(12):
        create = runtime.popen("create", "--bundle", str(bundle.path), name, stem=runtime.scratch / "create")
        time.sleep(number * 0.002)
        delete = runtime.popen("delete", "--force", name, stem=runtime.scratch / "delete")
        assert delete.wait(20) == 0, (runtime.scratch / "delete.err").read_text()
        assert create.wait(20) >= 0
        assert "Traceback" not in (runtime.scratch / "create.err").read_text()
    runtime.run("delete", "--force", name, check=True)
    wait_for(lambda: not remains(runtime, before), "nothing left", 3)


def test_p6_a_slow_create_keeps_no_other_command_waiting(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """While a hook holds one create up, other ids live on, `list` and `state` answer, and its delete has its turn."""
    hook = {"path": "/bin/sleep", "args": ["sleep", "600"]}
    slow, name = make_bundle(hooks={"createRuntime": [hook]}), runtime.new_id()
    create = runtime.popen("create", "--bundle", str(slow.path), name, stem=runtime.scratch / "slow")
    wait_for(lambda: runtime.run("state", name).code == 0, "the slow one is being created")
    began = time.monotonic()
    runtime.run_container(make_bundle(args=["true"]), check=True)
    assert name in runtime.run("list", "--quiet", check=True).stdout
    assert runtime.run("state", name, check=True).json()["status"] == "creating"
    assert runtime.run("create", "--bundle", str(slow.path), name, check=False).code == 1
    assert time.monotonic() - began < 3
    create.terminate()
    assert create.wait(10) != 0
    runtime.run("delete", "--force", name, check=True)


def test_interrupted_at_random(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """A signal that ends, or two at once, at any moment of create: all of a container or nothing, and one line."""
    bundle = make_bundle(args=["sleep", "600"], hooks={"createRuntime": [{"path": "/bin/true"}]})
    interrupted, first = 0, (signal.SIGINT, signal.SIGHUP)
    for number in range(80):
        name = runtime.new_id()
        stem = runtime.scratch / name
        process = runtime.popen("create", "--bundle", str(bundle.path), name, stem=stem)
        time.sleep(number * 0.03 / 80)
        process.send_signal(first[number % 4 // 2])
        if number % 2:
            process.send_signal(signal.SIGTERM)
        code, said = process.wait(20), stem.with_suffix(".err").read_text()
        left = runtime.entries()
        if code == 0:
            runtime.run("delete", "--force", name, check=True)
            continue
        assert (code, said) in {(1, "ocirt: interrupted\n"), *((-each, "") for each in (*first, signal.SIGTERM))}
        assert left == [], f"after signal {number}"
        interrupted += code == 1
    assert interrupted > 0
