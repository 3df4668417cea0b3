"""Side by side with runc and crun: every command of the life cycle, hot and spaced, on cgroup v1 and v2.

    python -m tests.bench.run [--rounds N] [--views v1,v2] [--only ocirt,crun] [--spaced SECONDS] [--cold N]

All runtimes take turns in one run, so that the machine's moods hit them alike, and every command has a bundle of its
own (bundles.py). Hot is one command after the other; spaced is one every 200 ms, as in use: after a quiet moment the
kernel's first cgroup attach on v1 is slow. Cold is with a new state root and an emptied page cache.

A view is a mount namespace: v1 has the hierarchies of a hybrid layout without that of v2, for crun refuses hybrid; v2
has the hierarchy of v2 alone, which on a hybrid host has few controllers. A host of pure v2 has that view only.
OCIRT_PEERS=DIR adds the programs crun and runc of that directory, under their versions.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.bundles import Bundles
from tests.bench.runtime import COMMANDS, COMPILED, Cost, Runtime

HERE = Path(__file__).parent
TREE = HERE.parent.parent
VIEWS = {"v1": "umount $unified", "v2": "mount --bind $unified /sys/fs/cgroup"}
ENTER = 'unified=/sys/fs/cgroup/unified; if mountpoint -q $unified; then {}; fi; exec "$@"'

Results = dict[str, dict[str, dict[str, float]]]


def peers() -> dict[str, str]:
    """Name → path of the runtimes to compare with."""
    found = {name: path for name in ("crun", "runc") if (path := shutil.which(name))}
    directory = os.environ.get("OCIRT_PEERS")
    for name in ("crun", "runc") if directory else ():
        program = Path(str(directory), name)
        if program.exists():
            said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
            found[f"{name} {said.split()[2]}"] = str(program)
    return found


def bare_run(work: Path, rounds: int) -> float:
    """The floor: the same namespaces and mounts, made by bare.c; milliseconds."""
    program, rootfs = str(work / "bare"), work / "bare-rootfs"
    subprocess.run(["gcc", "-O2", "-static", "-o", program, str(HERE / "bare.c")], check=True)
    for name in ("bin", "proc", "dev", "sys"):
        (rootfs / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", rootfs / "bin/true")
    took = []
    for _ in range(rounds):
        begin = time.perf_counter_ns()
        subprocess.run([program, str(rootfs), "/bin/true"], check=True)
        took.append((time.perf_counter_ns() - begin) / 1e6)
    return statistics.median(took)


def in_turns(runtimes: list[Runtime], rounds: int, gap: float) -> dict[str, dict[str, float]]:
    """name → command → median in ms; the runtimes take turns, each round in another order."""
    samples: dict[str, dict[str, list[float]]] = {one.name: {c: [] for c in COMMANDS} for one in runtimes}
    for number in range(rounds + 1):
        turn = number % len(runtimes)
        for one in runtimes[turn:] + runtimes[:turn]:
            for command, took in one.life(gap).items():
                if number:  # the first round warms the caches
                    samples[one.name][command].append(took)
    return {name: {c: statistics.median(s) for c, s in by.items()} for name, by in samples.items()}


def first_sight(runtimes: list[Runtime], rounds: int, empty: bool) -> dict[str, dict[str, float]]:
    """Medians of create, run and exec with a state root that is new each time."""
    samples: dict[str, list[dict[str, Cost]]] = {one.name: [] for one in runtimes}
    for number in range(rounds):
        for one in runtimes:
            if empty:
                os.sync()
                Path("/proc/sys/vm/drop_caches").write_text("3\n")
            root = one.state / f"new-{one.name.replace(' ', '-')}-{empty}-{number}"
            samples[one.name].append(one.once(root))
    rows: dict[str, dict[str, float]] = {}
    for name, costs in samples.items():
        median = {verb: Cost(*map(statistics.median, zip(*(cost[verb] for cost in costs), strict=True)))
                  for verb in ("create", "run", "exec")}  # fmt: skip
        rows[name] = {verb: cost.wall for verb, cost in median.items()}
        if not empty:
            rows[name] |= {f"{verb}, CPU": cost.cpu for verb, cost in median.items()}
    return rows


def whole(runtimes: list[Runtime]) -> dict[str, dict[str, float]]:
    """What is counted over many containers, and in memory."""
    return {
        one.name: {
            "runs a second, 8 at a time": one.many(96, 8),
            "runs a second, one at a time": one.many(50, 1),
            "created init, resident kB": one.resident(),
            "run, peak kB": one.peak(),
        }
        for one in runtimes
    }


def table(results: Results, names: list[str]) -> str:
    """The results as Markdown, with ratios of ocirt to each peer."""
    ours = [name for name in names if name.split()[0] == "ocirt"]
    pairs = [(own, name) for name in names if name not in ours for own in ours]
    heads = ["", *names, *(f"{own}/{name}".removeprefix("ocirt ") for own, name in pairs)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for kind, by_name in results.items():
        for row in next(iter(by_name.values())):
            values = [by_name[name][row] for name in names]
            ratios = [f"{by_name[own][row] / by_name[name][row]:.2f}" for own, name in pairs]
            digits = 0 if "kB" in row or "second" in row else 2
            cells = [f"{kind}: {row}", *(f"{value:.{digits}f}" for value in values), *ratios]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def measure(options: argparse.Namespace, view: str) -> tuple[Results, list[str], float]:
    """All of one view, which this process is in; the results, the runtimes' names, the floor."""
    work = Path(tempfile.mkdtemp(prefix="ocirt-bench-"))
    state = Path(tempfile.mkdtemp(prefix="ocirt-bench-", dir="/dev/shm"))  # a tmpfs, as /run is on users' machines
    try:
        bundles = Bundles(work, view == "v2")
        programs = {"ocirt": options.ocirt, COMPILED: options.ocirt, **peers()}
        wanted = options.only.split(",")
        chosen = {name: path for name, path in programs.items() if name.split()[0] in wanted}
        runtimes = [Runtime(name, path, bundles, state) for name, path in chosen.items()]
        results = {"hot": in_turns(runtimes, options.rounds, 0)}
        if options.spaced:
            results["spaced"] = in_turns(runtimes, max(options.rounds // 4, 1), options.spaced)
        results["first sight"] = first_sight(runtimes, max(options.rounds // 2, 1), empty=False)
        if options.cold:
            results["cold"] = first_sight(runtimes, options.cold, empty=True)
        results["whole"] = whole(runtimes)
        return results, list(chosen), bare_run(work, options.rounds)
    finally:
        shutil.rmtree(work)
        shutil.rmtree(state)
        for pattern in (work.name, f"*/{work.name}"):
            for parent in Path("/sys/fs/cgroup").glob(pattern):
                remove(parent)


def remove(cgroup: Path) -> None:
    """Remove what is left of the cgroups, and the files that a peer makes where it expects a hierarchy."""
    for path in sorted([cgroup, *cgroup.rglob("*")], reverse=True):
        if path.is_dir():
            path.rmdir()
        else:
            with contextlib.suppress(PermissionError):  # a file of a hierarchy goes with its directory
                path.unlink()


def in_view(view: str, result: Path) -> Results:
    """Run this program again in a mount namespace with that view; what it has measured."""
    command = [sys.executable, "-m", "tests.bench.run", *sys.argv[1:], "--in-view", view, "--result", str(result)]
    unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER.format(VIEWS[view]), "bench"]
    subprocess.run([*unshare, *command], check=True, cwd=TREE)
    found: Results = json.loads(result.read_text())
    return found


def views() -> list[str]:
    """Those that this host can show."""
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return ["v2"]
    return ["v1", "v2"] if Path("/sys/fs/cgroup/unified/cgroup.procs").exists() else ["v1"]


def main() -> None:
    """Parse, measure each view, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="hot rounds (spaced: a quarter)")
    parser.add_argument("--views", default=",".join(views()), help="which views, separated by commas")
    parser.add_argument("--only", default="ocirt,crun,runc", help="which runtimes, separated by commas")
    parser.add_argument("--spaced", type=float, default=0.2, help="seconds between commands when spaced; 0: leave out")
    parser.add_argument("--cold", type=int, default=3, help="rounds with an emptied page cache; 0: leave out")
    parser.add_argument("--ocirt", default=str(TREE / "ocirt/_bin/ocirt"), help="the program to measure")
    parser.add_argument("--json", default=str(HERE / "results.json"), help="where to write the numbers")
    parser.add_argument("--in-view", help=argparse.SUPPRESS)
    parser.add_argument("--result", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_view:
        results, names, floor = measure(options, options.in_view)
        print(f"\ncgroup {options.in_view}; milliseconds, medians\n\n{table(results, names)}\n")
        print(f"bare C (namespaces and mounts only): {floor:.2f}", flush=True)
        Path(options.result).write_text(json.dumps({"results": results, "bare run": floor}))
        return
    with tempfile.TemporaryDirectory(prefix="ocirt-bench-") as directory:
        found = {view: in_view(view, Path(directory, view)) for view in options.views.split(",")}
    Path(options.json).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
