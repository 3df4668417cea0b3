"""process.apparmorProfile: the profile confines the container's processes, as is seen from inside."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.support import Json, Runtime, merged
from tests.integration.views import MakeBundle, user_namespace

CURRENT = "/proc/self/attr/current"  # proc_pid_attr(5)
PROFILE = """
profile {name} flags=(attach_disconnected) {{
	capability,
	file,
	mount,
	umount,
	pivot_root,
	network,
	ptrace,
	signal,
	unix,
	deny /{secret} rw,
}}
"""


@pytest.fixture(scope="module", autouse=True)
def profiles() -> Iterator[list[str]]:
    """Two profiles, in the kernel for as long as these tests run; the file of each name is what it forbids."""
    if not shutil.which("apparmor_parser") or not Path("/sys/kernel/security/apparmor/profiles").exists():
        pytest.skip("needs AppArmor")
    names = [f"ocirt-test-{os.getpid()}-{name}" for name in ("first", "second")]
    text = "".join(PROFILE.format(name=name, secret=name.rpartition("-")[2]) for name in names)
    parser = ["apparmor_parser", "--skip-cache", "--quiet"]
    subprocess.run([*parser, "--replace"], input=text, text=True, check=True)
    yield names
    subprocess.run([*parser, "--remove"], input=text, text=True, check=True)


SCRIPT = f"cat {CURRENT}; cat /first /second 2>&1"
WAYS: dict[str, Json] = {
    "no new privileges": {"process": {"noNewPrivileges": True}},
    "privileges to gain": {"process": {"noNewPrivileges": False}},
    "user namespace": {"linux": user_namespace()},
}


def with_secrets(make_bundle: MakeBundle, profile: str, **delta: object) -> str:
    bundle = make_bundle(**merged(delta, {"process": {"apparmorProfile": profile}}))
    for name in ("first", "second"):
        bundle.add_file(name, f"what {name} forbids\n")
    return str(bundle.path)


@pytest.mark.parametrize("way", WAYS)
def test_the_process_is_confined_by_the_profile(
    runtime: Runtime, make_bundle: MakeBundle, profiles: list[str], way: str
) -> None:
    path = with_secrets(make_bundle, profiles[0], args=["sh", "-c", SCRIPT], **WAYS[way])
    said = runtime.run("run", "--bundle", path, runtime.new_id()).stdout.splitlines()
    assert said == [f"{profiles[0]} (enforce)", "cat: can't open '/first': Permission denied", "what second forbids"]


def test_a_process_that_exec_adds_is_confined_as_the_first_or_as_it_is_told(
    runtime: Runtime, make_bundle: MakeBundle, profiles: list[str]
) -> None:
    bundle = make_bundle(args=["sleep", "600"], process={"apparmorProfile": profiles[0]})
    container = runtime.start(bundle)
    assert container.proc("attr/current") == f"{profiles[0]} (enforce)\n"
    assert container.exec("cat", CURRENT).stdout == f"{profiles[0]} (enforce)\n"
    told = container.exec("cat", CURRENT, flags=["--apparmor", profiles[1]])
    assert told.stdout == f"{profiles[1]} (enforce)\n"


@pytest.mark.parametrize("profile", ["", "unconfined"])
def test_without_a_profile_it_is_as_free_as_the_runtime(
    runtime: Runtime, make_bundle: MakeBundle, profile: str
) -> None:
    bundle = make_bundle(args=["cat", CURRENT], process={"apparmorProfile": profile})
    assert runtime.run_container(bundle, check=True).stdout == "unconfined\n"


def test_a_profile_that_is_not_loaded_is_an_error_that_names_it(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["true"], process={"apparmorProfile": "no-such-profile"})
    failed = runtime.run("create", "--bundle", str(bundle.path), runtime.new_id(), check=False)
    assert failed.stderr.startswith("ocirt: config.json: /process/apparmorProfile: ")
    assert "no-such-profile" in failed.stderr
    assert failed.stderr.count("\n") == 1
