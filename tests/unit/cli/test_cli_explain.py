"""`ocirt explain`: both plans in the order of time, for people and for programs."""

from __future__ import annotations

import json
import types

import pytest

from ocirt.cgroup import host_steps
from ocirt.cgroup.hierarchies import Hierarchy
from ocirt.cli.main import main
from ocirt.plan import host_ops


@pytest.fixture
def plan(monkeypatch):
    """Stands in for the compiler: `plan.ops` are what it returns for the init, `plan.runtime` for the runtime."""
    made = types.SimpleNamespace(ops=[], runtime=[], warnings=[], asked=[])

    class Creation:
        def __init__(self, root, container_id, bundle, options):
            made.asked.append((root, container_id, bundle, options))
            self.plan = made
            self.host = types.SimpleNamespace(console_socket="")

        def read(self, start):
            pass

        def compile(self):
            pass

        def first(self):
            return []

        def rest(self):
            return made.runtime

    words = {"describe": lambda op: f"do {op[0]}", "syscalls": lambda op: f"{op[0]}(…)" if op[0] != "sync" else ""}
    monkeypatch.setattr("ocirt.cli.explain.Creation", Creation)
    for name, function in words.items():
        monkeypatch.setattr(f"ocirt.plan.show.{name}", function)
    return made


OPS = [
    ("hostname", "/hostname", 0, ("web\x1b",)),
    ("mount_fs", "/mounts/3", 1 | 16 << 16 | 2 << 32, ("dev", 7, b"\x01\xff", ["a"])),
    ("sync", "", 0, (3,)),
]


def test_explain_prints_each_step_in_words_as_system_calls_and_with_its_field(plan, tmp_path, capfd):
    plan.ops = OPS
    plan.warnings = ["unknown capability"]
    assert main(["--root", "/r", "explain", str(tmp_path)]) == 0
    assert capfd.readouterr().out.splitlines() == [
        "warning: unknown capability",
        "The init, meanwhile:",
        "    1. do hostname",
        "         hostname(…)",
        "         config.json: /hostname",
        "    2. do mount_fs",
        "         mount_fs(…)",
        "         when it succeeds, goes on at step 5",
        "         config.json: /mounts/3",
        "    3. do sync",
    ]


def test_explain_prints_both_sides_in_the_order_of_time(plan, tmp_path, capfd):
    """What the init does stands where the runtime waits for it; what is left, at the end."""
    plan.ops = [("clone", "", 0, (0,)), ("a", "", 0, ()), ("sync", "", 0, (3,)), ("b", "", 0, ())]
    plan.ops += [("sync", "", 0, (4,)), ("c", "", 0, ())]
    go = host_ops.go
    plan.runtime = [
        host_ops.send_plan("", 0, 1, 1, 0, 9),
        host_ops.send_plan("", 1, 5, 0, 0, 9),
        host_ops.wait_process(""),
    ]
    plan.runtime += [host_ops.wait("", 3), go("", 3), host_ops.wait("", 4), host_ops.commit(""), go("", 4)]
    assert main(["--root", "/r", "explain", "--json", str(tmp_path)]) == 0
    steps = json.loads(capfd.readouterr().out)["steps"]
    assert [(step["side"], step["step"], step["operation"]) for step in steps] == [
        ("runtime", 1, "send_plan"), ("runtime", 2, "send_plan"), ("init", 1, "clone"), ("runtime", 3, "wait_process"),
        ("init", 2, "a"), ("init", 3, "sync"), ("runtime", 4, "wait"), ("runtime", 5, "go"),
        ("init", 4, "b"), ("init", 5, "sync"), ("runtime", 6, "wait"), ("runtime", 7, "commit"), ("runtime", 8, "go"),
        ("init", 6, "c"),
    ]  # fmt: skip


def test_explain_says_steps_of_one_kind_in_one_line(plan, tmp_path, capfd):
    plan.runtime = [host_ops.make_cgroup("", f"/c/{name}/web") for name in ("cpu", "pids", "memory")]
    plan.ops = [("enter_cgroup", "/linux/cgroupsPath", 0, (slot,)) for slot in (8, 9)]
    assert main(["--root", "/r", "explain", str(tmp_path)]) == 0
    assert capfd.readouterr().out.splitlines() == [
        "The runtime:",
        "  1-3. make 3 cgroups",
        '         mkdir("/c/cpu/web", 0755), …',
        "The init, meanwhile:",
        "  1-2. enter 2 cgroups",
        "         enter_cgroup(…), …",
        "         config.json: /linux/cgroupsPath",
    ]


HIERARCHIES = [Hierarchy(name, f"/c/{name}", "/", 1) for name in ("pids", "blkio", "devices")]
PATHS = [f"{hierarchy.mount}/web" for hierarchy in HIERARCHIES]


