"""process.cwd that one of the two users alone may enter, the runtime's or the container's; never one of the host."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.integration.support import Bundle, Json, Runtime
from tests.integration.views import MAPPED, MakeBundle, user_namespace
from tests.unit.config.changes import Patch, put

USER = {"uid": 1000, "gid": 1000}
# What docker's `--cap-drop ALL` leaves.
NONE: Json = {key: [] for key in ("bounding", "effective", "permitted")}
WHERE = ["sh", "-c", "pwd; id -u"]


@pytest.fixture
def bundle_with(make_bundle: MakeBundle) -> Any:
    """A bundle whose process stands in /work/inner, below a directory of this owner and mode."""

    def make(owner: int, mode: int, patch: Patch = lambda _: None, **process: Any) -> Bundle:
        bundle: Bundle = make_bundle(patch, process={"cwd": "/work/inner", "args": WHERE, **process})
        inner = bundle.rootfs / "work" / "inner"
        inner.mkdir(parents=True)
        for path in (inner, inner.parent):
            os.chown(path, owner, owner)
        inner.parent.chmod(mode)
        return bundle

    return make


USERS: dict[str, tuple[int, Json, str]] = {
    "root's, to a user": (0, {"user": USER}, "1000"),
    "root's, to a user without capabilities": (0, {"user": USER, "capabilities": NONE}, "1000"),
    "a user's, to root without capabilities": (1000, {"capabilities": NONE}, "0"),
    "a user's, to another": (2000, {"user": USER}, "1000"),
    "one's own": (1000, {"user": USER, "capabilities": NONE}, "1000"),
}


@pytest.mark.parametrize("new_privileges", [False, True], ids=["noNewPrivileges", ""])
@pytest.mark.parametrize(("owner", "process", "uid"), USERS.values(), ids=USERS)
def test_the_runtimes_user_enters_what_the_containers_may_not(
    owner: int, process: Json, uid: str, new_privileges: bool, runtime: Runtime, bundle_with: Any
) -> None:
    """docker run -u 2000 -w of a directory with mode 0700; runc's issue 2086."""
    bundle = bundle_with(owner, 0o700, noNewPrivileges=not new_privileges, **process)
    assert runtime.run_container(bundle, check=True).stdout == f"/work/inner\n{uid}\n"


@pytest.mark.parametrize(("owner", "process", "uid"), USERS.values(), ids=USERS)
def test_exec_does_too_and_a_second_time(
    owner: int, process: Json, uid: str, runtime: Runtime, bundle_with: Any
) -> None:
    own = {"args": ["sleep", "600"], "cwd": "/", "user": {"uid": 0, "gid": 0}}
    container = runtime.start(bundle_with(owner, 0o700, **own))
    path = runtime.scratch / "process.json"
    members = {"args": WHERE, "cwd": "/work/inner", "env": ["PATH=/bin"], "user": own["user"], **process}
    path.write_text(json.dumps(members))
    for _ in range(2):
        assert container.exec(flags=["--process", str(path)]).stdout == f"/work/inner\n{uid}\n"


def test_the_containers_user_enters_what_the_runtimes_may_not(runtime: Runtime, bundle_with: Any) -> None:
    """Root of a user namespace has no privilege over files of a group without a mapping; their owner needs none."""
    first = MAPPED["uidMappings"][0]["hostID"]
    bundle = bundle_with(0, 0o700, user=USER, capabilities=NONE)
    bundle.config["linux"].update(user_namespace())
    os.chown(bundle.rootfs / "work", first + USER["uid"], 0)
    assert runtime.run_container(bundle.write(), check=True).stdout == "/work/inner\n1000\n"


def test_what_neither_may_enter_is_an_error_that_names_the_field(runtime: Runtime, bundle_with: Any) -> None:
    bundle = bundle_with(0, 0o700, user=USER, capabilities=NONE)
    bundle.config["linux"].update(user_namespace())
    failed = runtime.run_container(bundle.write(), check=False)
    assert failed.stderr.startswith('ocirt: config.json: /process/cwd: chdir to cwd ("/work/inner")'), failed.stderr
    assert "permission denied" in failed.stderr


@pytest.mark.parametrize("early", [False, True], ids=["late filter", "early filter"])
def test_a_filter_without_chdir_and_getcwd_does_not_keep_the_process_out(
    early: bool, runtime: Runtime, bundle_with: Any
) -> None:
    rule = {"names": ["chdir", "getcwd"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
    patch = put("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    bundle = bundle_with(0, 0o700, patch, user=USER, args=["readlink", "/proc/self/cwd"], noNewPrivileges=not early)
    assert runtime.run_container(bundle, check=True).stdout == "/work/inner\n"


@pytest.mark.parametrize("number", [3, 4])
def test_a_directory_of_the_host_is_refused_whoever_may_enter(
    number: int, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    """CVE-2024-21626, with a descriptor that the container is given on purpose."""
    bundle = make_bundle(process={"user": USER, "args": ["pwd"], "cwd": f"/proc/self/fd/{number}"})
    directory = os.open("/", os.O_RDONLY | os.O_DIRECTORY)

    def give() -> None:
        os.dup2(directory, 3)
        os.dup2(directory, 4)

    try:
        failed = runtime.run_container(bundle, "--preserve-fds", "2", check=False, pass_fds=(3, 4), preexec_fn=give)
    finally:
        os.close(directory)
    assert "/process/cwd" in failed.stderr
    assert failed.stdout == ""
