"""What of the host or of the runtime could leak into a process, and which identity and rights it really gets."""

from __future__ import annotations

import fcntl
import hashlib
import os
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import pytest

from tests.integration.hostile import LIMIT, attack, refused, shell
from tests.integration.support import Bundle, Json, Runtime, wait_for
from tests.integration.views import Inside, MakeBundle, fields

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
NO_CAPABILITIES = "0000000000000000"


def holding(path: str | Path, *numbers: int) -> dict[str, Any]:
    """Arguments of Popen: the program is started with the file open at these descriptor numbers."""

    def dup() -> None:
        fd = fcntl.fcntl(os.open(path, os.O_RDONLY), fcntl.F_DUPFD_CLOEXEC, 100)
        for number in numbers:
            os.dup2(fd, number, inheritable=True)

    return {"preexec_fn": dup, "close_fds": False}


def listed(links: str) -> dict[str, str]:
    """Name → text of the symlinks in the output of `ls -l`."""
    lines = [line.partition(" -> ") for line in links.splitlines() if " -> " in line]
    return {name.split()[-1]: text for name, _, text in lines}


def descriptors(pid: int) -> dict[int, str]:
    """What a process has open."""
    return {int(link.name): os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}


# ---- descriptors, the program file, the environment ------------------------------------------------------------------


