"""The six kinds of hooks: order, namespaces, state, environment, timeout, and what the failure of each leads to."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import Bundle, Container, Json, Runtime, wait_for
from tests.integration.views import MakeBundle

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
# Run where the container is: by programs of the host's and of the container's.
INSIDE = ("createContainer", "startContainer")
BEFORE_START = ("prestart", "createRuntime", "createContainer")

# Appends a record to the journal: kind, namespaces, what was on stdin.
SCRIPT = """#!/bin/sh
{
  echo "kind=$KIND argv0=$0 args=$*"
  for name in mnt pid uts net; do echo "$name=$(readlink /proc/self/ns/$name)"; done
  echo "root=$(ls / | tr '\\n' ' ')"
  echo "cwd=$(pwd)"
  echo "state=$(tr -d '\\n')"
} >>$JOURNAL
"""


class Hooks:
    """A bundle whose hooks write to one journal; startContainer's sees it by a bind mount."""

    def __init__(self, make_bundle: MakeBundle, scratch: Path, **delta: Any) -> None:
        self.journal = scratch / "journal"
        self.journal.touch()
        self.journal.chmod(0o666)
        self.script = scratch / "hook"
        self.script.write_text(SCRIPT)
        self.script.chmod(0o755)
        self.bundle = make_bundle(args=["sleep", "600"], **delta)
        self.bundle.add_file("/hook", SCRIPT, 0o755)
        self.bundle.add_file("/journal", "", 0o666)
        self.bundle.config["hooks"] = {kind: [self.entry(kind)] for kind in KINDS}

    def entry(self, kind: str, path: str = "", **more: Any) -> Json:
        """One hook of this kind."""
        own = kind == "startContainer"
        journal = "/journal" if own else str(self.journal)
        env = [f"KIND={kind}", f"JOURNAL={journal}", "PATH=/usr/bin:/bin"]
        return {"path": path or ("/hook" if own else str(self.script)), "env": env, **more}

    def only(self, *kinds: str) -> Bundle:
        """With hooks of these kinds alone."""
        self.bundle.config["hooks"] = {kind: self.bundle.config["hooks"][kind] for kind in kinds}
        return self.bundle.write()

    def records(self) -> dict[str, dict[str, str]]:
        """Kind → what it wrote, in the order of running (startContainer's own journal goes where it belongs)."""
        text = self.journal.read_text()
        inner = (self.bundle.rootfs / "journal").read_text()
        at = text.find("kind=poststart")
        text = text[:at] + inner + text[at:] if at >= 0 else text + inner
        found = {}
        for record in re.split(r"^(?=kind=)", text, flags=re.MULTILINE)[1:]:
            pairs = dict(line.split("=", 1) for line in record.splitlines())
            found[pairs["kind"].split()[0]] = pairs
        return found


@pytest.fixture
def hooks(make_bundle: MakeBundle, scratch: Path) -> Hooks:
    """All six, one of each."""
    hooks = Hooks(make_bundle, scratch, annotations={"org.example.key": "värde"})
    hooks.bundle.write()
    return hooks


def lived(runtime: Runtime, bundle: Bundle) -> tuple[Container, int]:
    """A container that was created, started, stopped and deleted, and the pid it had."""
    container = runtime.create(bundle)
    pid = container.pid
    container.start()
    container.stop()
    return container, pid


# ---- what they see ---------------------------------------------------------------------------------------------------


def test_hooks_run_in_the_order_of_the_lifecycle(runtime: Runtime, hooks: Hooks) -> None:
    container = runtime.create(hooks.bundle)
    assert tuple(hooks.records()) == BEFORE_START
    container.start()
    wait_for(lambda: len(hooks.records()) == 5, "poststart")
    assert tuple(hooks.records()) == KINDS[:5]
    container.stop()
    assert tuple(hooks.records()) == KINDS


# runtime.md: what the status is when each runs
STATUS = {
    "prestart": "creating",
    "createRuntime": "creating",
    "createContainer": "creating",
    "startContainer": "created",
    "poststart": "running",
    "poststop": "stopped",
}


def test_the_state_on_stdin_is_that_of_the_moment(runtime: Runtime, hooks: Hooks) -> None:
    container, pid = lived(runtime, hooks.bundle)
    states = {kind: json.loads(record["state"]) for kind, record in hooks.records().items()}
    assert {kind: state["status"] for kind, state in states.items()} == STATUS
    for kind, state in states.items():
        assert state["id"] == container.id
        assert state["bundle"] == str(hooks.bundle.path)
        assert state["annotations"] == {"org.example.key": "värde"}
        assert state["ociVersion"] == "1.3.0"
        expected = {"poststop": 0}.get(kind, 1 if kind in INSIDE else pid)
        assert state.get("pid", 0) == expected, kind


