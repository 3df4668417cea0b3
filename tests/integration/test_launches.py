"""With --kept on, a config of a shape that was seen is carried out without an interpreter, and comes to the same."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from ocirt.container import launches, launches_create
from ocirt.spawn import wire
from tests.integration.launching import KEPT, OWN, cgroups_of, files, is_attended, kept_twice, look, traced
from tests.integration.support import Container, Runtime, wait_for
from tests.integration.views import HostView, MakeBundle

pytestmark = pytest.mark.usefixtures("as_each_test_says")


def test_on_cgroup_v2_alone_the_process_is_born_in_its_cgroup(
    runtime: Runtime, make_bundle: MakeBundle, host_view: HostView
) -> None:
    host_view.show_v2()
    bundle = make_bundle(args=["sleep", "600"])
    for compiled in (True, False):
        found, container, result = traced(runtime, "create", bundle, prefix=host_view.prefix)
        assert found is compiled, result
        assert f"/ocirt/{container.id}\n" in Path(f"/proc/{container.pid}/cgroup").read_text()
        assert len(container.cgroups()) == 1


def test_what_is_carried_out_again_comes_to_the_same(runtime: Runtime, make_bundle: MakeBundle) -> None:
    first, second = look(make_bundle, 1), look(make_bundle, 2)
    results = kept_twice(runtime, "run", first, second, first)
    compiled = [runtime.run_container(bundle, check=True).stdout for bundle in (first, second, first)]
    assert [result.stdout for result in results] == compiled
    assert "argument 2" in compiled[1]
    assert len(files(runtime)) == 1


def test_a_filter_is_carried_along_as_long_as_its_library_is_the_same(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
    linux = {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}}
    bundles = [make_bundle(args=["sh", "-c", f"mkdir /{number} 2>&1"], linux=linux) for number in range(2)]
    for result in kept_twice(runtime, "run", *bundles):
        assert "Function not implemented" in result.stdout
    (file,) = files(runtime)
    data = bytearray(file.read_bytes())
    library = data.rstrip(b"\0").rpartition(b"\0")[2]  # the last witness
    assert b"/libseccomp.so" in library
    start = len(data) - len(library) - 1 - launches_create.WITNESS.size
    # The path's first bytes may follow zeros of the number before it.
    device, inode, changed = launches_create.WITNESS.unpack_from(data, start)
    launches_create.WITNESS.pack_into(data, start, device, inode, changed - 1)
    file.write_bytes(data)
    assert traced(runtime, "run", bundles[0])[0]


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7)])
def test_the_exit_code_is_that_of_the_process(
    runtime: Runtime, make_bundle: MakeBundle, script: str, code: int
) -> None:
    bundle = make_bundle(args=["sh", "-c", script])
    for compiled in (True, False):
        found, _, result = traced(runtime, "run", bundle)
        assert (found, result.code) == (compiled, code)


def test_the_state_and_its_files_are_those_of_a_compiled_one(runtime: Runtime, make_bundle: MakeBundle) -> None:
    pid_file = runtime.scratch / "pid"
    seen = []
    for number in range(3):
        # Below /ocirt the parent may be there already: another's.
        bundle = look(make_bundle, 5 if number else 4, linux={"cgroupsPath": f"/{runtime.prefix}/same"})
        name, flags = f"{runtime.prefix}-same", ["--pid-file", str(pid_file)]
        if number < 2:
            compiled, container, _ = traced(runtime, "create", bundle, *flags, container_id=name)
            assert compiled is (number == 0)
        else:
            container = Container(runtime, name, bundle)
            command = ["create", "--bundle", str(bundle.path), *flags, name]
            with (runtime.scratch / "said").open("wb") as said:  # no pipe: the container keeps it
                runtime.popen("--kept", "off", *command, stdout=said).wait(30)
        directory = runtime.root / container.id
        state = (directory / "state.json").read_text()
        assert pid_file.read_text() == str(json.loads(state)["pid"])
        text = OWN.sub("", state).replace(str(bundle.path), "BUNDLE")
        plan = [
            str(op).replace(str(bundle.path), "BUNDLE") for op in wire.decode((directory / "plan.bin").read_bytes())
        ]
        names = sorted(path.name for path in directory.iterdir())
        seen.append((text, plan, names, (directory / "config.json").read_bytes(), directory.stat().st_mode))
        container.start()
        container.delete("--force")
    assert seen[1] == seen[2]


def test_a_failure_is_undone_and_told_as_ever(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle, other = make_bundle(args=["true"]), make_bundle(args=["true"])
    kept_twice(runtime, "run", bundle)
    (other.path / "rootfs").rename(other.path / "gone")
    failed = traced(runtime, "run", other)[2]
    assert failed.code == 1
    assert failed.stderr == runtime.run_container(other, check=False).stderr
    assert "no such file or directory" in failed.stderr
    assert runtime.entries() == []
    assert cgroups_of(failed.argv[-1]) == []


def test_an_id_that_is_in_use_stays_that_containers(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["sleep", "600"])
    container = runtime.start(bundle)
    for _ in range(2):
        failed = traced(runtime, "create", bundle, container_id=container.id)[2]
        assert "exists" in failed.stderr
        assert container.state()["status"] == "running"


def test_what_the_plans_depend_on_is_another_launch(runtime: Runtime, make_bundle: MakeBundle) -> None:
    plain = make_bundle(args=["true"])
    others = [
        make_bundle(args=["/bin/true"]),
        make_bundle(args=["true", "x"]),
        make_bundle(args=["true"], process={"env": ["PATH=/usr/bin:/bin"]}),
        make_bundle(args=["true"], process={"user": {"uid": 1, "gid": 1}}),
        make_bundle(args=["true"], root={"path": "rootfs", "readonly": True}),
    ]
    kept_twice(runtime, "run", plain, plain)
    for number, bundle in enumerate(others, 2):
        kept_twice(runtime, "run", bundle, bundle)
        assert len(files(runtime)) == number


def test_a_file_that_is_not_as_it_was_written_is_not_used(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["sh", "-c", "exit 3"])
    kept_twice(runtime, "run", bundle)
    (file,) = files(runtime)
    good = file.read_bytes()
    sizes = launches.HEAD.unpack_from(good)
    spoilt = [b"", good[:40], good[:-1], good + b"x", good[: len(good) // 2]]
    for number in range(1, len(sizes)):
        for value in (0, sizes[number] + 1, 0xFFFFFFFF):
            if value != sizes[number]:
                spoilt.append(
                    launches.HEAD.pack(*sizes[:number], value, *sizes[number + 1 :]) + good[launches.HEAD.size :]
                )
    patches = launches.HEAD.size + sum(sizes[1:6])
    for offset in range(patches, patches + 48, 4):
        spoilt.append(good[:offset] + struct.pack("<I", 0xFFFFFFF0) + good[offset + 4 :])
    for data in spoilt:
        file.write_bytes(data)
        assert runtime.run(*KEPT, "run", "--bundle", str(bundle.path), runtime.new_id()).code == 3


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_directory_that_others_can_write_is_not_used(runtime: Runtime, make_bundle: MakeBundle, mode: int) -> None:
    bundle = make_bundle(args=["true"])
    kept_twice(runtime, "run", bundle, bundle)
    directory = runtime.root / launches.DIRECTORY
    directory.chmod(mode)
    assert traced(runtime, "run", bundle)[0]
    directory.chmod(0o700)
    (file,) = files(runtime)
    file.chmod(0o666)
    assert traced(runtime, "run", bundle)[0]


def test_another_filesystem_where_the_cgroups_were_is_noticed(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["true"])
    kept_twice(runtime, "run", bundle, bundle)
    (file,) = files(runtime)
    data = bytearray(file.read_bytes())
    seen = sum(launches.HEAD.unpack_from(data)[1:8]) + launches.HEAD.size
    device, inode, changed = launches_create.WITNESS.unpack_from(data, seen)
    launches_create.WITNESS.pack_into(data, seen, device, inode + 1, changed)
    file.write_bytes(data)
    assert traced(runtime, "run", bundle)[0]


def test_launches_do_not_pile_up(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["true"])
    kept_twice(runtime, "run", bundle)
    (own,) = files(runtime)
    for number in range(launches.KEPT - 1):
        other = own.with_name(f"{number:016x}.launch")
        other.touch(0o600)
        os.utime(other, (1, 1))
    kept_twice(runtime, "run", make_bundle(args=["true", "x"]))
    assert len(files(runtime)) == launches.KEPT
    assert own.exists(), "the longest unused goes"
    assert not traced(runtime, "run", bundle)[0]


def test_signals_reach_the_process(runtime: Runtime, make_bundle: MakeBundle) -> None:
    script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    bundle = make_bundle(args=["sh", "-c", script])
    for number in range(2):
        stem, container_id = runtime.scratch / f"signalled-{number}", runtime.new_id()
        process = runtime.popen(*KEPT, "run", "--bundle", str(bundle.path), container_id, stem=stem)
        wait_for(lambda stem=stem: "ready" in stem.with_suffix(".out").read_text(), "ready")  # type: ignore[misc]
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 9
        assert stem.with_suffix(".out").read_text() == "ready\ncaught\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_leaves_nothing_or_a_container(
    runtime: Runtime, make_bundle: MakeBundle, number: signal.Signals
) -> None:
    bundle = make_bundle(args=["sleep", "600"])
    kept_twice(runtime, "create", bundle)
    for turn in range(12):
        container = Container(runtime, runtime.new_id(), bundle)
        runtime.containers.append(container)
        argv = (*KEPT, "create", "--bundle", str(bundle.path), container.id)
        process = runtime.popen(*argv, stem=runtime.scratch / f"interrupted-{turn}")
        time.sleep(turn / 4000)
        process.send_signal(number)
        code = process.wait(30)
        if code:
            assert (runtime.scratch / f"interrupted-{turn}.err").read_text() in {"", "ocirt: interrupted\n"}
            assert code in {1, -number}
            assert cgroups_of(container.id) == []
        there = (runtime.root / container.id).exists()
        assert there is (code == 0 or (there and container.state()["status"] == "created")), code
        container.delete("--force")


def test_hooks_are_run_each_time_and_by_no_interpreter(
    runtime: Runtime, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    """Docker's have the id among their arguments."""
    log = tmp_path / "log"

    def hook(number: int, kind: str) -> list[dict[str, Any]]:
        script = f"cat >/dev/null; echo {kind} $1 $NAME >> {log}"
        return [{"path": "/bin/sh", "args": ["sh", "-c", script, "sh", str(number)], "env": [f"NAME=n{number}"]}]

    kinds = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    bundles = [make_bundle(args=["true"], hooks={kind: hook(n, kind) for kind in kinds}) for n in range(2)]
    seen = [traced(runtime, "create", bundle) for bundle in bundles]
    assert [compiled for compiled, *_ in seen] == [True, False]
    expected = [f"{kind} {n} n{n}\n" for n in range(2) for kind in kinds[:3]]
    assert log.read_text() == "".join(expected)