def test_fd_leak_inherited(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Directories of the host that the caller left open end at the runtime."""
    bundle = make_bundle(args=["sh", "-c", "ls -l /proc/$$/fd; true"])
    result = runtime.run_container(bundle, check=True, **holding("/", 27, 28, 29))
    assert set(listed(result.stdout)) == {"0", "1", "2"}


def test_fd_leak_created(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """A created container's init holds its stdio, two sockets and the root of the container, where it is itself."""
    container = runtime.create(make_bundle(args=["sleep", "600"]), **holding("/", 27, 28, 29))
    proc, held = Path(f"/proc/{container.pid}"), descriptors(container.pid)
    beyond_stdio = sorted(text.partition(":")[0] for number, text in held.items() if number > 2)
    assert beyond_stdio == ["/", "socket", "socket"], held
    root = next(number for number, text in held.items() if text == "/")
    for name in (f"fd/{root}", "root", "cwd"):
        assert (proc / name).stat().st_ino == container.bundle.rootfs.stat().st_ino
    container.delete("--force")


def test_exe_not_writable(runtime: Runtime, make_bundle: MakeBundle, ocirt_bin: str) -> None:
    """Whoever keeps the init's /proc/PID/exe until the process is gone holds a sealed copy, and nothing of the host."""
    program = Path(ocirt_bin).resolve().parent / "ocirt-init"
    before = hashlib.sha256(program.read_bytes()).hexdigest()
    container = runtime.create(make_bundle(args=["true"]))
    maps = container.proc("maps")
    handle = os.open(f"/proc/{container.pid}/exe", os.O_PATH)
    container.delete("--force")
    assert not any("/" in line and "/memfd:" not in line for line in maps.splitlines()), maps
    assert os.fstat(handle).st_ino != program.stat().st_ino
    reader = os.open(f"/proc/self/fd/{handle}", os.O_RDONLY)
    assert fcntl.fcntl(reader, fcntl.F_GET_SEALS) & SEALS == SEALS
    try:
        writer = os.open(f"/proc/self/fd/{handle}", os.O_WRONLY)
    except OSError:
        pass
    else:
        with pytest.raises(PermissionError):
            os.write(writer, b"#!")
        os.close(writer)
    os.close(reader)
    os.close(handle)
    assert hashlib.sha256(program.read_bytes()).hexdigest() == before


@pytest.mark.parametrize("form", ["/proc/self/fd/{}", "/proc/1/fd/{}", "/dev/fd/{}", "/lnk{}"])
def test_cwd_proc_self_fd(form: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """No descriptor of the runtime's or the caller's serves as a working directory on the host."""
    bundle = make_bundle(args=["sh", "-c", "ls ../../.. ../../../.."])
    for number in range(3, 32):
        (bundle.rootfs / f"lnk{number}").symlink_to(f"/proc/self/fd/{number}")
    held = holding("/", *range(20, 32, 3))
    for number in range(3, 32, 1 if form == "/proc/self/fd/{}" else 5):
        bundle.config["process"]["cwd"] = form.format(number)
        said = attack_with(runtime, bundle, held)
        assert not {"boot", "usr", "home"} & set(said.split()), f"fd {number}: {said}"


def attack_with(runtime: Runtime, bundle: Bundle, held: dict[str, Any]) -> str:
    """All that the bundle prints; it must end soon."""
    result = runtime.run_container(bundle.write(), timeout=LIMIT, **held)
    assert "Traceback" not in result.stderr
    return result.stdout + result.stderr


def test_exec_via_proc_self_fd(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """A program of the host that the caller left open cannot be executed inside."""
    bundle = make_bundle()
    held = holding(str(shutil.which("busybox")), 9, 17, 27)
    for path in (f"{form}/{number}" for form in ("/proc/self/fd", "/dev/fd") for number in (3, 4, 5, 6, 9, 17, 27)):
        bundle.config["process"]["args"] = [path, "x"]
        said = attack_with(runtime, bundle, held)
        assert "applet not found" not in said
        assert f'exec: "{path}"' in said


def test_preserve_fds(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """--preserve-fds 1 passes on fd 3 and no other."""
    bundle = make_bundle(args=["sh", "-c", "ls -l /proc/$$/fd; true"])
    result = runtime.run_container(bundle, "--preserve-fds", "1", check=True, **holding("/dev/zero", 3, 4, 5))
    assert set(listed(result.stdout)) == {"0", "1", "2", "3"}
    assert listed(result.stdout)["3"] == "/dev/zero"


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2), (1, 2)])
def test_closed_stdio(closed: tuple[int, ...], runtime: Runtime, make_bundle: MakeBundle) -> None:
    """A caller without stdio gets no crash, and the process no descriptor of the runtime's in its place."""

    def close() -> None:
        for number in closed:
            os.close(number)

    runtime.run_container(make_bundle(args=["true"]), check=True, preexec_fn=close)
    container = runtime.create(make_bundle(args=["sleep", "600"]), preexec_fn=close)
    for verb in ("start", "state", "list"):
        argv = [verb] if verb == "list" else [verb, container.id]
        code = runtime.popen(*argv, stem=runtime.scratch / "closed", preexec_fn=close).wait(10)
        assert code == 0 or 1 in closed, verb
        assert code >= 0, verb
    held = descriptors(container.pid)
    assert set(held) == {0, 1, 2}
    assert {held[number] for number in closed} == {"/dev/null"}
    container.delete("--force")


def test_env_leak(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Nothing of the runtime's environment is in the process's, nor to be read from the created init's."""
    environment = {**os.environ, "SECRET_OF_THE_HOST": "1", "LISTEN_FDS": "3", "PYTHONPATH": "/x"}
    bundle = make_bundle(args=["env"])
    seen = runtime.run_container(bundle, env=environment, check=True).stdout.splitlines()
    assert sorted(entry.partition("=")[0] for entry in seen) == ["HOME", "PATH"]
    container = runtime.create(bundle, env=environment)
    assert container.proc("environ") == ""
    container.delete("--force")


def test_a_caller_cannot_claim_more_descriptors_than_there_are_numbers(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    script = f'LISTEN_PID=$$ LISTEN_FDS={"9" * 5000} exec "$0" "$@"'
    bundle = make_bundle(args=["env"])
    argv = ["--root", str(runtime.root), "run", "--bundle", str(bundle.path), runtime.new_id()]
    done = subprocess.run(["sh", "-c", script, runtime.program, *argv], stdin=DEVNULL, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"LISTEN" not in done.stdout


# ---- identity and rights ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uid", [0, 1000])
def test_caps_inheritable_and_ambient_are_empty(uid: int, inside: Inside) -> None:
    status = fields(inside("cat", "/proc/self/status", process={"user": {"uid": uid, "gid": uid}}))
    assert status["CapInh"] == status["CapAmb"] == NO_CAPABILITIES


@pytest.mark.parametrize("capabilities", [{}, None, {"bounding": []}], ids=["empty", "absent", "no-sets"])
@pytest.mark.parametrize("uid", [0, 1000])
def test_caps_absent_means_none(uid: int, capabilities: Json | None, runtime: Runtime, make_bundle: MakeBundle) -> None:
    def strip(config: Json) -> None:
        del config["process"]["capabilities"]
        if capabilities is not None:
            config["process"]["capabilities"] = capabilities

    bundle = make_bundle(strip, args=["cat", "/proc/self/status"], process={"user": {"uid": uid, "gid": uid}})
    status = fields(runtime.run_container(bundle, check=True).stdout)
    sets = {name: status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert sets == dict.fromkeys(sets, NO_CAPABILITIES)


BAD_IDS: list[Any] = [2**32 - 1, 2**32, 2**32 + 1000, 2**64, -1, 1.5, "1000", True, None, [1]]


@pytest.mark.parametrize("value", BAD_IDS, ids=repr)
@pytest.mark.parametrize("field", ["uid", "gid", "additionalGids"])
def test_uid_minus_one(field: str, value: object, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """An id that wraps round, or that setresuid(2) would take for "leave it": refused, never root."""

    if (field, value) == ("gid", None):
        pytest.skip("read as absent, and 0 (config/lenient.py)")

    def spoil(config: Json) -> None:
        config["process"]["user"][field] = [value] if field == "additionalGids" else value

    assert f"/process/user/{field}" in refused(runtime, make_bundle(spoil))


def test_the_ids_are_exactly_those_asked_for(inside: Inside) -> None:
    user = {"uid": 2**32 - 2, "gid": 65534, "additionalGids": [7, 2**31]}
    status = fields(inside("cat", "/proc/self/status", process={"user": user}))
    assert status["Uid"].split() == [str(2**32 - 2)] * 4
    assert status["Gid"].split() == ["65534"] * 4
    assert status["Groups"].split() == ["7", str(2**31)]


def test_the_groups_of_the_caller_do_not_leak(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["cat", "/proc/self/status"])
    result = runtime.run_container(bundle, check=True, extra_groups=[4, 27])
    assert fields(result.stdout)["Groups"] == ""


def test_numeric_username(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """A user of the image that is called 1000 is not the user with that number."""
    bundle = make_bundle(args=["sh", "-c", "id -u; echo $HOME"], process={"user": {"uid": 1000, "gid": 1000}})
    bundle.add_file("/etc/passwd", "1000:x:0:0::/root:/bin/sh\nx:x:1000:1000::/home/x:/bin/sh\n")
    assert runtime.run_container(bundle, check=True).stdout == "1000\n/home/x\n"


def test_init_nondumpable(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """A container that watches others enter its pid namespace never gets hold of the host through their init."""
    watch = "while :; do ls -l /proc/[0-9]*/cwd /proc/[0-9]*/root /proc/[0-9]*/exe /proc/[0-9]*/fd/ 2>&1; done > /log"
    watcher = runtime.start(make_bundle(args=["sh", "-c", watch]), stdout=DEVNULL, stderr=DEVNULL)
    log = watcher.bundle.rootfs / "log"
    wait_for(lambda: log.exists() and log.stat().st_size > 0, "the watcher's first look")
    kinds = [{"type": kind} for kind in ("mount", "ipc", "uts", "network")]
    joined = {"type": "pid", "path": f"/proc/{watcher.pid}/ns/pid"}
    bundle = make_bundle(args=["true"], linux={"namespaces": [*kinds, joined]})
    for _ in range(20):
        container = runtime.create(bundle, stdout=DEVNULL, stderr=DEVNULL)
        pid = container.pid
        container.start()
        os.waitpid(pid, 0)  # ours by adoption; a zombie would keep the watcher's pid namespace alive
        container.delete("--force")
    watcher.stop()
    text = log.read_text()
    denied = [line for line in text.splitlines() if "ermission denied" in line]
    assert len(denied) > 20, "the watcher saw the init of the others"
    links = set(listed(text).values())
    host = [link for link in links if runtime.scratch.name in link and not link.endswith("/log")]
    assert not host, host
    assert not [link for link in links if "memfd" in link or "socket" in link], links


def test_exec_nondumpable(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Nor through the init that brings a process into the container itself, its plan compiled or kept."""
    watch = "while :; do ls -l /proc/[0-9]*/cwd /proc/[0-9]*/root /proc/[0-9]*/exe /proc/[0-9]*/fd/ 2>&1; done > /log"
    watcher = runtime.start(make_bundle(args=["sh", "-c", watch]), stdout=DEVNULL, stderr=DEVNULL)
    log = watcher.bundle.rootfs / "log"
    wait_for(lambda: log.exists() and log.stat().st_size > 0, "the watcher's first look")
    for number in range(400):
        watcher.exec("true", flags=["--env", f"COMPILED{number}=1"] if number % 3 == 0 else [])
        if number > 60 and "ermission denied" in log.read_text():
            break
    watcher.stop()
    text = log.read_text()
    assert "ermission denied" in text, "the watcher saw an init"
    links = set(listed(text).values())
    assert not [link for link in links if runtime.scratch.name in link and not link.endswith("/log")], links
    assert not [link for link in links if "memfd" in link or "socket" in link], links


def test_umask_leak(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """The caller's umask is neither the process's nor that of what is made for the container."""
    bundle = make_bundle(
        lambda config: config["mounts"].append({"destination": "/made/a", "type": "tmpfs", "source": "t"}),
        args=["sh", "-c", "umask; stat -c %a /dev/null /dev/tty /made /work/dir"],
        process={"cwd": "/work/dir"},
    )
    result = runtime.run_container(bundle, check=True, umask=0o777)
    assert result.stdout.split() == ["0022", "666", "666", "755", "755"]


@pytest.mark.parametrize("inherited", [(1024, 4321), (4321, 4321), (300, 5000)])
def test_rlimit_nofile_exact(inherited: tuple[int, int], runtime: Runtime, make_bundle: MakeBundle) -> None:
    """The limits are those of the config, whatever the caller's are; without any they are the caller's."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, inherited)

    bundle = make_bundle(args=["grep", "open files", "/proc/self/limits"])
    assert runtime.run_container(bundle, check=True, preexec_fn=limit).stdout.split()[3:5] == [*map(str, inherited)]
    bundle.config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 1234, "hard": 4321}]
    for _ in range(3):
        assert runtime.run_container(bundle.write(), check=True, preexec_fn=limit).stdout.split()[3:5] == [
            "1234",
            "4321",
        ]


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"root:x:0:0::/nonsense")
        file.truncate(4 << 30)


PASSWDS: dict[str, Callable[[Path], object]] = {
    "fifo": os.mkfifo,
    "huge": sparse,
    "devzero": lambda path: path.symlink_to("/dev/zero"),
    "device": lambda path: os.mknod(path, 0o020666, os.makedev(1, 5)),
    "directory": Path.mkdir,
    "loop": lambda path: path.symlink_to("passwd"),
    "absent": lambda path: None,
    "binary": lambda path: path.write_bytes(bytes(range(256)) * 999),
    "one-line": lambda path: path.write_text("r" * 999_999),
}


@pytest.mark.parametrize("what", PASSWDS)
def test_passwd(what: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """HOME is looked up in the image's /etc/passwd; whatever that is, it takes no time and no harm is done."""
    bundle = make_bundle()
    shell(bundle.config, "echo $HOME")
    (bundle.rootfs / "etc" / "passwd").unlink()
    PASSWDS[what](bundle.rootfs / "etc" / "passwd")
    assert attack(runtime, bundle).stdout == "/\n"
