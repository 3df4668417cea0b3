"""The Python face: Bundle, Container, Process and Runtime, one-line methods onto the verbs. Safe in a threaded program.

import ocirt

runtime = ocirt.Runtime("/run/my-program")
container = runtime.create("web", ocirt.Bundle("/srv/web"))
container.start()
container.exec(["ls", "/"]).wait()
code = container.wait()
container.delete()
"""

from __future__ import annotations

import posix
import select
from typing import TYPE_CHECKING, Any

from ocirt.config import check, explain, load
from ocirt.container import create, delete, events, kill, pause, process, ps, resume, start, state, update
from ocirt.container import exec as executing
from ocirt.container import list as listing
from ocirt.container import run as running
from ocirt.container.command import Command
from ocirt.container.exec import ExecOptions
from ocirt.container.prepare import Named, Options, bundle_path
from ocirt.errors import ContainerNotRunning
from ocirt.linux import calls

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ocirt.errors import Problem


class Bundle:
    """A directory with config.json and a root filesystem (bundle.md).

    path     the bundle's absolute path
    config   another file in place of <path>/config.json, or None

    Raises BundleError where `path` is no directory.
    """

    def __init__(self, path: str, config: str | None = None) -> None:
        self.path = bundle_path(path)
        self.config = config

    def __repr__(self) -> str:
        return f"Bundle({self.path!r})"

    def read(self) -> dict[str, Any]:
        """config.json, checked. Raises BundleError, ConfigError."""
        document, raw = load.load(self.path, self.config)
        with Named(self.config):
            check.check(document, raw)
        return document

    def problems(self) -> list[Problem]:
        """All that is wrong with config.json; empty where it is valid. Raises BundleError."""
        found = explain.problems(*load.load(self.path, self.config))
        for problem in found if self.config else ():
            problem.document = str(self.config).rpartition("/")[2]
        return found


class Runtime:
    """Containers under one state root.

    root      the directory of their states; None: /run/ocirt, or $XDG_RUNTIME_DIR/ocirt without privileges
    manager   who makes their cgroups: "cgroupfs", "systemd" or "disabled"
    """

    def __init__(self, root: str | None = None, manager: str = "cgroupfs") -> None:
        self.root = root or calls.default_root()
        self.manager = manager

    def __repr__(self) -> str:
        return f"Runtime({self.root!r})"

    def create(self, container_id: str, bundle: Bundle | str, **options: Any) -> Container:
        """Create a container whose process waits for `Container.start` (runtime.md "Create").

        options   as of `ocirt.Options`: pid_file, console_socket, no_pivot, new_keyring, preserve_fds, pidfd_socket

        The process is a child of this program; wait for it by `Container.wait`. Raises BundleError, ConfigError,
        UnsupportedError, ContainerExists, InvalidID, PlanError, HookError, SystemCallError; nothing is left then.
        """
        bundle, chosen = self._options(bundle, options)
        create.create(self.root, container_id, bundle.path, options=chosen)
        return Container(self, container_id)

    def run(self, container_id: str, bundle: Bundle | str, **options: Any) -> int:
        """Create, start, wait, delete; the process's exit code, 128+n where signal n killed it. Raises as `create`."""
        bundle, chosen = self._options(bundle, options)
        running.run(self.root, container_id, bundle.path, options=chosen, detach=True)
        container = Container(self, container_id)
        code = container.wait()
        container.delete(force=True)
        return code

    def container(self, container_id: str) -> Container:
        """The container of this id. Raises ContainerNotFound, InvalidID."""
        found = Container(self, container_id)
        found.state()
        return found

    def containers(self) -> list[Container]:
        """All containers of this root; entries of other runtimes are passed over."""
        return [Container(self, entry["id"]) for entry in listing.containers(self.root)]

    def _options(self, bundle: Bundle | str, options: dict[str, Any]) -> tuple[Bundle, Options]:
        if isinstance(bundle, str):
            bundle = Bundle(bundle)
        return bundle, Options(config=bundle.config, manager=self.manager, **options)


