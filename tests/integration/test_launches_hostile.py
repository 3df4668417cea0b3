"""Kept launches whose surroundings change while one is under way, or want them to come to something else."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.launching import KEPT, cgroups_of, kept_twice
from tests.integration.support import Bundle, Runtime
from tests.integration.views import MakeBundle

pytestmark = pytest.mark.usefixtures("as_each_test_says")

# In the bundle, by a hook that fails then
CHANGES = {
    "nothing": "true",
    "gone": "rm config.json",
    "no JSON": "echo x > config.json",
    "not valid": "echo '{}' > config.json",
    "another": "mv other.json config.json",
    "the bundle away": 'mv "$PWD" "$PWD.away"',
}


def hooked(make_bundle: MakeBundle, script: str, log: Path) -> Bundle:
    """A bundle with such a hook, and in it as other.json a config without any."""
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script]}
    last = {"path": "/bin/sh", "args": ["sh", "-c", f"cat >/dev/null; echo poststop >> {log}"]}
    bundle = make_bundle(args=["sleep", "600"], hooks={"createRuntime": [hook], "poststop": [last]})
    config = json.loads((bundle.path / "config.json").read_text())
    del config["hooks"], config["mounts"]
    (bundle.path / "other.json").write_text(json.dumps(config))
    return bundle


@pytest.mark.parametrize("change", CHANGES)
def test_a_launch_that_stops_goes_by_the_config_that_it_is_of(
    change: str, runtime: Runtime, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    pid_file, log = tmp_path / "pid", tmp_path / "log"
    seen = []
    for mode in ("off", "on"):
        for script in ("true", f"{CHANGES[change]}; echo said; exit 7"):
            log.write_text("")
            bundle, name = hooked(make_bundle, script, log), runtime.new_id()
            result = runtime.run(
                "--kept", mode, "create", "--bundle", str(bundle.path), "--pid-file", str(pid_file), name
            )
            assert result.code == int(script != "true"), result
            runtime.run("delete", "--force", name, check=True)
            assert pid_file.exists() is (script == "true")
            pid_file.unlink(missing_ok=True)
            assert not (runtime.root / name).exists()
            assert cgroups_of(name) == []
        seen.append((result.stderr, log.read_text()))
    assert seen[1] == seen[0]
    assert seen[1][1] == "poststop\n"


@pytest.mark.parametrize("call", ["chmod", "mkdir"])
def test_a_second_signal_comes_too_late_to_interrupt_what_the_first_has_undone(
    call: str, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    """The launcher has had the first, and Python undoes what there is."""
    bundle = make_bundle(args=["sleep", "600"])
    kept_twice(runtime, "create", bundle, bundle)
    said = {}
    for number in range(2, 80, 4):
        name, log, err = runtime.new_id(), runtime.scratch / "calls", runtime.scratch / "err"
        faults = [f"inject={call}:signal=SIGTERM:when=2", f"inject=read:signal=SIGINT:when={number}"]
        command = ["strace", "-o", str(log), "-e", faults[0], "-e", faults[1], runtime.program]
        command += ["--root", str(runtime.root), *KEPT, "create", "--bundle", str(bundle.path), name]
        with err.open("wb") as stderr:
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, check=False)
        trace = log.read_text()
        first, second = trace.find("--- SIGTERM"), trace.find("--- SIGINT")
        if 0 < first < second:
            said[number] = err.read_text()
        assert not (runtime.root / name).exists()
        assert cgroups_of(name) == []
    assert len(said) > 5
    assert set(said.values()) == {"ocirt: interrupted\n"}


@pytest.mark.parametrize("room", ["size=4k", "size=12k", "size=48k", "nr_inodes=4", "nr_inodes=9"])
def test_what_is_kept_takes_no_room_that_the_container_needs(
    room: str, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    bundle = make_bundle(args=["true"], annotations={"x": "y" * 3000})
    runtime.root.mkdir(mode=0o700, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=700,{room}", "tmpfs", str(runtime.root)], check=True)
    try:
        seen = [
            (result.code, result.stderr.replace(result.argv[-1], "ID"))
            for mode in ("off", "on", "on")
            for result in [runtime.run("--kept", mode, "run", "--bundle", str(bundle.path), runtime.new_id())]
        ]
        left = [path.name for path in runtime.root.glob("@launches/*")]
    finally:
        subprocess.run(["umount", str(runtime.root)], check=True)
    assert seen[1:] == seen[:1] * 2
    assert left == []


def test_a_fifo_where_misses_are_counted_holds_nobody_up(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["true"])
    kept_twice(runtime, "run", bundle)
    misses = runtime.root / "@launches/misses"
    misses.unlink()
    os.mkfifo(misses)
    other = make_bundle(args=["true", "x"])
    result = runtime.run(*KEPT, "run", "--bundle", str(other.path), runtime.new_id(), timeout=20)
    assert (result.code, result.stderr) == (0, "")
