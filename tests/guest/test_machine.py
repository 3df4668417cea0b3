"""What is said of a guest that does not come to be: a machine without the means skips, all else is a failure."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.guest import image, machine


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the emulator's place: a program, found by its name, that a test writes."""
    program = tmp_path / "bin" / "emulator"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr(machine, "QEMU", program.name)
    return program


def write(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def forget_log(failure: Exception) -> None:
    """Remove what is kept for whoever reads the failure."""
    Path(str(failure).split("did not boot: ")[1].split("\n")[0]).unlink()


def converse(scratch: Path) -> int:
    booted = image.Image(scratch / "disk.img", scratch / "vmlinuz", scratch / "initrd.img")
    return machine.converse(machine.command(booted, scratch, ""), scratch, lambda _: None, 1.0)


def test_a_machine_that_does_not_boot_is_broken_and_its_last_words_are_told(emulator: Path, tmp_path: Path) -> None:
    write(emulator, "echo no bootable device; exit 1")
    with pytest.raises(machine.Broken, match="no bootable device") as failure:
        converse(tmp_path)
    forget_log(failure.value)


def test_a_machine_that_never_says_that_it_is_up_is_broken_and_ended(
    emulator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "BOOT_SECONDS", 0.3)
    write(emulator, f"echo $$ >{tmp_path}/pid; echo hanging; exec sleep 60")
    with pytest.raises(machine.Broken, match="hanging") as failure:
        converse(tmp_path)
    forget_log(failure.value)
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_a_step_of_the_image_that_fails_makes_it_broken() -> None:
    with pytest.raises(image.Broken, match=r"status 3\nno such mirror"):
        image.run_logged(["sh", "-c", "echo no such mirror; exit 3"])


def test_without_the_programs_that_make_it_an_image_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(image.Unavailable, match="needs mmdebstrap"):
        image.build(tmp_path / "image", [])


def test_without_an_emulator_a_guest_is_unavailable(emulator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "image", lambda: pytest.fail("an image is made for nobody"))
    with pytest.raises(machine.Unavailable, match="needs emulator"):
        machine.run("true", lambda _: None)
