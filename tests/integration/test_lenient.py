"""What the specification refuses and other runtimes take, from the command line into the container."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.limits_table import ROWS, at_the_top
from tests.integration.limits_table import version as carried
from tests.integration.support import Bundle, Container, Json, Runtime
from tests.integration.views import MakeBundle
from tests.unit.config.changes import Patch, both, put

SLEEP = ["sleep", "600"]
ALL_NULL = both(
    put("/annotations", {"a": None}),
    put("/hooks", {"prestart": None, "poststop": [{"path": "/bin/true", "args": None, "env": None, "timeout": None}]}),
    put("/process/user", {"uid": 7, "gid": 8, "umask": None, "additionalGids": None}),
    put("/process/consoleSize", None),
    put("/process/rlimits", None),
    put("/process/capabilities/ambient", None),
    put("/process/oomScoreAdj", None),
    put("/linux/seccomp", None),
    put("/linux/resources", {"devices": [{"allow": False, "major": None, "type": None}], "memory": None}),
    put("/linux/intelRdt", None),
    put("/linux/namespaces/0/path", None),
    put("/mounts/1/options", None),
    put("/vm", None),
)


def test_null_means_not_given_for_every_verb_that_reads_the_config(
    runtime: Runtime, make_bundle: MakeBundle, scratch: Path
) -> None:
    container = runtime.start(make_bundle(ALL_NULL, args=SLEEP))
    assert container.exec("id").stdout == "uid=7 gid=8\n"
    process: Json = {"cwd": "/", "args": ["sh", "-c", "id -u; umask"], "env": None, "user": None, "capabilities": None}
    (scratch / "process.json").write_text(json.dumps(process))
    assert container.exec(flags=["--process", str(scratch / "process.json")]).stdout == "0\n0022\n"
    document = json.dumps({"pids": {"limit": None}, "blockIO": {"weightDevice": None}, "cpu": None}).encode()
    runtime.run("update", "--resources", "-", container.id, stdin=document, check=True)
    assert "annotations" not in container.state() or not container.state()["annotations"]
    container.stop()


def test_a_required_field_that_is_null_is_told_as_missing(runtime: Runtime, make_bundle: MakeBundle) -> None:
    failed = runtime.run_container(make_bundle(put("/process/args", None)), check=False)
    assert "/process/args: required, but missing" in failed.stderr
    entry = runtime.run_container(make_bundle(put("/process/args", ["true", None])), check=False)
    assert "/process/args/1: found null, must be a string" in entry.stderr


TAKEN: list[tuple[str, Patch, list[str], str]] = [
    ("no gid", put("/process/user", {"uid": 7}), ["sh", "-c", "id -u; id -g"], "7\n0\n"),
    ("no gid but a umask", put("/process/user", {"uid": 0, "umask": 0o27}), ["sh", "-c", "id -g; umask"], "0\n0027\n"),
    ("no priority", put("/process/ioPriority", {"class": "IOPRIO_CLASS_BE"}), ["ionice", "-p", "1"], "best-effort: "),
    ("an empty path", put("/linux/namespaces/0/path", ""), ["sh", "-c", "cat /proc/1/comm | wc -l"], "1\n"),
    ("an empty propagation", put("/linux/rootfsPropagation", ""), ["echo", "x"], "x\n"),
    (
        "letters that mean nothing",
        put("/linux/resources/devices", [{"allow": False, "access": "rwmx"}]),
        ["sh", "-c", "mknod /tmp/kmsg c 1 11; cat /tmp/kmsg 2>&1 | tail -c 24"],
        "Operation not permitted\n",
    ),
    (
        "a listener of a filter that notifies nobody",
        put("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nowhere/agent.sock"}),
        ["echo", "x"],
        "x\n",
    ),
]


@pytest.mark.parametrize(("patch", "args", "said"), [case[1:] for case in TAKEN], ids=[case[0] for case in TAKEN])
def test_it_is_taken_in_the_container_and_by_exec(
    patch: Patch, args: list[str], said: str, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    assert runtime.run_container(make_bundle(patch, args=args), check=True).stdout.startswith(said)
    assert runtime.start(make_bundle(patch, args=SLEEP)).exec(*args).stdout.startswith(said)


def test_validate_strict_refuses_it_and_validate_names_it(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(put("/process/user", {"uid": 7}))
    strict = runtime.run("validate", "--strict", str(bundle.path), check=False)
    assert strict.code == 1
    assert "/process/user/gid: required, but missing\n" in strict.stderr
    loose = runtime.run("validate", str(bundle.path), check=True)
    assert "/process/user/gid: required, but missing; taken all the same, but not by --strict\n" in loose.stdout


# ---- a limit of no process -------------------------------------------------------------------------------------------


def limited(runtime: Runtime, make_bundle: MakeBundle, version: str, resources: Any) -> Container:
    if not carried(next(row for row in ROWS if row.pointer == "/pids/limit")):
        pytest.skip("no hierarchy has the controller pids")
    name = runtime.new_id()
    bundle: Bundle = make_bundle(args=SLEEP, ociVersion=version, linux={**at_the_top(name), "resources": resources})
    return runtime.create(bundle, container_id=name)


@pytest.mark.cgroup
@pytest.mark.parametrize(
    ("version", "limit", "shown"),
    [("1.0.2-dev", 0, "max"), ("1.2.1", 0, "max"), ("1.2.1", -1, "max"), ("1.3.0", -1, "max"), ("1.3.0", 0, "1")],
)
def test_a_limit_of_no_process_is_none_before_version_1_3(
    version: str, limit: int, shown: str, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    container = limited(runtime, make_bundle, version, {"pids": {"limit": limit}})
    assert container.cgroup_file("pids.max") == f"{shown}\n"
    # as engines do it: the whole of linux.resources
    runtime.run("update", "--pids-limit", "7", container.id, check=True)
    document = json.dumps({"pids": {"limit": limit}}).encode()
    runtime.run("update", "--resources", "-", container.id, stdin=document, check=True)
    assert container.cgroup_file("pids.max") == f"{shown}\n"


@pytest.mark.cgroup
@pytest.mark.parametrize("limit", ["0", "-1"])
def test_update_by_flag_to_no_process_is_to_no_limit(limit: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    container = limited(runtime, make_bundle, "1.3.0", {"pids": {"limit": 7}})
    runtime.run("update", f"--pids-limit={limit}", container.id, check=True)
    assert container.cgroup_file("pids.max") == "max\n"
