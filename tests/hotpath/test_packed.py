"""The launcher's packed modules: create, run and exec need nothing else, and all else still works when it is needed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("ocirt.linux._kernel", reason="the shim is not built: make build")

from ocirt.config import default

PROJECT = Path(__file__).parent.parent.parent
LAUNCHER = PROJECT / "ocirt/_bin/ocirt"
ID = f"packed-{os.getpid()}"  # and so the cgroup, which another run of these tests must not have
# Of the runtime's own process; the init's are the plan's. Raise it only with a reason.
BUDGET = 800  # the first of its kind: what it depends on is written down, it is kept, and read as any after it does

Traced = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Path]:
    """A bundle of a static program, whose containers are deleted afterwards."""
    busybox = shutil.which("busybox")
    if os.geteuid() != 0 or not busybox or not shutil.which("strace"):
        pytest.skip("needs root, busybox and strace")
    for directory in ("bin", "proc", "sys", "dev"):
        (tmp_path / "rootfs" / directory).mkdir(parents=True)
    shutil.copy(busybox, tmp_path / "rootfs/bin/true")
    config = default.document(rootless=False)
    config["process"].update(args=["true"], terminal=False)
    config["linux"]["cgroupsPath"] = f"/ocirt/packed-{os.getpid()}"  # not that of another run at the same time
    (tmp_path / "config.json").write_text(json.dumps(config))
    yield tmp_path
    subprocess.run([LAUNCHER, "--root", tmp_path / "root", "delete", "--force", ID], check=False)


@pytest.fixture
def traced(bundle: Path) -> Traced:
    """Runs a command under strace, without its children; its exit code and system calls."""

    def trace(verb: str, *arguments: str) -> tuple[int, list[str]]:
        log = bundle / "log"
        command = [LAUNCHER, "--root", bundle / "root", verb, "--bundle", bundle, *arguments, ID]
        with (bundle / "out").open("wb") as out:  # no pipe: a created container keeps what it inherits
            traced = ["strace", "-o", log, *command]
            done = subprocess.run(traced, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=60, check=False)
        return done.returncode, log.read_text(errors="replace").splitlines()

    return trace


@pytest.mark.parametrize("verb", ["create", "run"])
def test_create_and_run_look_for_no_module_and_no_codec(traced: Traced, verb: str) -> None:
    code, calls = traced(verb)
    assert code == 0
    opened = [call for call in calls if call.startswith("openat") and "ENOENT" not in call]
    assert not [call for call in opened if ".py" in call or "encodings" in call]
    assert len(calls) <= BUDGET, "more system calls than budgeted"


DEMANDS = {
    "resources": {"pids": {"limit": 9}, "cpu": {"shares": 100}},
    "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}]},
}


@pytest.mark.parametrize("part", DEMANDS)
def test_what_a_container_asks_for_is_packed_too(traced: Traced, bundle: Path, part: str) -> None:
    config = json.loads((bundle / "config.json").read_text())
    config["linux"][part] = DEMANDS[part]
    (bundle / "config.json").write_text(json.dumps(config))
    code, calls = traced("create")
    assert code == 0
    assert not [call for call in calls if call.startswith("openat") and (".py" in call or "encodings" in call)]


def test_exec_looks_for_no_module_and_no_codec(bundle: Path) -> None:
    program = [LAUNCHER, "--root", bundle / "root"]
    with (bundle / "out").open("wb") as out:  # no pipe: a created container keeps what it inherits
        for command in (["create", "--bundle", bundle, ID], ["exec", ID, "true"]):
            traced = ["strace", "-o", bundle / "log", *program, *command]
            subprocess.run(traced, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=60, check=True)
    calls = (bundle / "log").read_text(errors="replace").splitlines()
    opened = [call for call in calls if call.startswith("openat") and "ENOENT" not in call]
    assert not [call for call in opened if ".py" in call or "encodings" in call]
    assert len(calls) <= BUDGET, "more system calls than budgeted"


def test_an_error_completes_the_interpreter_and_is_told(traced: Traced, bundle: Path) -> None:
    (bundle / "config.json").write_text('{"ociVersion": "1.0.2", "rooot": {}}')
    code, calls = traced("create")
    assert code == 1
    text = (bundle / "out").read_text()
    assert "config.json:1: /root: " in text
    assert "Traceback" not in text
    assert any("encodings" in call for call in calls)


def test_a_signal_before_the_first_line_of_python_is_told_too(bundle: Path) -> None:
    """Once it is caught: at each of the calls that say so, of which the others end the process."""
    command = [LAUNCHER, "--root", bundle / "root", "create", "--bundle", bundle, ID]
    for number in range(1, 12):
        inject = ["-e", "trace=rt_sigaction", "-e", f"inject=rt_sigaction:signal=SIGINT:when={number}"]
        with (bundle / "out").open("wb") as out:  # no pipe: a created container keeps what it inherits
            done = subprocess.run(
                ["strace", "-o", bundle / "log", *inject, *command],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=60, check=False,
            )  # fmt: skip
        if "--- SIGINT" not in (bundle / "log").read_text():
            break
        said = (done.returncode, (bundle / "out").read_text())
        if said == (0, ""):  # it has come too late: the container is complete
            assert (bundle / "root" / ID / "state.json").exists()
            break
        assert said in {(1, "ocirt: interrupted\n"), (-signal.SIGINT, "")}, number
    assert number > 6
    subprocess.run([LAUNCHER, "--root", bundle / "root", "delete", ID, "--force"], check=True)


def test_a_copy_of_the_tree_starts_as_the_original_does(bundle: Path, tmp_path: Path) -> None:
    """Its files have other times, whole seconds for instance: an archive, an image, a backup that was restored."""
    parent = tmp_path / "copy"
    shutil.copytree(PROJECT / "ocirt", parent / "ocirt", ignore=shutil.ignore_patterns("__pycache__"))
    for number, path in enumerate(sorted(parent.rglob("*"))):
        os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))
    log = tmp_path / "calls"
    traced = ["strace", "-f", "-e", "trace=execve,execveat", "-o", log, parent / "ocirt/_bin/ocirt"]
    command = [*traced, "--root", bundle / "root", "run", "--bundle", bundle, ID]
    subprocess.run(command, stdin=subprocess.DEVNULL, timeout=60, check=True)
    executed = re.findall(r'execve\("([^"]*)"', log.read_text())
    assert executed[0] == str(parent / "ocirt/_bin/ocirt")
    assert "python" not in "".join(path.rpartition("/")[2] for path in executed)


def test_an_unusual_layout_of_cgroups_looks_for_no_module_either(bundle: Path) -> None:
    """v2 in place of the directories of a hybrid layout: no hierarchy of v1 is at its usual place."""
    if not Path("/sys/fs/cgroup/unified/cgroup.procs").exists():
        pytest.skip("needs a hybrid layout to hide")
    view = 'mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup; exec "$@"'
    inside, program = ["unshare", "--mount", "sh", "-c", view, "sh"], [LAUNCHER, "--root", bundle / "root"]
    command = [*inside, "strace", "-o", bundle / "log", *program, "create", "--bundle", bundle, ID]
    with (bundle / "out").open("wb") as out:  # no pipe: a created container keeps what it inherits
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=60, check=False)
    assert done.returncode == 0, (bundle / "out").read_text()
    subprocess.run([*inside, *program, "delete", "--force", ID], check=True)  # outside its cgroup has another path
    assert not Path("/sys/fs/cgroup/unified/ocirt", ID).exists()
    calls = (bundle / "log").read_text(errors="replace").splitlines()
    opened = [call for call in calls if call.startswith("openat") and "ENOENT" not in call]
    assert not [call for call in opened if ".py" in call or "encodings" in call]
    assert len([call for call in opened if "mountinfo" in call]) <= 1
