"""The labels of SELinux, with a policy that is loaded: of processes, of mounts, of keyrings. Runs in the guest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.support import Runtime
from tests.integration.views import MakeBundle

pytestmark = pytest.mark.skipif(not Path("/sys/fs/selinux/enforce").exists(), reason="this host has no SELinux")

FILES = "system_u:object_r:tmp_t:s0:c1,c2"
CURRENT = "/proc/self/attr/current"


def label(categories: str) -> str:
    """Our own label, which the policy knows, with other categories."""
    user, role, kind = Path(CURRENT).read_text().rstrip("\n\0").split(":")[:3]
    return f"{user}:{role}:{kind}:s0:{categories}"


def text(output: str) -> str:
    return output.rstrip("\n\0")


def test_the_process_has_its_label_and_so_has_what_enters(runtime: Runtime, make_bundle: MakeBundle) -> None:
    wanted = label("c1,c2")
    container = runtime.start(make_bundle(args=["sleep", "600"], process={"selinuxLabel": wanted}))
    assert text(container.proc("attr/current")) == wanted
    assert text(container.exec("cat", CURRENT).stdout) == wanted
    assert text(container.exec("cat", CURRENT, flags=["--process-label", label("c3")]).stdout) == label("c3")
    container.stop()


def test_a_process_without_a_label_has_ours(runtime: Runtime, make_bundle: MakeBundle) -> None:
    done = runtime.run_container(make_bundle(args=["cat", CURRENT]))
    assert text(done.stdout) == text(Path(CURRENT).read_text())


def test_mounts_have_the_label_where_the_filesystem_takes_one(runtime: Runtime, make_bundle: MakeBundle) -> None:
    container = runtime.start(make_bundle(args=["sleep", "600"], linux={"mountLabel": FILES}))
    root = f"/proc/{container.pid}/root"
    for path in ("/dev", "/dev/null", "/dev/pts", "/dev/shm", "/dev/mqueue"):
        assert text(os.getxattr(root + path, "security.selinux").decode()) == FILES, path
    options = {line.split()[4]: line.split(" - ")[1] for line in container.proc("mountinfo").splitlines()}
    assert f'context="{FILES}"' in options["/dev"]
    assert "context=" not in options["/proc"]
    container.stop()


@pytest.mark.parametrize("delta", [{"process": {"selinuxLabel": "a:b:c:d"}}, {"linux": {"mountLabel": "a:b:c:d"}}])
def test_a_label_that_the_policy_does_not_know_is_an_error_that_names_it(
    runtime: Runtime, make_bundle: MakeBundle, delta: dict[str, object]
) -> None:
    done = runtime.run_container(make_bundle(args=["true"], **delta), check=False)
    assert done.code == 1
    assert "a:b:c:d" in done.stderr
    assert "config.json: /" in done.stderr
