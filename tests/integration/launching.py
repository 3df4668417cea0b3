"""What the tests of kept launches share: whether an interpreter was started, and bundles of one shape."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ocirt.container import launches
from tests.integration.support import INTERPRETER, Bundle, Container, Result, Runtime
from tests.integration.views import MakeBundle

KEPT = ("--kept", "on")
LOOK = """id; pwd; env | sort; hostname; echo "$@"; grep '^Cap\\|^No\\|^Sec' /proc/self/status
cut -d' ' -f3,5,6 /proc/mounts"""
OWN = re.compile(r'"(pid|startTime|created)": [^,\n]+')


def cgroups_of(container_id: str) -> list[Path]:
    return list(Path("/sys/fs/cgroup").glob(f"*/ocirt/{container_id}"))


def is_attended(container: Container) -> bool:
    """Whether it runs, and `run` has let go of its lock."""
    if container.runtime.run("state", container.id).code or container.state()["status"] != "running":
        return False
    fd = os.open(container.runtime.root / container.id, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def files(runtime: Runtime) -> list[Path]:
    return sorted((runtime.root / launches.DIRECTORY).glob("*.launch"))


def traced(
    runtime: Runtime, verb: str, bundle: Bundle, *flags: str, container_id: str = "", prefix: Sequence[str] = ()
) -> tuple[bool, Container, Result]:
    """Whether an interpreter was started for it; the container; what it said."""
    container = Container(runtime, container_id or runtime.new_id(), bundle)
    runtime.containers.append(container)
    log = runtime.scratch / f"{container.id}.trace"
    argv = (verb, "--bundle", str(bundle.path), *flags, container.id)
    command = [
        "strace",
        "-e",
        "trace=openat,access",
        "-o",
        str(log),
        runtime.program,
        "--root",
        str(runtime.root),
    ]
    stem = runtime.scratch / f"{container.id}.said"
    with stem.with_suffix(".out").open("wb") as out, stem.with_suffix(".err").open("wb") as err:
        process = subprocess.Popen([*prefix, *command, *KEPT, *argv], stdin=subprocess.DEVNULL, stdout=out, stderr=err)
    process.wait(60)
    result = Result(
        argv, process.returncode, stem.with_suffix(".out").read_text(), stem.with_suffix(".err").read_text()
    )
    return INTERPRETER in log.read_text(), container, result


def kept_twice(
    runtime: Runtime, verb: str, *bundles: Bundle, flags: Callable[[int], list[str]] = lambda _: []
) -> list[Result]:
    """The results; the first is compiled, each other is not."""
    results = []
    for number, bundle in enumerate(bundles):
        compiled, container, result = traced(runtime, verb, bundle, *flags(number))
        assert compiled is (number == 0), result
        results.append(result)
        if verb == "run":
            assert not (runtime.root / container.id).exists()
    return results


def look(make_bundle: MakeBundle, number: int, **more: Any) -> Bundle:
    """A bundle that differs from the others of the test in all its holes."""
    process = {
        "env": ["PATH=/bin", f"NUMBER={number}", "TERM=x"],
        "args": ["sh", "-c", LOOK, "sh", f"argument {number}"],
    }
    return make_bundle(process=process, hostname=f"host-{number}", annotations={"a": f"{number}\n"}, **more)