class Container:
    """One container of a Runtime. Made by `Runtime.create` and `Runtime.container`."""

    def __init__(self, runtime: Runtime, container_id: str) -> None:
        self.runtime = runtime
        self.id = container_id

    def __repr__(self) -> str:
        return f"Container({self.id!r})"

    def state(self) -> dict[str, Any]:
        """The state (runtime.md "State") with rootfs, created (RFC 3339) and owner. Raises ContainerNotFound."""
        return state.public(self.runtime.root, self.id)

    @property
    def status(self) -> str:
        """One of "creating", "created", "running", "paused" and "stopped"."""
        return str(self.state()["status"])

    @property
    def pid(self) -> int:
        """The process's id as this program sees it; 0 when stopped."""
        return int(self.state()["pid"])

    def start(self) -> None:
        """Let the process be executed. Raises ContainerError unless created, ExecError, HookError."""
        start.start(self.runtime.root, self.id)

    def kill(self, signal: int | str = "TERM", *, all: bool = False) -> None:
        """Send a signal, by number or name, to the process or to `all` of the container. Raises ContainerNotRunning."""
        number = kill.signal_number(signal) if isinstance(signal, str) else signal
        kill.kill(self.runtime.root, self.id, number, all=all)

    def pause(self) -> None:
        """Stop every process of the container where it stands, until `resume`.

        Raises ContainerNotRunning unless it is created or running, ContainerError without a freezer, SystemCallError.
        """
        pause.pause(self.runtime.root, self.id)

    def resume(self) -> None:
        """Let the processes of a paused container go on. Raises ContainerError unless it is paused, SystemCallError."""
        resume.resume(self.runtime.root, self.id)

    def pids(self) -> list[int]:
        """The ids, as this program sees them, of all the container's processes. Raises SystemCallError."""
        return ps.pids(self.runtime.root, self.id)

    def stats(self) -> dict[str, Any]:
        """What the container uses, as `data` of a stats event of `ocirt events`. Raises ContainerNotRunning."""
        data: dict[str, Any] = events.stats(self.runtime.root, self.id)["data"]
        return data

    def events(self, interval: float = 5.0) -> Iterator[dict[str, Any]]:
        """A "stats" event every `interval` seconds, an "oom" event whenever memory ran out; ends with the container.

        Raises ContainerNotRunning, SystemCallError.
        """
        return events.events(self.runtime.root, self.id, interval)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the process, a child of this program, to end; its exit code, 128+n where signal n killed it.

        timeout   seconds; None waits for ever

        Raises TimeoutError; ContainerNotRunning where it has been reaped already or is no child of this program.
        """
        # By pidfd throughout: once another thread has reaped the process, its pid can be another child's.
        with calls.Fd(process.open_process(state.read(self.runtime.root, self.id))) as pidfd:
            if pidfd.number < 0:
                raise ContainerNotRunning(self.id)
            code = _wait(pidfd, timeout, repr(self))
        if code is None:
            raise ContainerNotRunning(self.id)
        return code

    def update(self, resources: dict[str, Any], schemata: Sequence[str] = ()) -> None:
        """Change limits: a part of config.json's linux.resources; devices, and what it leaves out, stay as they are.

        schemata   lines for the container's class of service, "L3:0=7f0" (linux.intelRdt)

        Raises ContainerNotRunning, UnsupportedError, SystemCallError, and OcirtError for what is no resource.
        """
        update.update(self.runtime.root, self.id, resources, schemata=schemata)

    def exec(self, command: Command | Sequence[str], options: ExecOptions | None = None) -> Process:
        """Run one more process in the container; it has this program's standard streams.

        command   a Command, or the words of a program with all else as the container's process has it

        `container.exec(["ls", "/"]).wait()` is its exit code. Raises ContainerNotRunning, ContainerError for a paused
        one, ConfigError, UnsupportedError, ExecError, PlanError, SystemCallError.
        """
        wanted = command if isinstance(command, Command) else Command(command)
        return Process(executing.detach(self.runtime.root, self.id, wanted, options or ExecOptions()), wanted.args)

    def delete(self, *, force: bool = False) -> None:
        """Remove all that `create` made; `force` kills first, and a container that is gone is no error.

        Raises ContainerError unless stopped or forced, SystemCallError.
        """
        delete.delete(self.runtime.root, self.id, force=force)


class Process:
    """A process that `Container.exec` has started, a child of this program. Use it as a context, or `close` it.

    pid    its id as this program sees it
    args   what it was started as
    """

    def __init__(self, pid: int, args: Sequence[str]) -> None:
        self.pid = pid
        self.args = list(args)
        self._pidfd = calls.Fd(posix.pidfd_open(pid))  # nobody has reaped it yet: the id is its own
        self._code: int | None = None

    def __repr__(self) -> str:
        return f"Process({self.pid}, {self.args!r})"

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for it to end; its exit code, 128+n where signal n killed it. It can be asked again.

        timeout   seconds; None waits for ever

        Raises TimeoutError, ChildProcessError where somebody else has reaped it.
        """
        if self._code is None:
            self._code = _wait(self._pidfd, timeout, repr(self))
            if self._code is None:
                raise ChildProcessError(f"{self!r} was reaped by somebody else")
            self.close()
        return self._code

    def kill(self, signal: int | str = "TERM") -> None:
        """Send it a signal, by number or name; nothing happens once it has ended. Raises SystemCallError."""
        number = kill.signal_number(signal) if isinstance(signal, str) else signal
        if self._pidfd.number >= 0:
            process.send(self._pidfd.number, self.pid, number)

    def close(self) -> None:
        """Let go of the descriptor; the process goes on."""
        self._pidfd.close()


def _wait(pidfd: calls.Fd, timeout: float | None, name: str) -> int | None:
    """The exit code of a child held by its pidfd, None where it has been reaped. Raises TimeoutError."""
    poll = select.poll()
    poll.register(pidfd.number, select.POLLIN)
    if not poll.poll(None if timeout is None else timeout * 1000):
        raise TimeoutError(f"{name} is running after {timeout} s")
    try:
        ended: Any = posix.waitid(posix.P_PIDFD, pidfd.number, posix.WEXITED)
    except ChildProcessError:
        return None
    return int(ended.si_status if ended.si_code == posix.CLD_EXITED else 128 + ended.si_status)
