"""What is said of kept launches: with --kept verify, with --debug, by explain; and the host's settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ocirt.container import launches
from tests.integration.launching import KEPT, files, kept_twice, look, traced
from tests.integration.support import Bundle, Runtime
from tests.integration.views import HostView, MakeBundle

pytestmark = pytest.mark.usefixtures("as_each_test_says")

# ---- verify, --debug, settings ---------------------------------------------------------------------------------------


def test_with_verify_what_is_kept_is_compiled_too(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = look(make_bundle, 1)
    kept_twice(runtime, "run", bundle)
    said = runtime.run("--kept", "verify", "run", "--bundle", str(bundle.path), runtime.new_id(), check=True)
    assert said.stdout == runtime.run_container(bundle, check=True).stdout
    (file,) = files(runtime)
    data = file.read_bytes()
    sizes = launches.HEAD.unpack_from(data)
    blob = launches.HEAD.size + sizes[1]
    place = data.index(b"PATH=/bin", blob)
    file.write_bytes(data[:place] + b"PATX" + data[place + 4 :])
    said = runtime.run("--kept", "verify", "run", "--bundle", str(bundle.path), runtime.new_id(), check=False)
    assert re.search(r"^ocirt: the kept launch \w+\.launch differs from what is compiled: init's plan", said.stderr)
    assert runtime.entries() == []


def test_debug_says_hit_or_why_not(runtime: Runtime, make_bundle: MakeBundle) -> None:
    def said(bundle: Bundle, *flags: str, verb: str = "run") -> str:
        argv = (verb, *flags, "--bundle", str(bundle.path), runtime.new_id())
        text = runtime.run("--debug", *KEPT, *argv, check=None).stderr
        (found,) = re.findall(r'msg="((?:no )?kept launch.*)"', text)
        return str(found)

    first = make_bundle(args=["true"])
    assert said(first) == "no kept launch: none is kept for such a container"
    assert re.fullmatch(r"kept launch \w+\.launch: the plans are the same", said(first))
    other = make_bundle(args=["true"], process={"noNewPrivileges": False})
    assert said(other) == "no kept launch: the nearest differs in /process/noNewPrivileges"
    mounts = [*first.config["mounts"]]
    mounts[1] = {**mounts[1], "options": ["nosuid"]}
    changed = make_bundle(args=["true"])
    changed.config["mounts"] = mounts
    changed.write()
    assert said(changed) == "no kept launch: the nearest differs in /mounts/1/options"
    assert said(first, "--no-pivot") == "no kept launch: the nearest differs in the flags"
    assert said(first, "--preserve-fds", "0").endswith("are compiled each time")


def test_uses_and_misses_are_counted(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["true"])
    kept_twice(runtime, "run", bundle, bundle, bundle)
    (file,) = files(runtime)
    assert launches.HEAD.unpack_from(file.read_bytes())[-1] == 3
    traced(runtime, "run", make_bundle(args=["true"], hooks={"poststop": [{"path": "/bin/true"}]}))
    assert int.from_bytes((file.parent / launches.MISSES).read_bytes(), "little") == 2


SETTINGS = {
    "on": ("kept = on\n", True),
    "verify": ("# of this host\n\n kept=verify # for now\n", True),
    "off": ("kept = off", False),
    "none": ("", True),
}


@pytest.fixture
def settings(host_view: HostView, tmp_path: Path) -> Path:
    """The host's file of settings, of which only the runtime under test knows."""
    host_view.run("sh", "-c", f"cp -a /etc {tmp_path}/etc && mount --bind {tmp_path}/etc /etc")
    return tmp_path / "etc" / "ocirt.conf"


@pytest.mark.parametrize(("text", "kept"), SETTINGS.values(), ids=SETTINGS)
def test_the_host_says_whether_launches_are_kept(
    runtime: Runtime, make_bundle: MakeBundle, settings: Path, text: str, kept: bool
) -> None:
    settings.write_text(text)
    bundle = make_bundle(args=["true"])
    for _ in range(2):
        runtime.run_container(bundle, check=True)
    assert bool(files(runtime)) is kept
    runtime.run("--kept", "off", "run", "--bundle", str(bundle.path), runtime.new_id(), check=True)


@pytest.mark.parametrize("text", ["kept = maybe", "kept", "other = on", "kept = on\nx", "#\n" * 3000])
def test_a_setting_that_is_not_understood_is_an_error(
    runtime: Runtime, make_bundle: MakeBundle, settings: Path, text: str
) -> None:
    settings.write_text(text)
    failed = runtime.run_container(make_bundle(args=["true"]), check=False)
    assert re.match(r"ocirt: /etc/ocirt\.conf: (line [12]: not understood|it is too long)", failed.stderr)
    assert runtime.entries() == []


# ---- explain ---------------------------------------------------------------------------------------------------------


def test_explain_says_what_is_left_open_and_what_was_kept(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["true", "x"])
    kept_twice(runtime, "run", bundle, bundle, bundle)
    said = runtime.run("explain", "--kept", "--json", str(bundle.path), check=True).json()
    open_ = {hole["pointer"]: hole["class"] for hole in said.pop("holes")}
    assert open_["/process/args/0"] == "a program, by name"
    assert open_["/root/path"] == "a relative path"
    assert said == {"keepable": True, "reason": "", "launches": 1, "uses": 3, "misses": 1}
    text = runtime.run("explain", "--kept", str(bundle.path), check=True).stdout
    assert text.startswith("Can be kept. Left open:\n    /process/args/0: a program, by name\n")
    assert text.endswith("/@launches: 1, carried out 3 times; 1 compiled.\n")


NOT_KEPT = {
    "terminal": ({"process": {"terminal": True}}, "/process/terminal asks for connect_console, which needs Python"),
    "domainname": (
        {"domainname": "x", "linux": {"sysctl": {"kernel.domainname": "x"}}},
        "it has sysctls, beside a domain name or namespaces of others",
    ),
}


@pytest.mark.parametrize(("changes", "why"), NOT_KEPT.values(), ids=NOT_KEPT)
def test_explain_says_why_it_is_compiled_each_time(
    runtime: Runtime, make_bundle: MakeBundle, changes: dict[str, Any], why: str
) -> None:
    text = runtime.run("explain", "--kept", str(make_bundle(**changes).path), check=True).stdout
    assert text.startswith(f"Compiled each time: {why}.\n")
