"""A compiled profile is kept for the next container of the state root, and used only where it can be trusted."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.support import Runtime
from tests.integration.test_seccomp import ERRNO, MKDIR, TRY, profile, rule
from tests.integration.views import MakeBundle

DENIES = profile(rule(MKDIR, ERRNO, errnoRet=39))
DENIED, MADE = "1", "0"
# One instruction: return SECCOMP_RET_ALLOW. Put in the place of what was kept, it shows whether that is used.
ALLOW_ALL = struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000)


COMPILED = ("--kept", "off")  # a launch that is kept has its filter too


@pytest.fixture
def outcome(runtime: Runtime, make_bundle: MakeBundle) -> Callable[..., str]:
    """Runs a container that tries to make a directory; its answer."""

    def run(linux: object = DENIES) -> str:
        bundle = make_bundle(args=TRY, linux=linux)
        command = [*COMPILED, "run", "--bundle", str(bundle.path), runtime.new_id()]
        return runtime.run(*command, check=True).stdout.split()[-1]

    return run


def kept(runtime: Runtime) -> Path:
    """The one file."""
    (file,) = (runtime.root / "@seccomp").iterdir()
    return file


def replace_program(file: Path) -> None:
    """Have the file allow everything, its owner and mode as they are."""
    data = file.read_bytes()
    version, size, library, _, flags = struct.unpack_from("<5Q", data)
    with file.open("wb") as opened:
        head = struct.pack("<5Q", version, size, library, len(ALLOW_ALL), flags)
        opened.write(head + data[40 : 40 + size + library] + ALLOW_ALL)


def test_the_second_container_has_it_without_libseccomp(
    runtime: Runtime, make_bundle: MakeBundle, outcome: Callable[..., str]
) -> None:
    assert outcome() == DENIED
    file = kept(runtime)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    bundle, log = make_bundle(args=TRY, linux=DENIES), runtime.scratch / "strace"
    command = ["strace", "-f", "-e", "trace=openat", "-o", log, runtime.program, "--root", runtime.root]
    done = subprocess.run(
        [*command, *COMPILED, "run", "--bundle", bundle.path, runtime.new_id()],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split()[-1] == DENIED
    assert "libseccomp" not in log.read_text()
    assert runtime.run("list", "--quiet").stdout == ""


def test_what_is_kept_is_used(runtime: Runtime, outcome: Callable[..., str]) -> None:
    """Or the tests below would show nothing."""
    outcome()
    replace_program(kept(runtime))
    assert outcome() == MADE


def test_another_profile_is_compiled(runtime: Runtime, outcome: Callable[..., str]) -> None:
    outcome()
    replace_program(kept(runtime))
    other = profile(rule(MKDIR, ERRNO, errnoRet=1), rule(["acct"], ERRNO))
    assert outcome(other) == DENIED


def longer(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(struct.pack("<Q", 99) + data[8:])


def shorter(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:20])


def cut_off(file: Path) -> None:
    """As by a writer that was killed."""
    file.write_bytes(file.read_bytes()[:-1])


def other_library(file: Path) -> None:
    """As after an upgrade: the file of the library has changed."""
    data = bytearray(file.read_bytes())
    _, size, library, *_ = struct.unpack_from("<5Q", data)
    data[40 + size + library - 1] ^= 1
    file.write_bytes(data)


def writable(file: Path) -> None:
    file.chmod(0o620)


def directory_writable(file: Path) -> None:
    file.parent.chmod(0o770)


def somebody_elses(file: Path) -> None:
    os.chown(file, 12345, 0)


def directory_somebody_elses(file: Path) -> None:
    os.chown(file.parent, 12345, 0)


def link(file: Path) -> None:
    target = file.parent.parent.parent / "elsewhere"
    file.rename(target)
    file.symlink_to(target)


def directory_link(file: Path) -> None:
    target = file.parent.parent.parent / "elsewhere"
    file.parent.rename(target)
    file.parent.symlink_to(target)


def fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


CHANGES = [
    longer, shorter, cut_off, other_library, writable, directory_writable, somebody_elses, directory_somebody_elses,
    link, directory_link, fifo,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_is_not_to_be_trusted_is_compiled_anew(
    runtime: Runtime, outcome: Callable[..., str], change: Callable[[Path], None]
) -> None:
    outcome()
    replace_program(kept(runtime))
    change(kept(runtime))
    assert outcome() == DENIED


def test_a_file_where_the_directory_belongs_makes_no_difference(runtime: Runtime, outcome: Callable[..., str]) -> None:
    runtime.root.mkdir(mode=0o700, exist_ok=True)
    (runtime.root / "@seccomp").write_text("")
    assert outcome() == DENIED
    assert (runtime.root / "@seccomp").read_text() == ""


def test_many_profiles_take_a_bounded_number_of_files(runtime: Runtime, outcome: Callable[..., str]) -> None:
    for number in range(1, 20):
        assert outcome(profile(rule(MKDIR, ERRNO, errnoRet=number))) == DENIED
    assert len(list((runtime.root / "@seccomp").iterdir())) <= 16


def test_the_name_is_nobodys_id(runtime: Runtime, make_bundle: MakeBundle, outcome: Callable[..., str]) -> None:
    outcome()
    bundle = make_bundle(args=["true"])
    for verb in (["create", "--bundle", str(bundle.path)], ["state"], ["delete", "--force"], ["kill"]):
        assert "container ID '@seccomp'" in runtime.run(*verb, "@seccomp", check=False).stderr
    assert kept(runtime).exists()
