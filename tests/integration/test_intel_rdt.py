"""linux.intelRdt through a container's life, in this very process, where a directory stands in for resctrl."""

from __future__ import annotations

from pathlib import Path

import pytest

import ocirt
from ocirt.container import resctrl as notes
from tests.integration.support import Json, Runtime
from tests.integration.views import MakeBundle
from tests.resctrl import Kernel, kernel

__all__ = ["kernel"]

SECTION: Json = {"schemata": ["L3:0=7f0"], "enableMonitoring": True}


@pytest.fixture
def api(runtime: Runtime) -> ocirt.Runtime:
    return ocirt.Runtime(str(runtime.root))


def test_the_process_is_in_its_groups_until_the_container_is_deleted(
    api: ocirt.Runtime, runtime: Runtime, make_bundle: MakeBundle, kernel: Kernel
) -> None:
    bundle = make_bundle(args=["sleep", "600"], linux={"intelRdt": SECTION})
    container = api.create(name := runtime.new_id(), ocirt.Bundle(str(bundle.path)))
    assert kernel.groups() == {name, f"{name}/mon_groups/{name}"}
    for group in kernel.groups():
        assert (kernel.root / group / "tasks").read_text() == str(container.pid)
    container.start()
    container.kill("KILL")
    container.wait(10)
    container.delete()
    assert kernel.groups() == set()


def test_a_named_class_outlives_the_container(
    api: ocirt.Runtime, runtime: Runtime, make_bundle: MakeBundle, kernel: Kernel
) -> None:
    bundle = make_bundle(args=["sleep", "600"], linux={"intelRdt": {**SECTION, "closID": "shared"}})
    container = api.create(runtime.new_id(), ocirt.Bundle(str(bundle.path)))
    assert len(kernel.groups()) == 2
    container.delete(force=True)
    assert kernel.groups() == {"shared"}


@pytest.mark.parametrize("clos", ["", "shared"])
def test_a_container_that_could_not_be_created_leaves_no_group(
    api: ocirt.Runtime, runtime: Runtime, make_bundle: MakeBundle, kernel: Kernel, clos: str
) -> None:
    bundle = make_bundle(args=["/no/such"], linux={"intelRdt": {**SECTION, "closID": clos}})
    with pytest.raises(ocirt.OcirtError):
        api.create(runtime.new_id(), ocirt.Bundle(str(bundle.path)))
    assert kernel.groups() == set()


def test_what_was_to_be_made_is_noted_before_it_is_made(
    api: ocirt.Runtime, runtime: Runtime, make_bundle: MakeBundle, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    real = kernel.mkdir

    def mkdir(path: str, mode: int) -> None:
        seen.append(next(runtime.root.glob("*/" + notes.NOTE)).read_text())
        real(path, mode)

    monkeypatch.setattr(kernel, "mkdir", mkdir)
    bundle = make_bundle(args=["sleep", "600"], linux={"intelRdt": SECTION})
    container = api.create(name := runtime.new_id(), ocirt.Bundle(str(bundle.path)))
    expected = f"-{kernel.root}/{name}/mon_groups/{name}\n-{kernel.root}/{name}\n"
    assert seen == [expected, expected]
    container.delete(force=True)


def test_update_changes_the_class_of_a_container_that_has_one(
    api: ocirt.Runtime, runtime: Runtime, make_bundle: MakeBundle, kernel: Kernel
) -> None:
    bundle = make_bundle(args=["sleep", "600"], linux={"intelRdt": SECTION})
    container = api.create(name := runtime.new_id(), ocirt.Bundle(str(bundle.path)))
    container.update({}, schemata=["L3:0=00f", "MB:0=50"])
    assert (kernel.root / name / "schemata").read_text() == "L3:0=00f\nMB:0=50\n"
    container.delete(force=True)
    other = runtime.create(make_bundle(args=["sleep", "600"]))
    failed = runtime.run("update", "--l3-cache-schema", "L3:0=f", other.id, check=False)
    assert f'container "{other.id}" has no linux.intelRdt in its config to be changed' in failed.stderr


def test_without_the_section_resctrl_is_left_alone(
    api: ocirt.Runtime, runtime: Runtime, make_bundle: MakeBundle, kernel: Kernel
) -> None:
    def all_there_is() -> dict[str, str]:
        return {str(path): path.read_text() for path in kernel.root.rglob("*") if path.is_file()}

    before = all_there_is()
    container = api.create(runtime.new_id(), ocirt.Bundle(str(make_bundle(args=["sleep", "600"]).path)))
    assert (kernel.groups(), all_there_is()) == (set(), before)
    container.start()
    container.delete(force=True)
    assert (kernel.groups(), all_there_is()) == (set(), before)


def test_a_host_without_resctrl_is_an_error_that_names_the_field(runtime: Runtime, make_bundle: MakeBundle) -> None:
    if " - resctrl " in Path("/proc/self/mountinfo").read_text():
        pytest.skip("this host has resctrl")
    result = runtime.run_container(make_bundle(linux={"intelRdt": SECTION}), check=False)
    assert "config.json: /linux/intelRdt: no resctrl filesystem is mounted on this host" in result.stderr
