"""Side by side with runc and crun: every command of the life cycle, hot and spaced, medians and ratios.

    python tests/bench/run.py [--rounds N] [--json FILE] [--only ocirt,crun] [--spaced SECONDS] [--quick]

All runtimes take turns in one run, so that the machine's moods hit them alike. It runs in a mount namespace of its own,
without the v2 hierarchy of a hybrid layout: crun refuses hybrid. Hot is one command after the other; spaced is
one command every 200 ms, as in use: after a quiet moment the kernel's first cgroup attach on v1 is slow.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
TREE = HERE.parent.parent
COMMANDS = ("run", "create", "start", "exec, first", "exec, repeated", "state", "kill 0", "delete", "life cycle")


class Bench:
    """One runtime's containers: a bundle whose process is `true`, one whose process waits, a private state root."""

    def __init__(self, name: str, program: list[str], work: Path, state: Path) -> None:
        self.name = name
        self.program = [*program, "--root", str(state / f"root-{name}")]
        self.bundles = work
        self.count = 0
        self.output = os.open("/dev/null", os.O_RDWR)

    def time(self, *arguments: str) -> float:
        """Milliseconds that one command took; its failure ends the benchmark."""
        argv = [*self.program, *arguments]
        actions = [(os.POSIX_SPAWN_DUP2, self.output, fd) for fd in (0, 1)]
        begin = time.perf_counter_ns()
        pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions)
        status = os.waitpid(pid, 0)[1]
        took = (time.perf_counter_ns() - begin) / 1e6
        if status:
            raise SystemExit(f"{' '.join(argv)}: wait status {status}")
        return took

    def container(self) -> str:
        """A fresh id."""
        self.count += 1
        return f"bench-{self.name}-{os.getpid()}-{self.count}"

    def life(self, gap: float) -> dict[str, float]:
        """One container through every command, and one `run`."""
        ident = self.container()
        took = {}
        for label, *arguments in (
            ("run", "run", "--bundle", str(self.bundles / "true"), ident),
            ("create", "create", "--bundle", str(self.bundles / "sleep"), ident),
            ("start", "start", ident),
            ("exec, first", "exec", ident, "true"),
            ("exec, repeated", "exec", ident, "true"),
            ("state", "state", ident),
            ("kill 0", "kill", ident, "0"),
            ("", "kill", ident, "KILL"),
            ("delete", "delete", ident),
        ):
            if gap:
                time.sleep(gap)
            if label == "delete":
                self.wait_stopped(ident)
            took[label] = self.time(*arguments)
        took["life cycle"] = sum(took[name] for name in ("create", "start", "state", "", "delete"))
        del took[""]
        return took

    def wait_stopped(self, ident: str) -> None:
        """After SIGKILL the process needs a moment to be gone."""
        path = f"/proc/{self.pid}/stat"
        for _ in range(1000):
            try:
                if Path(path).read_text().rpartition(")")[2].split()[0] in "ZX":
                    return
            except OSError:
                return
            time.sleep(0.001)
        raise SystemExit(f"{ident}: still alive")

    @property
    def pid(self) -> int:
        """The pid of the container that was created last."""
        found = subprocess.run(
            [*self.program, "state", f"bench-{self.name}-{os.getpid()}-{self.count}"], capture_output=True, check=True
        )
        return int(json.loads(found.stdout)["pid"]) or 1 << 30

    def memory(self) -> dict[str, float]:
        """Kilobytes: resident memory of a created container's init, peak memory of a foreground `run`."""
        ident = self.container()
        self.time("create", "--bundle", str(self.bundles / "sleep"), ident)
        init = field(self.pid, "VmRSS")
        self.time("delete", "--force", ident)
        ident = self.container()
        argv = [*self.program, "run", "--bundle", str(self.bundles / "nap"), ident]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(0.4)
        peak = field(process.pid, "VmHWM")
        process.wait()
        return {"created init, resident kB": init, "run, peak kB": peak}


