"""What every test shares: skips with a reason, and each phase's report on the item for fixtures that look back."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests import build_stamp
from tests.images import busybox_layout

PROJECT = Path(__file__).parent.parent


def writable_cgroup() -> bool:
    """Whether some hierarchy lets us make a cgroup, found out by making one."""
    candidates = [Path("/sys/fs/cgroup"), *sorted(Path("/sys/fs/cgroup").glob("*/"))]
    for hierarchy in candidates:
        if not (hierarchy / "cgroup.procs").exists():
            continue
        trial = hierarchy / f"ocirt-trial-{os.getpid()}"
        try:
            trial.mkdir()
            trial.rmdir()
        except OSError:
            continue
        return True
    return False


def pytest_configure() -> None:
    if build_stamp.stale() and not os.environ.get("OCIRT"):
        raise pytest.UsageError("the sources were changed after the build: make build")
    # A shell starts what runs in the background with SIGINT ignored, nohup(1) ignores SIGHUP; and whom the tests
    # interrupt would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root")
    if item.get_closest_marker("ordinary") and os.geteuid() == 0:
        pytest.skip("needs an ordinary user")
    if item.get_closest_marker("cgroup") and not writable_cgroup():
        pytest.skip("needs a cgroup hierarchy that can be written")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    setattr(item, f"report_{report.when}", report)
    return report


@pytest.fixture(scope="session")
def project() -> Path:
    """The checkout."""
    return PROJECT


@pytest.fixture(scope="session")
def ocirt_bin(project: Path) -> str:
    """The program under test: $OCIRT, else the checkout's own."""
    program = os.environ.get("OCIRT") or str(project / "ocirt" / "_bin" / "ocirt")
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not built: make build")
    return found


@pytest.fixture(scope="session")
def busybox_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout with the image "busybox", made with umoci; beside it "bundle", unpacked."""
    for program in ("umoci", "busybox"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    return busybox_layout(tmp_path_factory.mktemp("image"))