def test_a_hook_that_fails_is_told_and_is_not_run_again(
    runtime: Runtime, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    script = f"echo $1 >> {log}; echo said $1 >&2; exit $1"
    hooks = [[{"path": "/bin/sh", "args": ["sh", "-c", script, "sh", code]}] for code in ("0", "7")]
    traced(runtime, "create", make_bundle(args=["true"], hooks={"createRuntime": hooks[0]}))
    _, container, result = traced(runtime, "create", make_bundle(args=["true"], hooks={"createRuntime": hooks[1]}))
    where = 'config.json: /hooks/createRuntime/0: hook "/bin/sh"'
    assert result.stderr == f"ocirt: {where} exited with status 7: said 7\n"
    assert log.read_text() == "0\n7\n"
    assert not (runtime.root / container.id).exists()
    assert cgroups_of(container.id) == []


def test_warnings_are_compiled_each_time(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["true"], process={"capabilities": {"bounding": ["CAP_NO_SUCH"]}})
    for _ in range(2):
        assert traced(runtime, "run", bundle)[0]
    assert files(runtime) == []


def test_a_terminal_is_sent_to_whoever_waits_for_it(runtime: Runtime, make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(args=["true"], process={"terminal": True})
    for number in range(3):
        path = tmp_path / f"{number}.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            if number < 2:
                listener.listen()
            compiled, _, result = traced(runtime, "create", bundle, "--console-socket", str(path))
            assert compiled == (number != 1), "once, and where nobody listens it is Python that says so"
            if number == 2:
                assert result.stderr == f'ocirt: connect to the console socket "{path}": connection refused\n'
                continue
            with listener.accept()[0] as connection:
                _, (master,), *_ = socket.recv_fds(connection, 4096, 1)
        assert os.isatty(master)
        os.close(master)
    assert len(files(runtime)) == 1


def test_a_name_that_a_sysctl_may_contradict_is_looked_at(runtime: Runtime, make_bundle: MakeBundle) -> None:
    sysctl = {"kernel.domainname": "a"}
    bundles = [make_bundle(args=["true"], domainname=name, linux={"sysctl": sysctl}) for name in ("a", "b")]
    seen = []
    for bundle in bundles:
        compiled, _, result = traced(runtime, "run", bundle)
        assert compiled
        seen.append((result.code, result.stderr))
    assert seen == [(r.code, r.stderr) for r in (runtime.run_container(bundle, check=None) for bundle in bundles)]


def test_a_hierarchy_that_is_mounted_later_is_noticed(
    runtime: Runtime, make_bundle: MakeBundle, host_view: HostView
) -> None:
    hierarchy = Path("/sys/fs/cgroup/pids")
    if not hierarchy.is_mount():
        pytest.skip("needs cgroup v1")
    bundle = make_bundle(args=["sleep", "600"])
    host_view.run("umount", str(hierarchy))
    for compiled in (True, False):
        found, container, _ = traced(runtime, "create", bundle, prefix=host_view.prefix)
        assert found is compiled
        assert not any(hierarchy in path.parents for path in container.cgroups())
    host_view.run("mount", "-t", "cgroup", "-o", "pids", "cgroup", str(hierarchy))
    found, container, _ = traced(runtime, "create", bundle, prefix=host_view.prefix)
    assert found
    assert any(hierarchy in path.parents for path in container.cgroups())


@pytest.mark.parametrize("kept", [("--kept", "off"), KEPT], ids="".join)
def test_run_removes_its_own_container_alone(runtime: Runtime, make_bundle: MakeBundle, kept: tuple[str, str]) -> None:
    """Another one may have got the id, once ours was deleted by somebody else."""
    bundle = make_bundle(args=["sleep", "600"])
    for turn in range(2):
        container = Container(runtime, runtime.new_id(), bundle)
        argv = (*kept, "run", "--bundle", str(bundle.path), container.id)
        process = runtime.popen(*argv, stem=runtime.scratch / f"first-{turn}")
        wait_for(lambda c=container: is_attended(c), "a container that runs")  # type: ignore[misc]
        process.send_signal(signal.SIGSTOP)
        container.delete("--force")
        second = runtime.create(bundle, container_id=container.id)
        second.start()
        process.send_signal(signal.SIGCONT)
        assert process.wait(30) == 128 + signal.SIGKILL
        assert second.state()["status"] == "running"
        second.delete("--force")


def test_with_off_nothing_is_kept(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["true"])
    runtime.run("--kept", "off", "run", "--bundle", str(bundle.path), runtime.new_id(), check=True)
    assert not (runtime.root / launches.DIRECTORY).exists()
    assert 'flag --kept: "maybe"' in runtime.run("--kept", "maybe", "list", check=False).stderr


FLAGS = {
    "as it is anyway": (
        ["--rootless", "false", "--criu=/criu", "--cgroup-manager", "cgroupfs", "--systemd-cgroup=false"],
        True,
    ),
    "none": (["--cgroup-manager", "disabled"], False),
}


@pytest.mark.parametrize(("flags", "kept"), FLAGS.values(), ids=FLAGS)
def test_flags_that_say_what_holds_anyway_change_nothing(
    runtime: Runtime, make_bundle: MakeBundle, flags: list[str], kept: bool
) -> None:
    bundle = make_bundle(args=["true"])
    for _ in range(2):
        runtime.run(*flags, "run", "--bundle", str(bundle.path), runtime.new_id(), check=True)
    uses = [launches.HEAD.unpack_from(file.read_bytes())[-1] for file in files(runtime)]
    assert uses == ([2] if kept else [])
