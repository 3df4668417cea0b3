"""A terminal in the foreground: what `run` and `exec --tty` relay between the caller's and the process's."""

from __future__ import annotations

import os
import signal
import subprocess
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration import leftovers
from tests.integration.support import Container, Runtime, children_of, wait_for
from tests.integration.terminals import Foreground, read_until, set_size
from tests.integration.views import MakeBundle

Start = Callable[[str], Foreground]


@pytest.fixture
def by_run(runtime: Runtime, make_bundle: MakeBundle) -> Iterator[Start]:
    """A function: `run` of a script, on a terminal of the test's own."""
    running = []

    def start(script: str) -> Foreground:
        bundle = make_bundle(args=["sh", "-c", script], process={"terminal": True})
        running.append(Foreground(runtime, "run", "--bundle", str(bundle.path), runtime.new_id()))
        return running[-1]

    yield start
    for run in running:
        run.close()
        runtime.run("delete", "--force", run.argv[-1])


@pytest.fixture
def by_exec(sleeper: Container) -> Iterator[Start]:
    """A function: `exec --tty` of a script, on a terminal of the test's own."""
    running = []
    before = leftovers.children()

    def start(script: str) -> Foreground:
        running.append(Foreground(sleeper.runtime, "exec", "--tty", sleeper.id, "sh", "-c", script))
        return running[-1]

    yield start
    for run in running:
        run.close()
    leftovers.end_processes(before)  # orphans, ours now: pid 1 does not go before they are reaped


@pytest.fixture(params=["run", "exec"])
def foreground(request: pytest.FixtureRequest) -> Start:
    """Each of the two."""
    start: Start = request.getfixturevalue(f"by_{request.param}")
    return start


def test_bytes_go_both_ways_and_the_exit_code_is_the_processs(foreground: Start) -> None:
    run = foreground("stty -echo; echo ready; read line; echo got $line; exit 5")
    read_until(run.master, b"ready\n")
    os.write(run.master, b"hello\n")
    read_until(run.master, b"got hello\n")
    assert run.process.wait(10) == 5


def test_the_callers_terminal_is_as_before_when_it_is_over(foreground: Start) -> None:
    run = foreground("stty raw; echo done")
    read_until(run.master, b"done\n")
    assert run.process.wait(10) == 0
    assert termios.tcgetattr(run.slave) == run.before


def test_keys_that_signal_go_to_the_process(foreground: Start) -> None:
    run = foreground("trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done")
    read_until(run.master, b"ready\n")
    os.write(run.master, b"\x03")
    read_until(run.master, b"caught\n")
    assert run.process.wait(10) == 9


def test_the_size_is_the_callers_and_follows_it(foreground: Start) -> None:
    run = foreground("stty size; trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.1; done")
    assert b"20 70\n" in read_until(run.master, b"ready\n")
    set_size(run.master, 44, 55)
    run.process.send_signal(signal.SIGWINCH)
    read_until(run.master, b"44 55\n")


def test_megabytes_arrive_whole(foreground: Start) -> None:
    run = foreground("seq 1 200000; echo end")
    lines = read_until(run.master, b"end\n", 40).split()
    assert lines == [str(number).encode() for number in range(1, 200001)] + [b"end"]
    assert run.process.wait(10) == 0


# ---- run -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["run", "exec"])
@pytest.mark.parametrize("stdin", [subprocess.DEVNULL, subprocess.PIPE])
def test_lines_that_go_to_no_terminal_end_as_the_process_ends_them(
    runtime: Runtime, make_bundle: MakeBundle, sleeper: Container, verb: str, stdin: int
) -> None:
    words = ["sh", "-c", "stty -echo; echo one; printf 'two\\r\\n'; echo three >&2"]
    bundle = make_bundle(args=words, process={"terminal": True})
    argv = ["run", "--bundle", str(bundle.path), runtime.new_id()]
    if verb == "exec":
        argv = ["exec", "--tty", sleeper.id, *words]
    process = runtime.popen(*argv, stdin=stdin, stdout=subprocess.PIPE)
    assert process.communicate(timeout=20)[0].replace(b"^D\b\b", b"") == b"one\ntwo\r\nthree\n"


def test_a_terminal_gets_carriage_returns(foreground: Start) -> None:
    run = foreground("echo one; exit 3")
    assert os.read(run.master, 64) == b"one\r\n"
    assert run.process.wait(10) == 3


def test_a_run_with_a_terminal_works_on_pipes_too(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["sh", "-c", "read line; tty; echo got $line"], process={"terminal": True})
    result = runtime.run_container(bundle, check=True, stdin=b"hello\n")
    assert "got hello" in result.stdout
    assert "/dev/" in result.stdout