def test_explain_prints_the_limits_as_writes(plan, tmp_path, capfd):
    plan.runtime = host_steps.limit(PATHS, HIERARCHIES, {"pids": {"limit": 3}, "blockIO": {"weight": 20}})
    assert main(["--root", "/r", "explain", str(tmp_path)]) == 0
    assert capfd.readouterr().out.splitlines() == [
        "The runtime:",
        "    1. carry out the next 3, those refused with EINVAL once more after the others",
        '    2. set pids.max of the cgroup to "3"',
        '         write("/c/pids/web/pids.max", "3")',
        "         config.json: /linux/resources/pids/limit",
        '    3. set blkio.weight of the cgroup to "20"; on ENOENT the next one instead',
        '         write("/c/blkio/web/blkio.weight", "20")',
        "         when it succeeds, goes on at step 5",
        "         config.json: /linux/resources/blockIO/weight",
        '    4. set blkio.bfq.weight of the cgroup to "20"',
        '         write("/c/blkio/web/blkio.bfq.weight", "20")',
        "         config.json: /linux/resources/blockIO/weight",
    ]


def test_explain_tells_which_devices_can_be_used(plan, tmp_path, capfd):
    listed = [{"allow": True}, {"allow": False, "type": "b", "major": 8, "minor": 0, "access": "w"}]
    plan.runtime = host_steps.restrict_devices(PATHS, HIERARCHIES, listed)
    assert main(["--root", "/r", "explain", str(tmp_path)]) == 0
    assert capfd.readouterr().out.splitlines() == [
        "The runtime:",
        "    1. let it use every device, in cgroup /c/devices/web",
        '         write("/c/devices/web/devices.allow", …)',
        "         config.json: /linux/resources/devices",
        "    2. keep it from using devices b 8:0 w, in cgroup /c/devices/web",
        '         write("/c/devices/web/devices.deny", …)',
        "         config.json: /linux/resources/devices",
    ]


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ({"memory": {"limit": 3}}, "config.json: /linux/resources/memory/limit: "),
        (
            {
                "devices": [
                    {"allow": True, "type": "b", "major": 8},
                    {"allow": False, "type": "b", "major": 8, "minor": 0},
                ]
            },
            "config.json: /linux/resources/devices/1: cgroup v1 cannot revoke",
        ),
    ],
)
def test_explain_refuses_what_create_would(resources, words, tmp_path, capfd, monkeypatch):
    pytest.importorskip("ocirt.linux._kernel", reason="the shim is not built")
    (tmp_path / "rootfs").mkdir()
    assert main(["spec", "-b", str(tmp_path)]) == 0
    file = tmp_path / "config.json"
    document = json.loads(file.read_text())
    document["linux"]["resources"] = resources
    file.write_text(json.dumps(document))
    monkeypatch.setattr("ocirt.cgroup.hierarchies", lambda: HIERARCHIES)
    assert main(["--root", "/r", "explain", str(tmp_path)]) == 1
    assert words in capfd.readouterr().err


def test_explain_explains_what_spec_writes(tmp_path, capfd):
    pytest.importorskip("ocirt.linux._kernel", reason="the shim is not built")
    (tmp_path / "rootfs").mkdir()
    assert main(["spec", "-b", str(tmp_path)]) == 0
    assert main(["--root", str(tmp_path / "state"), "explain", "--json", str(tmp_path)]) == 0
    out, err = capfd.readouterr()
    steps = json.loads(out)["steps"]
    assert err == ""
    for side in ("runtime", "init"):
        numbers = [step["step"] for step in steps if step["side"] == side]
        assert numbers == list(range(1, len(numbers) + 1))
    assert all(step["words"] and step["operation"] for step in steps)
    by_name = {step["operation"]: step for step in steps}
    assert by_name["connect_console"]["words"] == "connect to the console socket SOCKET", "as create would be told"
    assert by_name["keep_file"]["arguments"][1].endswith(" bytes"), "not the file: it has the environment"
    assert {"/hostname", "/mounts/0"} <= {step["pointer"] for step in steps}
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("config.json", "rootfs")] == []


def test_explain_prints_json_for_programs(plan, tmp_path, capfd):
    plan.ops = OPS
    assert main(["--root", "/r", "explain", "--json", "--no-pivot", str(tmp_path)]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["warnings"] == []
    assert document["steps"][1] == {
        "side": "init",
        "step": 2,
        "operation": "mount_fs",
        "words": "do mount_fs",
        "syscalls": "mount_fs(…)",
        "pointer": "/mounts/3",
        "ignores": ["EPERM", "EBUSY"],
        "skips": 2,
        "arguments": ["dev", 7, "01ff", ["a"]],
    }
    assert plan.asked[0][3].no_pivot is True
