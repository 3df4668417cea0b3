"""The five capability sets, as the kernel shows them, and what they allow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocirt.linux import consts
from tests.integration.support import CAPABILITIES, Runtime
from tests.integration.views import Inside, MakeBundle, fields, user_namespace, with_capabilities, wrapper

# capabilities(7), linux/capability.h
BITS = {"CAP_CHOWN": 0, "CAP_KILL": 5, "CAP_NET_BIND_SERVICE": 10, "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}
LINES = {
    "inheritable": "CapInh",
    "permitted": "CapPrm",
    "effective": "CapEff",
    "bounding": "CapBnd",
    "ambient": "CapAmb",
}
BASE_SETS = dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES)
TWO = ["CAP_KILL", "CAP_NET_RAW"]


def mask(*names: str) -> int:
    """The bits of these capabilities."""
    return sum(1 << BITS[name] for name in names)


@pytest.fixture
def sets(inside: Inside) -> Any:
    """A function: the sets of a process with exactly these, by name."""

    def look(listed: dict[str, list[str]] | None, uid: int = 0, **delta: Any) -> dict[str, int]:
        whole = None if listed is None else {**dict.fromkeys(LINES), **listed}
        process = {"capabilities": whole, "user": {"uid": uid, "gid": uid}, **delta.pop("process", {})}
        status = fields(inside("cat", "/proc/self/status", process=process, **delta))
        return {name: int(status[line], 16) for name, line in LINES.items()}

    return look


def everywhere(*names: str) -> dict[str, list[str]]:
    """All five sets with these."""
    return {name: list(names) for name in LINES}


NONE = dict.fromkeys(LINES, 0)


def test_all_five_sets_are_as_configured(sets: Any) -> None:
    assert sets(everywhere(*TWO), uid=1000) == dict.fromkeys(LINES, mask(*TWO))


def test_all_that_the_runtime_has_can_be_given(sets: Any) -> None:
    """As engines ask for a privileged container: every name, of which the host's kernel and root may lack some."""
    ours = int(fields(Path("/proc/self/status").read_text())["CapBnd"], 16)
    known = [name for name, bit in consts.CAPABILITIES.items() if ours >> bit & 1]
    assert sets(everywhere(*known), uid=1000) == dict.fromkeys(LINES, ours)


@pytest.mark.parametrize("listed", [None, {}, everywhere()], ids=["absent", "empty object", "empty lists"])
@pytest.mark.parametrize("uid", [0, 1000])
def test_what_is_not_listed_is_not_there(sets: Any, listed: dict[str, list[str]] | None, uid: int) -> None:
    assert sets(listed, uid=uid) == NONE


def test_root_regains_by_execve_what_is_in_its_bounding_set_alone(sets: Any) -> None:
    """capabilities(7): a program that root executes has the bounding set for its permitted set."""
    found = sets({"bounding": TWO, "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]})
    assert found["bounding"] == mask(*TWO)
    assert found["inheritable"] == found["ambient"] == 0


def test_a_user_without_ambient_capabilities_has_none_after_execve(sets: Any) -> None:
    found = sets({"bounding": TWO, "permitted": TWO, "effective": TWO}, uid=1000)
    assert found == {**NONE, "bounding": mask(*TWO)}


def test_ambient_capabilities_reach_the_program_of_a_user(inside: Inside) -> None:
    names = ["CAP_NET_BIND_SERVICE"]
    process = {"capabilities": everywhere(*names), "user": {"uid": 1000, "gid": 1000}}
    status = fields(inside("cat", "/proc/self/status", process=process))
    assert int(status["CapEff"], 16) == mask(*names)
    assert status["Uid"].split() == ["1000"] * 4


def test_inheritable_is_never_more_than_what_was_listed(sets: Any) -> None:
    found = sets({"bounding": TWO, "permitted": TWO, "effective": TWO, "inheritable": ["CAP_KILL"]})
    assert found["inheritable"] == mask("CAP_KILL")
    assert sets(BASE_SETS)["inheritable"] == 0


def test_a_capability_in_effective_alone_is_left_out_with_a_warning(runtime: Runtime, make_bundle: MakeBundle) -> None:
    listed = {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": TWO}
    bundle = make_bundle(args=["cat", "/proc/self/status"], process={"capabilities": listed})
    log = runtime.scratch / "log"
    result = runtime.run(
        "--debug", "--log", str(log), "run", "--bundle", str(bundle.path), runtime.new_id(), check=True
    )
    assert int(fields(result.stdout)["CapEff"], 16) == mask("CAP_KILL")
    assert "CAP_NET_RAW" in log.read_text()


def test_an_unknown_capability_is_a_warning_not_an_error(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["cat", "/proc/self/status"], process=with_capabilities("CAP_TIME_TRAVEL", "CAP_KILL"))
    log = runtime.scratch / "log"
    result = runtime.run(
        "--debug", "--log", str(log), "run", "--bundle", str(bundle.path), runtime.new_id(), check=True
    )
    assert int(fields(result.stdout)["CapBnd"], 16) == mask("CAP_KILL")
    assert "CAP_TIME_TRAVEL" in log.read_text()


def test_what_the_runtime_lacks_it_cannot_grant_and_says_so(runtime: Runtime, make_bundle: MakeBundle) -> None:
    command = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-all", "--", runtime.program]
    runtime.program = wrapper(runtime.scratch / "limited", command)
    bundle = make_bundle(args=["cat", "/proc/self/status"], process=with_capabilities("CAP_NET_RAW", "CAP_KILL"))
    log = runtime.scratch / "log"
    result = runtime.run(
        "--debug", "--log", str(log), "run", "--bundle", str(bundle.path), runtime.new_id(), check=True
    )
    assert int(fields(result.stdout)["CapBnd"], 16) == mask("CAP_KILL")
    assert "CAP_NET_RAW" in log.read_text()


@pytest.mark.parametrize(("names", "answer"), [(["CAP_CHOWN"], "changed"), ([], "refused")])
def test_a_capability_decides_what_root_may_do(inside: Inside, names: list[str], answer: str) -> None:
    script = "touch /tmp/f; chown 5 /tmp/f 2>/dev/null && echo changed || echo refused"
    assert inside("sh", "-c", script, process=with_capabilities(*names)) == f"{answer}\n"


def test_the_bounding_set_cannot_be_climbed_over(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """A set-user-ID program gives root's ids, but no capability beyond the bounding set."""
    process = {
        "capabilities": {**everywhere(), "bounding": ["CAP_KILL"]},
        "user": {"uid": 1000, "gid": 1000},
        "noNewPrivileges": False,
    }
    bundle = make_bundle(args=["/suid/busybox", "cat", "/proc/self/status"], process=process)
    program = bundle.add_file("/suid/busybox")
    program.write_bytes((bundle.rootfs / "bin" / "busybox").read_bytes())
    program.chmod(0o4755)
    status = fields(runtime.run_container(bundle, check=True).stdout)
    assert int(status["CapBnd"], 16) == mask("CAP_KILL")
    assert int(status["CapPrm"], 16) == mask("CAP_KILL")
    assert status["Uid"].split()[2] == "0", "busybox gives the effective id up, the saved one is root's"


def test_in_a_user_namespace_every_capability_can_be_granted(inside: Inside) -> None:
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    names = ["CAP_SYS_RESOURCE", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"]
    status = fields(inside("cat", "/proc/self/status", process=with_capabilities(*names), linux=user_namespace()))
    assert int(status["CapEff"], 16) == 1 << 24 | 1 << 21 | (1 << 40 if last >= 40 else 0)
