"""What an engine's user waits for: `podman run`, `docker run` and `ctr run` of `true`, by ocirt, crun and runc.

    python tests/bench/engines.py [--rounds N] [--ocirt PROGRAM] [--json FILE]

Each engine lives in a place of its own (tests/engines), without the v2 hierarchy of a hybrid layout, which crun
refuses. The runtimes take turns; medians in milliseconds, of the client's whole time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE))

from tests.engines.containerd import Containerd  # noqa: E402 - this file is run as a program
from tests.engines.docker import Docker  # noqa: E402
from tests.engines.engine import IMAGE  # noqa: E402
from tests.engines.place import Place  # noqa: E402
from tests.engines.podman import Podman  # noqa: E402
from tests.images import archives, busybox_layout  # noqa: E402

Times = dict[str, list[float]]


def commands(engine: Podman | Docker | Containerd, name: str, program: str) -> list[str]:
    """The command line that runs `true` by one runtime."""
    if isinstance(engine, Containerd):
        cgroup = f"{engine.place.cgroup}/{name}"
        return ["ctr", "--address", str(engine.socket), "run", "--rm", "--runc-binary", program, "--cgroup", cgroup,
                IMAGE, f"bench-{name}", "true"]  # fmt: skip
    before = ["--runtime", program] if isinstance(engine, Podman) else []
    after = ["--runtime", name] if isinstance(engine, Docker) else []
    return [*engine.program, *before, "run", "--rm", "--network=none", *after, *engine.container, IMAGE, "true"]


def measured(make: Callable[[Place], Podman | Docker | Containerd], programs: dict[str, str], rounds: int) -> Times:
    """Runtime → what each `run` took. The first round warms the caches."""
    place = Place(hybrid=False)
    times: Times = {name: [] for name in programs}
    try:
        engine = make(place)
        for number in range(rounds + 1):
            for name, program in programs.items():
                begin = time.perf_counter()
                place.run(*commands(engine, name, program), check=True)
                if number:
                    times[name].append((time.perf_counter() - begin) * 1000)
        engine.close()
    finally:
        place.close()
    return times


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--ocirt", default=str(TREE / "ocirt/_bin/ocirt"), help="the program to measure")
    parser.add_argument("--json", default=str(Path(__file__).with_name("results-engines.json")))
    options = parser.parse_args()
    programs = {"ocirt": options.ocirt}
    programs |= {name: path for name in ("crun", "runc") if (path := shutil.which(name))}
    work = Path(tempfile.mkdtemp(prefix="ocirt-bench-"))
    results = {}
    try:
        image = archives(busybox_layout(work), work)
        for label, make in (
            ("podman run --rm", lambda place: Podman(place, options.ocirt, image)),
            ("docker run --rm", lambda place: Docker(place, options.ocirt, image, programs)),
            ("ctr run --rm", lambda place: Containerd(place, options.ocirt, image)),
        ):
            times = measured(make, programs, options.rounds)
            results[label] = {name: statistics.median(took) for name, took in times.items()}
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise SystemExit(str(error)) from None
    finally:
        shutil.rmtree(work)
    names = list(programs)
    print(f"| | {' | '.join(names)} | {' | '.join(f'ocirt/{name}' for name in names[1:])} |")
    print("|---" * (2 * len(names)) + "|")
    for label, row in results.items():
        ratios = [f"{row['ocirt'] / row[name]:.2f}" for name in names[1:]]
        print(f"| {label} | {' | '.join([*(f'{row[name]:.0f}' for name in names), *ratios])} |")
    Path(options.json).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