def field(pid: int, name: str) -> float:
    """A number of /proc/PID/status."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return float(line.split()[1])
    raise SystemExit(f"no {name} of {pid}")


def make_bundles(work: Path, ocirt: str) -> None:
    """Three bundles that share a rootfs of busybox: true, sleep, nap."""
    rootfs = work / "rootfs"
    for name in ("bin", "proc", "dev", "sys", "etc", "tmp"):
        (rootfs / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", rootfs / "bin/busybox")
    for name in ("true", "sleep", "sh"):
        (rootfs / "bin" / name).symlink_to("busybox")
    for name, args in (("true", ["true"]), ("sleep", ["sleep", "1000"]), ("nap", ["sleep", "0.8"])):
        bundle = work / name
        bundle.mkdir()
        subprocess.run([ocirt, "spec", "--bundle", str(bundle)], check=True)
        config = json.loads((bundle / "config.json").read_text())
        config["process"] |= {"args": args, "terminal": False}
        config["root"]["path"] = str(rootfs)
        # One for all, as engines give one: the peers' own defaults differ in depth.
        config["linux"]["cgroupsPath"] = f"/{work.name}"
        # Debian 12's peers know neither newer versions nor a cgroup namespace on v1; all get the same config.
        config["ociVersion"] = "1.0.2"
        config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "cgroup"]
        config["mounts"] = [m for m in config["mounts"] if m["type"] != "cgroup"]
        (bundle / "config.json").write_text(json.dumps(config, indent=2))


def bare_times(work: Path, rounds: int, gap: float) -> list[float]:
    """The floor: the same namespaces and mounts, made by bare.c."""
    program = str(work / "bare")
    took = []
    for _ in range(rounds):
        time.sleep(gap)
        begin = time.perf_counter_ns()
        subprocess.run([program, str(work / "rootfs"), "/bin/true"], check=True)
        took.append((time.perf_counter_ns() - begin) / 1e6)
    return took


def measure(benches: list[Bench], rounds: int, gap: float) -> dict[str, dict[str, float]]:
    """name → command → median in ms; the runtimes take turns, each round in another order."""
    samples: dict[str, dict[str, list[float]]] = {bench.name: {c: [] for c in COMMANDS} for bench in benches}
    for number in range(rounds + 1):
        turn = number % len(benches)
        for bench in benches[turn:] + benches[:turn]:
            for command, took in bench.life(gap).items():
                if number:  # the first round warms the caches
                    samples[bench.name][command].append(took)
    return {name: {c: statistics.median(s) for c, s in by.items()} for name, by in samples.items()}


def hundred(benches: list[Bench]) -> dict[str, float]:
    """100 runs in a row, in ms, one runtime after the other."""
    totals = {}
    for bench in benches:
        totals[bench.name] = sum(
            bench.time("run", "--bundle", str(bench.bundles / "true"), bench.container()) for _ in range(100)
        )
    return totals


def table(results: dict[str, dict[str, dict[str, float]]], names: list[str]) -> str:
    """The results as Markdown, with ratios of ocirt to each peer."""
    peers = [name for name in names if name != "ocirt"]
    heads = ["", *names, *(f"ocirt/{peer}" for peer in peers)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for kind, by_name in results.items():
        for row in next(iter(by_name.values())):
            values = [by_name[name].get(row, 0.0) for name in names]
            own = by_name["ocirt"][row]
            ratios = [f"{own / by_name[peer][row]:.2f}" for peer in peers]
            digits = 0 if "kB" in row or "100" in row else 2
            cells = [f"{kind}: {row}", *(f"{value:.{digits}f}" for value in values), *ratios]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def isolated() -> None:
    """Start again in a mount namespace where only the v1 hierarchies of a hybrid layout are seen."""
    if os.environ.get("OCIRT_BENCH") == "isolated":
        return
    os.environ["OCIRT_BENCH"] = "isolated"
    script = 'if grep -q " /sys/fs/cgroup/unified " /proc/mounts; then umount /sys/fs/cgroup/unified; fi; exec "$@"'
    os.execvp("unshare", ["unshare", "--mount", "sh", "-c", script, "bench", sys.executable, *sys.argv])


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="hot rounds (spaced: a quarter)")
    parser.add_argument("--json", default=str(HERE / "results.json"), help="where to write the numbers")
    parser.add_argument("--only", default="ocirt,crun,runc", help="which runtimes, separated by commas")
    parser.add_argument("--spaced", type=float, default=0.2, help="seconds between commands when spaced; 0: leave out")
    parser.add_argument("--ocirt", default=str(TREE / "ocirt/_bin/ocirt"), help="the program to measure")
    options = parser.parse_args()
    isolated()
    work = Path(tempfile.mkdtemp(prefix="ocirt-bench-"))
    # A tmpfs, as /run is on users' machines.
    state = Path(tempfile.mkdtemp(prefix="ocirt-bench-", dir="/dev/shm"))
    try:
        make_bundles(work, options.ocirt)
        subprocess.run(["gcc", "-O2", "-static", "-o", str(work / "bare"), str(HERE / "bare.c")], check=True)
        wanted = options.only.split(",")
        paths = {"ocirt": options.ocirt, "crun": shutil.which("crun"), "runc": shutil.which("runc")}
        benches = [Bench(name, [path], work, state) for name in wanted if (path := paths[name])]
        names = [bench.name for bench in benches]
        results = {"hot": measure(benches, options.rounds, 0)}
        if options.spaced:
            results["spaced"] = measure(benches, max(options.rounds // 4, 1), options.spaced)
        totals = hundred(benches)
        memory = {bench.name: bench.memory() for bench in benches}
        results["whole"] = {name: {"100 runs in a row": totals[name], **memory[name]} for name in names}
        floor = statistics.median(bare_times(work, options.rounds, 0))
        Path(options.json).write_text(json.dumps({"results": results, "bare run": floor}, indent=2) + "\n")
        print(table(results, names))
        print(f"\nmilliseconds, medians; bare C (namespaces and mounts only): {floor:.2f}")
    finally:
        shutil.rmtree(work)
        shutil.rmtree(state)


if __name__ == "__main__":
    main()
