"""A container with CAP_SYS_PTRACE seizes what `exec` brings in, before that has executed its program.

What it gets is what the container may have: its capabilities, its cgroups, its filter; nothing of the host's is open.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.integration.support import CAPABILITIES, Bundle, Container, Json, Runtime, static_program
from tests.integration.views import MakeBundle, fields, with_capabilities

PTRACE = [*CAPABILITIES, "CAP_SYS_PTRACE"]
ADMIN = 1 << 21
WANTED = 1  # that were seized early enough to tell: the processors are shared
TRIES = 500
# clone and what leads to it are allowed, but no mkdir
FILTER = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
}
# A process that may do everything but have a child
CHILDLESS = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["fork", "vfork", "clone", "clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
}


class Caught(NamedTuple):
    """What a process had when it was seized."""

    exe: str
    fds: dict[int, str]
    cgroups: list[str]
    status: dict[str, str]


def caught(container: Container) -> list[Caught]:
    """Those that were seized before they had executed their program."""
    found = []
    for text in (container.bundle.rootfs / "caught").read_text().split("end\n")[:-1]:
        fds = {int(number): target for number, target in re.findall(r"^fd: fd/(\d+) (.*)$", text, re.MULTILINE)}
        status = "\n".join(re.findall(r"^status: (.*)$", text, re.MULTILINE))
        exe = re.search(r"^exe: exe (.*)$", text, re.MULTILINE)
        cgroups = re.findall(r"^cgroup: (.*)$", text, re.MULTILINE)
        found.append(Caught(exe[1] if exe else "", fds, cgroups, fields(status)))
    return [one for one in found if "ocirt-init" in one.exe]


@pytest.fixture(scope="module")
def seizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return static_program("seize.c", tmp_path_factory.mktemp("seizer") / "seize")


def with_seizer(bundle: Bundle, seizer: Path) -> Bundle:
    shutil.copy(seizer, bundle.rootfs / "seize")
    return bundle


def seize(container: Container, again: bool, *flags: str) -> list[Caught]:
    """Executed until enough were seized early. `again`: by the plan that is kept, else by one that is compiled."""
    os.setpriority(os.PRIO_PROCESS, container.pid, -20)  # it must be running when the process appears
    container.exec("true", flags=flags)
    before = len(caught(container))
    for number in range(TRIES):
        change = [] if again else ["-e", f"N{number}=1"]
        container.exec("true", flags=[*change, *flags], preexec_fn=lambda: os.nice(19))
        if len(caught(container)) >= before + WANTED:
            break
    return caught(container)[before:]


def capabilities(one: Caught) -> int:
    """All that it has or could get."""
    return int(one.status["CapPrm"], 16) | int(one.status["CapInh"], 16) | int(one.status["CapBnd"], 16)


def check(container: Container, found: list[Caught], extra: int = 0) -> None:
    """That they had nothing beyond what the container has."""
    assert len(found) >= WANTED, "none was seized in time"
    own = fields(container.proc("status"))
    for one in found:
        assert capabilities(one) & ~int(own["CapBnd"], 16) & ~extra == 0, one
        # Its root, and where HOME is looked up there, are the container's own.
        others = [target for number, target in one.fds.items() if number > 2 and target not in {"/", "/etc/passwd"}]
        # The channel to the runtime; a pipe by which the first stage says that the runtime knows of it
        assert {target.partition(":")[0] for target in others} <= {"socket", "pipe"}, one
        assert len(set(others)) <= 2, one
        assert all(line.endswith(":/") for line in one.cgroups), one


def privileged(*, nnp: bool, profile: Json | None = None) -> dict[str, Any]:
    kinds = ("pid", "mount", "ipc", "uts", "network", "cgroup")
    linux: Json = {"namespaces": [{"type": kind} for kind in kinds]}
    if profile:
        linux["seccomp"] = profile
    return {"process": {**with_capabilities(*PTRACE), "noNewPrivileges": nnp}, "linux": linux}


@pytest.mark.parametrize("again", [False, True], ids=["compiled", "again"])
def test_what_is_seized_has_no_more_than_the_container(
    runtime: Runtime, make_bundle: MakeBundle, seizer: Path, again: bool
) -> None:
    container = runtime.start(with_seizer(make_bundle(args=["/seize"], **privileged(nnp=False)), seizer))
    check(container, seize(container, again))


@pytest.mark.parametrize("again", [False, True], ids=["compiled", "again"])
def test_what_is_seized_is_the_user_that_was_asked_for(
    runtime: Runtime, make_bundle: MakeBundle, seizer: Path, again: bool
) -> None:
    container = runtime.start(with_seizer(make_bundle(args=["/seize"], **privileged(nnp=True)), seizer))
    found = seize(container, again, "-u", "1000:1001", "-g", "7")
    check(container, found)
    for one in found:
        assert set(one.status["Uid"].split()) == {"1000"}
        assert set(one.status["Gid"].split()) == {"1001"}
        assert one.status["Groups"].split() == ["7"]


def test_what_is_seized_is_under_the_filter(runtime: Runtime, make_bundle: MakeBundle, seizer: Path) -> None:
    bundle = make_bundle(args=["/seize"], **privileged(nnp=False, profile=FILTER))
    container = runtime.start(with_seizer(bundle, seizer))
    found = seize(container, False)
    check(container, found)
    assert {one.status["Seccomp"] for one in found} == {"2"}


def test_a_filter_without_clone_leaves_the_right_to_load_it_and_no_other(
    runtime: Runtime, make_bundle: MakeBundle, seizer: Path
) -> None:
    """The filter cannot be loaded before the process exists, which takes clone(2); loading takes CAP_SYS_ADMIN."""
    bundle = make_bundle(args=["/seize"], **privileged(nnp=False, profile=CHILDLESS))
    container = runtime.start(with_seizer(bundle, seizer))
    check(container, seize(container, False), extra=ADMIN)
    assert "Seccomp:\t2" in container.exec("grep", "^Seccomp:", "/proc/self/status").stdout


def test_a_terminal_is_no_way_in(runtime: Runtime, make_bundle: MakeBundle, seizer: Path) -> None:
    container = runtime.start(with_seizer(make_bundle(args=["/seize"], **privileged(nnp=False)), seizer))
    check(container, seize(container, False, "-t"))