def test_hooks_run_in_the_namespaces_of_the_specification(runtime: Runtime, hooks: Hooks) -> None:
    container = runtime.start(hooks.bundle)
    names = ("mnt", "pid", "uts", "net")
    inside = {name: os.readlink(f"/proc/{container.pid}/ns/{name}") for name in names}
    outside = {name: os.readlink(f"/proc/self/ns/{name}") for name in names}
    container.stop()
    for kind, record in hooks.records().items():
        assert {name: record[name] for name in names} == (inside if kind in INSIDE else outside), kind


def test_hooks_of_the_host_start_in_the_bundle_and_those_of_the_container_in_its_root(
    runtime: Runtime, hooks: Hooks
) -> None:
    lived(runtime, hooks.bundle)
    bundle, rootfs = str(hooks.bundle.path), str(hooks.bundle.rootfs)
    expected = {**dict.fromkeys(KINDS, bundle), "createContainer": rootfs, "startContainer": "/"}
    assert {kind: record["cwd"] for kind, record in hooks.records().items()} == expected


def test_a_poststop_hook_of_a_bundle_that_is_gone_starts_in_the_root(runtime: Runtime, hooks: Hooks) -> None:
    container = runtime.start(hooks.only("poststop"))
    moved = hooks.bundle.path.rename(hooks.bundle.path.with_name("moved"))
    container.stop()
    moved.rename(hooks.bundle.path)
    assert hooks.records()["poststop"]["cwd"] == "/"


def test_create_container_still_has_the_hosts_root_and_start_container_has_its_own(
    runtime: Runtime, hooks: Hooks
) -> None:
    lived(runtime, hooks.bundle)
    host = " ".join(sorted(name for name in os.listdir("/") if name[0] != "."))
    seen = {kind: " ".join(sorted(record["root"].split())) for kind, record in hooks.records().items()}
    assert seen["createContainer"] == host
    assert seen["startContainer"] == " ".join(sorted(path.name for path in hooks.bundle.rootfs.iterdir()))


def test_create_container_finds_the_mounts_of_the_container(runtime: Runtime, hooks: Hooks) -> None:
    look = runtime.scratch / "look"
    look.write_text(f"#!/bin/sh\ngrep -c {hooks.bundle.rootfs}/dev/shm /proc/self/mounts >{runtime.scratch}/seen\n")
    look.chmod(0o755)
    hooks.bundle.config["hooks"] = {"createContainer": [{"path": str(look), "env": ["PATH=/usr/bin:/bin"]}]}
    runtime.create(hooks.bundle.write())
    assert (runtime.scratch / "seen").read_text() == "1\n"


def test_runtime_hooks_find_the_namespaces_made(runtime: Runtime, hooks: Hooks) -> None:
    look = runtime.scratch / "look"
    look.write_text(
        "#!/bin/sh\npid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/' | grep -x '[0-9]*')\n"
        f"readlink /proc/$pid/ns/net >{runtime.scratch}/seen\n"
    )
    look.chmod(0o755)
    hooks.bundle.config["hooks"] = {"createRuntime": [{"path": str(look), "env": ["PATH=/usr/bin:/bin"]}]}
    container = runtime.create(hooks.bundle.write())
    assert (runtime.scratch / "seen").read_text().strip() == os.readlink(f"/proc/{container.pid}/ns/net")


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_and_environment_are_the_hooks_own(runtime: Runtime, hooks: Hooks, kind: str) -> None:
    shell = "/bin/sh"
    script = 'printf "%s|" "$0" "$@" >>$JOURNAL; env >>$JOURNAL'
    entry = hooks.entry(kind, shell, args=["ash", "-c", script, "zero", "one", "two words"])
    entry["env"] = [*entry["env"], "A=b c", "EMPTY="]
    hooks.bundle.config["hooks"] = {kind: [entry]}
    lived(runtime, hooks.bundle.write())
    text = hooks.journal.read_text() + (hooks.bundle.rootfs / "journal").read_text()
    said, _, environment = text.rpartition("|")
    assert said == "zero|one|two words"
    names = {line.split("=", 1)[0] for line in environment.splitlines() if "=" in line}
    assert {"A=b c", "EMPTY="} <= set(environment.splitlines())
    assert names <= {"KIND", "JOURNAL", "PATH", "A", "EMPTY", "PWD", "SHLVL", "_", "OLDPWD"}


@pytest.mark.parametrize("kind", KINDS)
def test_argv0_is_the_first_of_args_not_the_path(runtime: Runtime, hooks: Hooks, kind: str) -> None:
    """Programs that are many in one look at it; without a further argument it is what a shell calls $0."""
    entry = hooks.entry(kind, "/bin/sh", args=["ash", "-c", "echo $0 >>$JOURNAL"])
    hooks.bundle.config["hooks"] = {kind: [entry]}
    lived(runtime, hooks.bundle.write())
    assert hooks.journal.read_text() + (hooks.bundle.rootfs / "journal").read_text() == "ash\n"


