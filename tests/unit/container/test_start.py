"""start: the exchange with a stand-in for the init (docs/plan.md, "Start"), refusals, poststart hooks."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ocirt.container import quick, start, state
from ocirt.errors import ContainerError, HookError, OcirtError, SystemCallError
from ocirt.linux._kernel import lib
from tests.unit.container.conftest import Make, hooked, is_zombie, listen, refusal, rewrite, wait_until


def test_start_returns_once_the_process_is_executed(root: str, waiting: Make) -> None:
    made = waiting("web")
    start.start(root, "web")
    assert Path(f"/proc/{made.pid}/comm").read_text() == "sleep\n"
    assert quick.status(root, "web") == ("running", made.pid)
    assert not Path(root, "web/start.sock").exists()


def test_a_second_start_is_refused_and_changes_nothing(root: str, waiting: Make) -> None:
    made = waiting("web")
    start.start(root, "web")
    with pytest.raises(ContainerError, match='container "web": cannot start a container that is running'):
        start.start(root, "web")
    assert quick.status(root, "web") == ("running", made.pid)


def test_a_stopped_container_cannot_be_started(root: str, waiting: Make) -> None:
    made = waiting("web")
    os.kill(made.pid, signal.SIGKILL)
    wait_until(lambda: is_zombie(made.pid))
    with pytest.raises(ContainerError, match="cannot start a container that is stopped"):
        start.start(root, "web")


def test_a_container_without_process_cannot_be_started_and_stays_created(root: str, waiting: Make) -> None:
    waiting("web", python="noprocess")
    for _ in range(2):
        with pytest.raises(ContainerError, match=r"cannot start, its config\.json has no process"):
            start.start(root, "web")
    assert lib.quick_start(root.encode(), b"web") == lib.QUICK_PYTHON
    assert quick.status(root, "web")[0] == "created"


def test_of_two_starts_at_once_one_wins(root: str, waiting: Make) -> None:
    waiting("web")
    results: list[str] = []

    def try_start() -> None:
        try:
            start.start(root, "web")
            results.append("started")
        except ContainerError as error:
            results.append(str(error))

    threads = [threading.Thread(target=try_start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ['container "web": cannot start a container that is running', "started"]


def test_a_refusal_reaches_who_asks_for_the_words(root: str, waiting: Make) -> None:
    waiting("web", refusal(op=3, errno=13, text=b"because"))
    code, report = quick.start(root, "web")
    assert (code, report) == (1, refusal(op=3, errno=13, text=b"because"))


def test_a_refusal_to_a_quick_start_is_kept_for_python_which_says_it_once(
    root: str, waiting: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = waiting("web", refusal())
    assert lib.quick_start(root.encode(), b"web") == lib.QUICK_PYTHON
    wait_until(lambda: is_zombie(made.pid))
    asked: list[tuple[bytes, str]] = []

    def refused(root_: str, container_id: str, report: bytes) -> OcirtError:
        asked.append((report, container_id))
        return OcirtError("the words")

    monkeypatch.setattr(start, "_refused", refused)
    with pytest.raises(OcirtError, match="the words"):
        start.start(root, "web")
    assert asked == [(refusal(), "web")]
    with pytest.raises(ContainerError, match="cannot start a container that is stopped"):
        start.start(root, "web")


def test_an_init_that_dies_before_it_hears_start_is_no_success(
    root: str, make: Make, children: Callable[..., int]
) -> None:
    """The kernel resets a connection that was never accepted."""
    made = make("web")
    listener = listen(f"{root}/web")
    made.born(children(lambda: time.sleep(60)))
    rewrite(root, made)
    listener.close()
    threading.Timer(0.1, os.kill, (made.pid, signal.SIGKILL)).start()
    with pytest.raises(SystemCallError, match='start container "web": connection reset by peer'):
        start.start(root, "web")


def test_poststart_hooks_run_after_the_process_is_executed_and_see_it_running(
    root: str, waiting: Make, tmp_path: Path
) -> None:
    made = waiting("web", python="poststart")
    hooked(root, made, "poststart", f"cat > {tmp_path}/seen; cat /proc/{made.pid}/comm > {tmp_path}/comm")
    start.start(root, "web")
    assert json.loads((tmp_path / "seen").read_text()) == state.public(root, "web")
    assert (tmp_path / "comm").read_text() == "sleep\n"


def test_a_failed_poststart_hook_stops_and_destroys_the_container(root: str, waiting: Make, tmp_path: Path) -> None:
    made = waiting("web", python="poststart")
    hooked(root, made, "poststart", f"echo sorry; exit 3\ntouch {tmp_path}/never")
    with pytest.raises(HookError, match="/hooks/poststart/0"):
        start.start(root, "web")
    assert is_zombie(made.pid)
    assert os.listdir(root) == []
    assert not (tmp_path / "never").exists()
