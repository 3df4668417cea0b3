"""The words for cgroups that may not be written."""

from __future__ import annotations

from errno import EACCES, EBUSY
from pathlib import Path

import pytest

from ocirt.cgroup import refusals
from ocirt.cgroup.limits import Unmet, writes

DELEGATED = "user.slice/user-1000.slice/user@1000.service"
SESSION = "user.slice/user-1000.slice/session-3.scope"


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A v2 hierarchy as a user of systemd has it: what is below user@1000.service is delegated, the session isn't."""
    for name in ("", *(str(path) for path in Path(f"{DELEGATED}/box").parents), f"{DELEGATED}/box", SESSION):
        (tmp_path / "cgroup" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name / "cgroup.procs").touch()
    monkeypatch.setattr(
        refusals.posix, "access", lambda path, mode: Path(path).exists() and (mode == 0 or DELEGATED in path)
    )
    return tmp_path / "cgroup"


def moved(mount: Path, monkeypatch: pytest.MonkeyPatch, own: str, errno: int = EACCES) -> str:
    monkeypatch.setattr(refusals, "_own", lambda pid: own)
    return str(refusals.moving(f"{mount}/{DELEGATED}/box", 7, OSError(errno, "")))


def test_a_caller_outside_what_is_delegated_is_told_why_and_what_to_do(
    mount: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert moved(mount, monkeypatch, f"/{SESSION}") == (
        f'move process 7 into cgroup "{mount}/{DELEGATED}/box" (out of "{mount}/{SESSION}" requires write access to '
        f'"{mount}/user.slice/user-1000.slice/cgroup.procs", the nearest cgroup above both: '
        "start ocirt below what is delegated, as by systemd-run --user --scope): permission denied"
    )
    assert f'"{mount}/cgroup.procs", the nearest' in moved(mount, monkeypatch, "/system.slice/sshd.service")


def test_a_caller_inside_it_or_out_of_sight_gets_no_such_advice(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = f'move process 7 into cgroup "{mount}/{DELEGATED}/box": '
    assert moved(mount, monkeypatch, f"/{DELEGATED}/app.slice") == plain + "permission denied"
    assert moved(mount, monkeypatch, "") == plain + "permission denied"
    assert moved(mount, monkeypatch, f"/{SESSION}", EBUSY) == plain + "device or resource busy"


@pytest.mark.parametrize(
    ("controllers", "v2", "reason"),
    [
        (["cpu"], True, "no v1 hierarchy with it is mounted, and cgroup v2 has no such controller"),
        ([], True, "cgroup v2 has no such controller"),
        (["cpu"], False, "no hierarchy with it is mounted"),
    ],
    ids=["hybrid", "v2", "v1"],
)
def test_a_controller_that_is_nowhere_is_told_by_what_the_host_has(
    controllers: list[str], v2: bool, reason: str
) -> None:
    with pytest.raises(Unmet, match=f'needs the cgroup controller "net_cls", but {reason}\'\\)$'):
        writes({"network": {"classID": 5}}, controllers, v2)