@pytest.mark.parametrize("kind", KINDS)
def test_hooks_of_one_kind_run_in_the_order_they_are_listed(runtime: Runtime, hooks: Hooks, kind: str) -> None:
    listed = [hooks.entry(kind, "/bin/sh", args=["sh", "-c", f"echo {n} >>$JOURNAL"]) for n in (1, 2, 3)]
    hooks.bundle.config["hooks"] = {kind: listed}
    lived(runtime, hooks.bundle.write())
    journal = hooks.bundle.rootfs / "journal" if kind == "startContainer" else hooks.journal
    assert journal.read_text().split() == ["1", "2", "3"]


# ---- failures --------------------------------------------------------------------------------------------------------


def failing(hooks: Hooks, kind: str, script: str = "echo the reason >&2; exit 3", **more: Any) -> Bundle:
    """A bundle where the first hook of a kind fails, and the second leaves a mark."""
    bad = hooks.entry(kind, "/bin/sh", args=["sh", "-c", script], **more)
    mark = hooks.entry(kind, "/bin/sh", args=["sh", "-c", "echo second >>$JOURNAL"])
    hooks.bundle.config["hooks"] = {kind: [bad, mark], "poststop": hooks.bundle.config["hooks"]["poststop"]}
    if kind == "poststop":
        hooks.bundle.config["hooks"] = {kind: [bad, mark]}
    return hooks.bundle.write()


def second_ran(hooks: Hooks) -> bool:
    """Whether the hook after the failing one has run."""
    return "second" in hooks.journal.read_text() + (hooks.bundle.rootfs / "journal").read_text()


@pytest.mark.parametrize("kind", BEFORE_START)
def test_a_failure_before_start_fails_create_and_leaves_nothing(runtime: Runtime, hooks: Hooks, kind: str) -> None:
    result = runtime.run("create", "--bundle", str(failing(hooks, kind).path), runtime.new_id(), check=False)
    assert f"/hooks/{kind}/0" in result.stderr
    assert "status 3" in result.stderr
    assert "the reason" in result.stderr
    assert not second_ran(hooks)
    assert list(hooks.records()) == ["poststop"], "runtime.md: then the container is destroyed, with its hooks"
    assert runtime.run("list", "--quiet", check=True).stdout == ""


def test_a_failing_start_container_hook_fails_start_and_destroys(runtime: Runtime, hooks: Hooks) -> None:
    container = runtime.create(failing(hooks, "startContainer"))
    result = container.start(check=False)
    assert "/hooks/startContainer/0" in result.stderr
    assert "the reason" in result.stderr
    assert not second_ran(hooks)
    assert "does not exist" in runtime.run("state", container.id, check=False).stderr
    assert list(hooks.records()) == ["poststop"]


def test_a_failing_poststart_hook_fails_start_and_destroys(runtime: Runtime, hooks: Hooks) -> None:
    container = runtime.create(failing(hooks, "poststart"))
    pid = container.pid
    result = container.start(check=False)
    assert "/hooks/poststart/0" in result.stderr
    assert not second_ran(hooks)
    assert "does not exist" in runtime.run("state", container.id, check=False).stderr
    wait_for(
        lambda: not Path(f"/proc/{pid}/exe").is_symlink() or not Path(f"/proc/{pid}/cmdline").read_text(), "killed"
    )
    assert list(hooks.records()) == ["poststop"]


def test_a_failing_poststop_hook_is_a_warning_and_the_others_run(runtime: Runtime, hooks: Hooks) -> None:
    container = runtime.start(failing(hooks, "poststop"))
    container.kill("KILL")
    container.wait_stopped()
    container.delete()
    assert second_ran(hooks)
    assert "does not exist" in runtime.run("state", container.id, check=False).stderr


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "poststop"])
def test_run_fails_with_the_hook(runtime: Runtime, hooks: Hooks, kind: str) -> None:
    result = runtime.run_container(failing(hooks, kind), check=False)
    assert f"/hooks/{kind}/0" in result.stderr
    assert not second_ran(hooks)
    assert runtime.run("list", "--quiet", check=True).stdout == ""


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "startContainer"])
def test_a_hook_out_of_time_is_killed_with_its_children_and_fails(runtime: Runtime, hooks: Hooks, kind: str) -> None:
    bundle = failing(hooks, kind, "sleep 60 & echo $! >>$JOURNAL; wait", timeout=1)
    before = time.monotonic()
    result = runtime.run_container(bundle, check=False)
    assert 0.9 < time.monotonic() - before < 8
    assert f"/hooks/{kind}/0" in result.stderr
    assert re.search(r"\b1 s\b", result.stderr), result.stderr


