"""What the resctrl filesystem says of a container's group: `intel_rdt` of a stats event (x86/resctrl.rst). Cold."""

from __future__ import annotations

import posix

from ocirt.linux import facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ROOT = "/sys/fs/resctrl"

# member → (directory of info/, files); the first file is a mask in hexadecimal, the others are numbers
_INFO = {
    "l3_cache_info": ("L3", ("cbm_mask", "min_cbm_bits", "num_closids")),
    "mem_bw_info": ("MB", ("bandwidth_gran", "delay_linear", "min_bandwidth", "num_closids")),
}
_SCHEMATA = {"L3": "l3_cache_schema", "MB": "mem_bw_schema"}
_MONITORED = {"mbm_stats": ("mbm_total_bytes", "mbm_local_bytes"), "cmt_stats": ("llc_occupancy",)}


def stats(group: str, root: str = ROOT) -> dict[str, Any]:
    """The figures of the group `group` of the resctrl filesystem at `root`; {} where there is none."""
    lines = _lines(f"{root}/{group}/schemata")
    if not lines:
        return {}
    found: dict[str, Any] = {}
    for member, (directory, files) in _INFO.items():
        texts = {name: facts.read(f"{root}/info/{directory}/{name}").strip() for name in files}
        if info := {name: text if name == "cbm_mask" else int(text) for name, text in texts.items() if text}:
            found[member] = info
    for suffix, given in (("_root", _lines(f"{root}/schemata")), ("", lines)):
        for kind, member in _SCHEMATA.items():
            if chosen := [line for line in given if line.startswith(kind)]:
                found[member + suffix] = "\n".join(chosen)
    found["schemata"] = lines
    return found | _monitored(f"{root}/{group}/mon_data")


def _monitored(directory: str) -> dict[str, list[dict[str, int]]]:
    """One entry for each L3 cache, in the order of their numbers."""
    try:
        nodes = sorted(name for name in posix.listdir(directory) if name.startswith("mon_L3_"))
    except OSError:
        return {}
    found = {}
    for member, names in _MONITORED.items():
        entries = [{name: _number(f"{directory}/{node}/{name}") for name in names} for node in nodes]
        if any(value is not None for entry in entries for value in entry.values()):
            found[member] = [{name: value or 0 for name, value in entry.items()} for entry in entries]
    return found


def _lines(path: str) -> list[str]:
    return [line.strip() for line in facts.read(path).splitlines() if line.strip()]


def _number(path: str) -> int | None:
    """None for what is not monitored, or not known at the moment: "Unavailable"."""
    text = facts.read(path).strip()
    return int(text) if text.isdigit() else None
