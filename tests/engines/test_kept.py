"""The second container of a shape starts no interpreter, whatever an engine writes into its config anew each time.

What is counted: the commands that Python has compiled, and those that were carried out from a launch that is kept.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.engines.containerd import Containerd
from tests.engines.engine import Engine
from tests.engines.place import Place
from tests.engines.podman import Podman

if TYPE_CHECKING:
    from tests.engines.cri import Cri

pytestmark = pytest.mark.skipif(
    bool(os.environ.get("ENGINES_RUNTIME") or os.environ.get("ENGINES_CGROUPS")),
    reason="the launches of ocirt, with cgroups of its own",
)

COUNT = """
import os, sys
compiled = carried = 0
for top, names, _ in os.walk("/run"):
    names[:] = [name for name in names if name not in {"rootfs", "user", "udev"}]
    if top.endswith("/@launches"):
        for name in os.listdir(top):
            data = open(f"{top}/{name}", "rb").read()
            number = int.from_bytes(data[40:48] if name.endswith(".launch") else data, "little")
            compiled += 0 if name.endswith(".launch") else number
            carried += number if name.endswith(".launch") else 0
print(compiled, carried)
"""


class Counts(NamedTuple):
    compiled: int
    carried: int


def counts(place: Place) -> Counts:
    """In all state roots of the place."""
    return Counts(*map(int, place.run(sys.executable, "-c", COUNT, check=True).stdout.split()))


RUNS = {
    "plain": (),
    "variables": ("--env=NUMBER={n}", "--hostname=box-{n}", "--label=number={n}"),
    "volume": ("--volume={scratch}/{n}:/data",),
    "limits": ("--memory=64m", "--cpu-shares=512"),
    "user": ("--user=1000:1000", "--cap-drop=all"),
    "init": ("--init",),
    "terminal": ("--tty",),
    "read-only": ("--read-only", "--tmpfs=/tmp"),
}


# Podman lists its own variables and mounts in the order of Go maps, which begin anywhere: each pair has its shape.
MOST = {"docker": 2, "podman": 40}


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
def test_run(engine: Engine, options: tuple[str, ...], tmp_path: Path) -> None:
    before = counts(engine.place)
    for number in range(MOST[engine.kind]):
        (tmp_path / str(number)).mkdir()
        words = [option.format(n=number, scratch=tmp_path) for option in options]
        engine.run(f"--name=kept-{number}", *words, "--", "echo", f"number {number}", check=True)
        last, before = before, counts(engine.place)
        if number and last.compiled == before.compiled:
            break
    assert before == Counts(last.compiled, last.carried + 1)


def test_run_again_and_again(podman: Podman) -> None:
    """There are no more shapes than pairs of beginnings: three variables, five mounts."""
    before = counts(podman.place)
    for number in range(60):
        podman.run(f"--name=again-{number}", "--", "true", check=True)
    after = counts(podman.place)
    assert after.compiled - before.compiled <= 3 * 5
    assert after.carried - before.carried == 60


def test_exec(engine: Engine) -> None:
    engine.start("kept", "--", "sleep", "600")
    try:
        seen = []
        for number in range(2):
            done = engine("exec", f"--env=NUMBER={number}", "kept", "sh", "-c", f"echo $NUMBER {number}", check=True)
            assert done.stdout == f"{number} {number}\n"
            seen.append(counts(engine.place))
        assert seen[1].compiled == seen[0].compiled
    finally:
        engine.remove("kept")


def test_ctr(containerd: Containerd, tmp_path: Path) -> None:
    seen = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        mount = f"--mount=type=bind,src={tmp_path}/{number},dst=/data,options=rbind:ro"
        containerd.run(f"kept-{number}", mount, f"--env=A={number}", "--", "echo", str(number), check=True)
        seen.append(counts(containerd.place))
    assert seen[1].compiled == seen[0].compiled


def test_cri(cri: Cri) -> None:
    """A pod, and two containers in it, each time."""
    seen = []
    for number in range(2):
        pod = cri.pod(f"kept-{number}", host_network=True)
        container = cri.started(pod, f"one-{number}", "sleep", "600")
        assert cri.exec(container, "echo", str(number))[1] == f"{number}\n"
        seen.append(counts(cri.place))
    assert seen[1].compiled == seen[0].compiled
