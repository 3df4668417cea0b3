"""What people run into: each mistake gets one line that names the config field and the reason."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import NAMESPACES, Bundle, Container, Json, Runtime

MakeBundle = Callable[..., Bundle]

PAGE = os.sysconf("SC_PAGE_SIZE")
LONGEST = 32 * PAGE


def said(runtime: Runtime, bundle: Bundle, *flags: str, **popen: Any) -> str:
    """The one line of a run that is refused."""
    result = runtime.run("run", "--bundle", str(bundle.path), *flags, runtime.new_id(), check=False, **popen)
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    return line.removeprefix("ocirt: ")


def test_the_longest_argument_runs(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["sh", "-c", "echo ${#0}", "x" * (LONGEST - 1)])
    assert runtime.run_container(bundle, check=True).stdout == f"{LONGEST - 1}\n"


@pytest.mark.parametrize(
    ("process", "words"),
    [
        ({"args": ["echo", "a", "x" * LONGEST]}, f"/process/args/2 has {LONGEST} bytes, one argument or variable may"),
        ({"env": ["PATH=/bin", "BIG=" + "x" * LONGEST]}, f"/process/env: BIG has {LONGEST + 4} bytes, one argument"),
        ({"args": ["echo"] + ["x" * (LONGEST - 1)] * 65}, f"/process/args and env have {65 * LONGEST // 1000}"),
    ],
    ids=["argument", "variable", "together"],
)
def test_what_is_too_long_for_execve_is_named(
    runtime: Runtime, make_bundle: MakeBundle, process: Json, words: str
) -> None:
    """execve(2), E2BIG: MAX_ARG_STRLEN for one of them, RLIMIT_STACK for all."""
    line = said(runtime, make_bundle(process=process))
    assert "argument list too long: " + words in line
    assert ("MAX_ARG_STRLEN" in line) is ("together" not in line)


def test_a_memory_limit_that_is_too_small_is_named(runtime: Runtime, make_bundle: MakeBundle) -> None:
    files = ("/sys/fs/cgroup/memory/memory.oom_control", "/sys/fs/cgroup/cgroup.controllers")
    if not Path(files[0]).exists() and (not Path(files[1]).exists() or "memory" not in Path(files[1]).read_text()):
        pytest.skip("no memory controller here")
    line = said(runtime, make_bundle(linux={"resources": {"memory": {"limit": 4096}}}))
    assert line == (
        "config.json: /linux/resources/memory/limit: a limit of 4096 is too small to start the process: "
        "the OOM killer has killed ocirt-init"
    )


def test_a_directory_that_is_gone_is_named(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    gone = runtime.scratch / "gone"
    script = f'cd {gone} && rmdir {gone} && exec "$@"'
    for words, path in ((["run"], "."), (["run", "--bundle", str(bundle.path), "--pid-file", "p"], "p")):
        gone.mkdir()
        program, runtime.program = runtime.program, str(runtime.scratch / "from-gone")
        Path(runtime.program).write_text(f'#!/bin/sh\nset -- {program} "$@"\n{script}\n')
        Path(runtime.program).chmod(0o755)
        result = runtime.run(*words, runtime.new_id(), check=False)
        runtime.program = program
        reason = "in the current directory, which has been removed: no such file or directory"
        assert result.stderr == f'ocirt: find "{path}" {reason}\n'


def test_id_maps_of_more_than_a_page_are_told_their_size(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """user_namespaces(7): 340 lines, and less than a page."""
    many = [{"containerID": 10**9 + 3 * index, "hostID": 2 * 10**9 + 2 * index, "size": 1} for index in range(340)]
    one = [{"containerID": 0, "hostID": 0, "size": 1}]
    kinds = [{"type": kind} for kind in (*NAMESPACES, "user")]
    line = said(runtime, make_bundle(linux={"namespaces": kinds, "uidMappings": many, "gidMappings": one}))
    assert line.startswith("config.json: /linux/uidMappings: write uid_map: invalid argument (340 mappings are 8160 ")
    assert f"less than {PAGE}" in line


def test_the_words_of_a_command_are_entries_of_their_own(runtime: Runtime, make_bundle: MakeBundle) -> None:
    line = said(runtime, make_bundle(args=["sleep 5"]))
    assert line == 'exec: "sleep 5": executable file not found in $PATH (each word of a command is an entry of args)'


@pytest.mark.parametrize("what", ["no permission", "a directory", "noexec"])
def test_what_may_not_be_executed_is_told_what_it_must_be(runtime: Runtime, make_bundle: MakeBundle, what: str) -> None:
    """The texts of errno stay: engines look for them."""
    bundle = make_bundle(args=["/m/program"])
    path = bundle.add_file("/m/program", "#!/bin/sh\n", 0o644 if what == "no permission" else 0o755)
    if what == "a directory":
        bundle.config["process"]["args"] = ["/m"]
    if what == "noexec":
        mount = {"destination": "/m", "type": "bind", "source": str(path.parent), "options": ["bind", "noexec"]}
        bundle.config["mounts"].append(mount)
    line = said(runtime, bundle.write())
    name = bundle.config["process"]["args"][0]
    reason = "it is no regular file, is not executable for this user, or is on a mount with noexec"
    assert line == f'exec: "{name}": permission denied ({reason})'


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("#!/bin/sh\n", 0o644, "permission denied (it is no regular file, is not executable for this user"),
        ("#!/no/such\n", 0o755, "no such file or directory (the file is there, its interpreter is not"),
    ],
    ids=["no permission", "no interpreter"],
)
def test_a_hook_that_cannot_be_executed_is_told_why(
    runtime: Runtime, make_bundle: MakeBundle, text: str, mode: int, words: str
) -> None:
    hook = runtime.scratch / "hook"
    hook.write_text(text)
    hook.chmod(mode)
    line = said(runtime, make_bundle(hooks={"createRuntime": [{"path": str(hook)}]}))
    assert line.startswith(f'config.json: /hooks/createRuntime/0: hook "{hook}": {words}')


def test_a_limit_with_a_unit_is_told_that_it_is_a_number(runtime: Runtime, make_bundle: MakeBundle) -> None:
    line = said(runtime, make_bundle(linux={"resources": {"memory": {"limit": "50M"}}}))
    assert line.endswith('/linux/resources/memory/limit: found the string "50M", must be an integer')


def test_a_capability_without_its_prefix_is_asked_about(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(process={"capabilities": {"bounding": ["NET_ADMIN"]}})
    result = runtime.run("--log-level=warning", "run", "--bundle", str(bundle.path), runtime.new_id(), check=True)
    assert '"NET_ADMIN", it is ignored; did you mean "CAP_NET_ADMIN"?' in result.stderr


def test_a_command_of_an_engine_is_told_its_name_here(runtime: Runtime) -> None:
    assert 'unknown command "rm"; did you mean "delete"?' in runtime.run("rm", "x", check=False).stderr


def test_a_misspelt_name_is_asked_about(runtime: Runtime, make_bundle: MakeBundle) -> None:
    def rename(old: str, new: str) -> Callable[[Json], None]:
        def change(config: Json) -> None:
            config[new] = config.pop(old)

        return change

    line = said(runtime, make_bundle(rename("process", "proces")))
    assert line == 'config.json: /process: is missing, there is nothing to run; is "proces" meant to be it?'
    line = said(runtime, make_bundle(rename("root", "rootfs")))
    assert line.endswith('/root: required, but missing; is "rootfs" meant to be it?')
    container: Container = runtime.create(make_bundle(rename("process", "Process")))
    assert container.start(check=False).stderr == (
        f'ocirt: container "{container.id}": cannot start, its config.json has no process; '
        'is "Process" meant to be it?\n'
    )