def test_the_end_of_a_pipe_is_the_end_of_the_input(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["sh", "-c", "cat; echo end"], process={"terminal": True})
    result = runtime.run_container(bundle, check=True, stdin=b"line\n")
    assert result.stdout.endswith("end\n")


def test_signals_to_the_runtime_reach_the_container(by_run: Start, runtime: Runtime) -> None:
    run = by_run("trap 'echo term; exit 3' TERM; echo ready; while :; do sleep 0.1; done")
    read_until(run.master, b"ready\n")
    run.process.terminate()
    read_until(run.master, b"term\n")
    assert run.process.wait(10) == 3
    wait_for(lambda: run.argv[-1] not in runtime.run("list", "--quiet", check=True).stdout, "deleted")


# ---- exec ------------------------------------------------------------------------------------------------------------


def test_the_process_has_a_terminal_of_the_containers_devpts(by_exec: Start) -> None:
    script = "for fd in 0 1 2; do test -t $fd && readlink /proc/self/fd/$fd; done; echo x >/dev/tty; echo end"
    run = by_exec(script)
    assert read_until(run.master, b"end\n").decode().split() == ["/dev/pts/0"] * 3 + ["x", "end"]
    assert run.process.wait(10) == 0


def test_the_callers_terminal_is_as_before_when_the_process_is_killed(by_exec: Start) -> None:
    run = by_exec("echo done; kill -9 $$")
    read_until(run.master, b"done\n")
    assert run.process.wait(10) == 137
    assert termios.tcgetattr(run.slave) == run.before


def test_the_callers_terminal_is_as_before_when_it_cannot_begin(sleeper: Container) -> None:
    run = Foreground(sleeper.runtime, "exec", "-t", sleeper.id, "nosuch")
    try:
        assert b"not found in $PATH" in read_until(run.master, b"PATH\n")
        assert run.process.wait(10) == 255
        assert termios.tcgetattr(run.slave) == run.before
    finally:
        run.close()


def test_a_shell_has_job_control(by_exec: Start) -> None:
    run = by_exec("exec sh -i")
    os.write(run.master, b"sleep 600\n")
    wait_for(lambda: has_terminal(run, "sleep"), "the sleeper")
    os.write(run.master, b"\x1a")
    read_until(run.master, b"Stopped")
    os.write(run.master, b"fg\n")
    read_until(run.master, b"fg\nsleep 600\n")
    wait_for(lambda: has_terminal(run, "sleep"), "the sleeper again")
    os.write(run.master, b"\x03")
    os.write(run.master, b"exit 6\n")
    assert run.process.wait(10) == 6


def has_terminal(run: Foreground, name: str) -> bool:
    """Whether a program of that name runs, and is in the foreground of its terminal, which the shell gives it."""
    for pid in (grandchild for child in children_of(run.process.pid) for grandchild in children_of(child)):
        comm, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        state, _, group, _, _, foreground = rest.split()[:6]  # proc_pid_stat(5)
        if comm == name and state != "T" and group == foreground:
            return True
    return False


def test_a_reader_that_has_gone_does_not_hold_the_process_up(sleeper: Container) -> None:
    reader, writer = os.pipe()
    process = sleeper.runtime.popen("exec", "-t", sleeper.id, "sh", "-c", "seq 1 100000; exit 4", stdout=writer)
    os.close(writer)
    assert os.read(reader, 3)
    os.close(reader)
    assert process.wait(20) == 4


def test_hanging_up_is_a_signal_to_the_process(by_exec: Start, sleeper: Container) -> None:
    run = by_exec("trap 'exit 1' HUP; echo ready; while :; do sleep 0.1; done")
    read_until(run.master, b"ready\n")
    run.process.kill()
    run.process.wait(10)
    wait_for(lambda: "ready" not in sleeper.exec("ps", "-o", "args").stdout, "the process gone")


def test_it_works_on_pipes_too(sleeper: Container) -> None:
    done = sleeper.exec(
        "sh", "-c", "read line; tty; echo got $line; cat; echo end", flags=["-t"], stdin=b"hello\nmore\n"
    )
    text = done.stdout
    assert "got hello\n" in text
    assert text.endswith("end\n")


def test_exec_ends_with_its_process_whoever_else_goes_on_writing(sleeper: Container) -> None:
    done = sleeper.exec("sh", "-c", "trap '' HUP; yes & exit 3", flags=["--tty"], check=None, timeout=10)
    assert done.code == 3