def test_a_timeout_is_no_hurry_for_a_hook_that_ends(runtime: Runtime, hooks: Hooks) -> None:
    entry = hooks.entry("createRuntime", timeout=20)
    hooks.bundle.config["hooks"] = {"createRuntime": [entry]}
    before = time.monotonic()
    runtime.create(hooks.bundle.write())
    assert time.monotonic() - before < 5


@pytest.mark.parametrize("force", [False, True], ids=["delete", "delete --force"])
def test_poststop_runs_once_on_every_way_out(runtime: Runtime, hooks: Hooks, force: bool) -> None:
    container = runtime.start(hooks.only("poststop"))
    if not force:
        container.kill("KILL")
        container.wait_stopped()
    container.delete(*(["--force"] if force else []))
    container.delete("--force")
    assert hooks.journal.read_text().count("kind=poststop") == 1


def test_a_hook_that_reads_nothing_and_writes_much_blocks_nobody(runtime: Runtime, hooks: Hooks) -> None:
    annotations = {f"key{n}": "x" * 1000 for n in range(200)}
    hooks.bundle.config["annotations"] = annotations
    noisy = ["sh", "-c", "exec <&-; head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2"]
    hooks.bundle.config["hooks"] = {
        kind: [hooks.entry(kind, "/bin/sh", args=noisy)]
        for kind in ("createRuntime", "createContainer", "startContainer")
    }
    container = runtime.start(hooks.bundle.write())
    assert (container.stdout, container.stderr) == ("", "")
    assert container.state()["annotations"] == annotations


def test_later_changes_of_the_bundle_do_not_change_the_hooks(runtime: Runtime, hooks: Hooks) -> None:
    container = runtime.start(hooks.only("poststop"))
    hooks.bundle.config["hooks"] = {"poststop": [{"path": "/bin/false"}]}
    hooks.bundle.write()
    container.stop()
    assert list(hooks.records()) == ["poststop"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_name_of_the_program_keeps_no_hook_from_running(runtime: Runtime, hooks: Hooks, kind: str) -> None:
    script = hooks.bundle.rootfs / "hook" if kind == "startContainer" else hooks.script
    hooks.bundle.config["hooks"] = {kind: [hooks.entry(kind, args=["", "one"])]}
    script.write_text('#!/bin/sh\necho "$@" >>$JOURNAL\n')
    lived(runtime, hooks.bundle.write())
    assert hooks.journal.read_text() + (hooks.bundle.rootfs / "journal").read_text() == "one\n"


STRANGE: dict[str, Json] = {
    "an empty name": {"path": "/bin/true", "args": [""]},
    "empty arguments": {"path": "/bin/true", "args": ["", "", ""], "env": []},
    "no program": {"path": "/nowhere/hook"},
    "a directory": {"path": "/"},
    "a device": {"path": "/dev/null"},
    "a path through a file": {"path": "/etc/passwd/hook"},
    "a path too long": {"path": "/" + "x" * 5000},
    "an argument too long": {"path": "/bin/true", "args": ["x", "y" * (1 << 18)]},
    "a variable too long": {"path": "/bin/true", "env": ["A=" + "y" * (1 << 18)]},
    "a variable twice": {"path": "/bin/true", "env": ["A=1", "A=2"]},
    "time for ever": {"path": "/bin/true", "timeout": (1 << 63) - 1},
    "its own end": {"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $$"]},
}


@pytest.mark.parametrize("hook", STRANGE.values(), ids=STRANGE)
def test_whatever_a_poststop_hook_is_the_container_is_deleted(runtime: Runtime, hooks: Hooks, hook: Json) -> None:
    hooks.bundle.config["hooks"] = {"poststop": [hook, hooks.entry("poststop")]}
    container = runtime.start(hooks.bundle.write())
    done = container.delete("--force")
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert list(hooks.records()) == ["poststop"]
    assert "does not exist" in runtime.run("state", container.id, check=False).stderr


@pytest.mark.parametrize("hook", STRANGE.values(), ids=STRANGE)
def test_whatever_a_hook_of_the_runtime_is_create_says_so_in_a_line(runtime: Runtime, hooks: Hooks, hook: Json) -> None:
    hooks.bundle.config["hooks"] = {"createRuntime": [hook]}
    container = Container(runtime, runtime.new_id(), hooks.bundle.write())
    runtime.containers.append(container)
    done = runtime.run("create", "--bundle", str(hooks.bundle.path), container.id)
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    if done.code:
        assert "/hooks/createRuntime/0: " in done.stderr
        assert done.stderr.count("\n") == 1
