"""weaker.py's judges of what is mounted: flags, masks, read-only paths, and nothing that was not asked for."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.fuzz.view import Mount

if TYPE_CHECKING:
    from tests.fuzz.weaker import Case, Json

# Word → (flag as mountinfo shows it, whether the word sets it)
FLAGS = {
    "ro": ("ro", True), "rw": ("ro", False), "nosuid": ("nosuid", True), "suid": ("nosuid", False),
    "nodev": ("nodev", True), "dev": ("nodev", False), "noexec": ("noexec", True), "exec": ("noexec", False),
    "nosymfollow": ("nosymfollow", True), "symfollow": ("nosymfollow", False), "nodiratime": ("nodiratime", True),
    "diratime": ("nodiratime", False), "noatime": ("noatime", True), "atime": ("noatime", False),
    "relatime": ("noatime", False), "strictatime": ("noatime", False),
}  # fmt: skip
SHARING = {"shared", "rshared"}


def normal(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))


def asked(options: Sequence[str]) -> set[str]:
    """Flags that are asked for whichever way the words are read: those with an "r" in front do not say otherwise."""
    plain: dict[str, bool] = {}
    recursive: dict[str, bool] = {}
    for word in options:
        if word in FLAGS:
            plain[FLAGS[word][0]] = FLAGS[word][1]
        elif word[:1] == "r" and word[1:] in FLAGS:
            recursive[FLAGS[word[1:]][0]] = FLAGS[word[1:]][1]
    return {name for name in plain | recursive if plain.get(name, True) and recursive.get(name, True)}


def applies(case: Case) -> bool:
    """Mounts are made in a mount namespace alone; one that is joined has others' mounts too."""
    return case.kinds.get("mount") == ""


def top(case: Case, target: str) -> Mount | None:
    """What is on top at a path: nothing lies on it there, and nothing between it and the root covers it."""
    found = [mount for mount in case.seen.mounts if mount.target == target]
    covered_ones = {mount.above for mount in found}
    return next((one for one in found if one.number not in covered_ones and in_sight(case, one)), None)


def in_sight(case: Case, mount: Mount) -> bool:
    """Whether a path leads to it: no other mount on the same one is nearer to the root, and that one is in sight."""
    beside = [one for one in case.seen.mounts if one.above == mount.above and one.number != mount.number]
    if any(below(mount.target, one.target) for one in beside):
        return False
    carrier = next((one for one in case.seen.mounts if one.number == mount.above), None)
    return carrier is None or carrier.number == mount.number or in_sight(case, carrier)


def below(path: str, above: str) -> bool:
    """Whether it is the other path, or somewhere below it."""
    return path == above or path.startswith(above.rstrip("/") + "/")


def inside(case: Case, path: str) -> str:
    """A path as the runtime reaches it; "" where a component is a symlink, or it is not there."""
    found = case.seen.root
    for step in path.strip("/").split("/"):
        found = f"{found}/{step}".rstrip("/")
        try:
            if stat.S_ISLNK(os.lstat(found).st_mode):
                return ""
        except OSError:
            return ""
    return found


def covered(case: Case, path: str) -> bool:
    """Whether a mask or a read-only path has put another mount there."""
    listed = [*(case.linux.get("maskedPaths") or ()), *(case.linux.get("readonlyPaths") or ())]
    return any(below(path, normal(other)) for other in listed)


def mounts(case: Case) -> list[str]:
    """Each entry that nothing later covers is there, with the flags that it asks for."""
    wrong = []
    entries: list[Json] = case.config.get("mounts") or [] if applies(case) else []
    for index, entry in enumerate(entries):
        target, options = normal(entry["destination"]), entry.get("options") or ()
        later = [normal(other["destination"]) for other in entries[index + 1 :]]
        if any(below(target, other) for other in later) or covered(case, target) or not inside(case, target):
            continue
        found = top(case, target)
        if found is None:
            wrong.append(f"mount {index}: nothing is mounted on {target}")
            continue
        lacking = {flag for flag in asked(options) if flag not in found.options}
        wrong += [f"mount {index}: {target} is not {flag}" for flag in sorted(lacking)]
        wrong += [f"mount {index}: {line}" for line in mounts_below(case, entry, target, later)]
    return wrong


def mounts_below(case: Case, entry: Json, target: str, later: list[str]) -> list[str]:
    """rbind: what is mounted below the source is there, with the flags that have an "r" in front."""
    options, source = entry.get("options") or (), entry.get("source") or ""
    if "rbind" not in options or source[:1] != "/" or entry.get("type") not in (None, "", "bind", "none"):
        return []
    recursive = asked([word for word in options if word[1:] in FLAGS])
    wrong = []
    for mount in case.host.mounts:
        place = normal(target + mount.target.removeprefix(source.rstrip("/")))
        if not below(mount.target, source) or mount.target == source or any(below(other, place) for other in later):
            continue
        found = top(case, place)
        lacking = recursive - found.options if found else {"there"}
        wrong += [f"{place} is not {flag}" for flag in sorted(lacking) if not covered(case, place)]
    return wrong


def root(case: Case) -> list[str]:
    """root.readonly."""
    if not (case.config.get("root") or {}).get("readonly") or not applies(case):
        return []
    found = top(case, "/")
    return [] if found and "ro" in found.options else ["the root is not read-only"]


def masked(case: Case) -> list[str]:
    """What is there cannot be read: a null device, or an empty directory."""
    wrong = []
    for path in case.linux.get("maskedPaths") or ():
        place = inside(case, normal(path))
        if not place or not applies(case):
            continue
        status = os.lstat(place)
        if stat.S_ISDIR(status.st_mode):
            found = top(case, normal(path))
            if os.listdir(place) or found is None or "ro" not in found.options:
                wrong.append(f"masked path {path} is not an empty, read-only directory")
        elif not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(1, 3):
            wrong.append(f"masked path {path} is no null device")
    return wrong


def readonly(case: Case) -> list[str]:
    """What is there is a read-only mount, or below a mask."""
    wrong = []
    hidden = [normal(path) for path in case.linux.get("maskedPaths") or ()]
    for path in case.linux.get("readonlyPaths") or ():
        target = normal(path)
        if not applies(case) or not inside(case, target) or any(below(target, other) for other in hidden):
            continue
        found = top(case, target)
        if found is None or "ro" not in found.options:
            wrong.append(f"read-only path {path} is writable")
    return wrong


def nothing_more(case: Case) -> list[str]:
    """Every mount has a reason in the config; with mounts below it only where it is recursive."""
    if not applies(case):
        return []
    exact, deep = {"/", "/dev/console"}, set()
    for entry in case.config.get("mounts") or ():
        words, target = entry.get("options") or (), normal(entry["destination"])
        many = "rbind" in words or entry.get("type") in ("cgroup", "cgroup2", "sysfs")
        (deep if many else exact).add(target)
    deep |= {normal(path) for name in ("maskedPaths", "readonlyPaths") for path in case.linux.get(name) or ()}
    exact |= {normal(device["path"]) for device in case.linux.get("devices") or ()}
    exact |= {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")}
    return [
        f"an unexplained mount: {mount.target}, {mount.fstype}"
        for mount in case.seen.mounts
        if mount.target not in exact and not any(below(mount.target, path) for path in deep) and not linked(case, mount)
    ]


def linked(case: Case, mount: Mount) -> bool:
    """Whether a destination leads elsewhere by a symlink, which then has the mount."""
    places = [normal(entry["destination"]) for entry in case.config.get("mounts") or ()]
    places += [normal(path) for name in ("maskedPaths", "readonlyPaths") for path in case.linux.get(name) or ()]
    return any(not inside(case, place) and os.path.lexists(case.seen.root + place) for place in places)


def propagation(case: Case) -> list[str]:
    """No mount is a peer of one of the runtime's, unless that is asked for."""
    words = {word for entry in case.config.get("mounts") or () for word in entry.get("options") or ()}
    if not applies(case) or SHARING & {*words, case.linux.get("rootfsPropagation") or ""}:
        return []
    peers = {field for mount in case.host.mounts for field in mount.optional if field.startswith("shared:")}
    return [f"{mount.target} is a peer of a mount outside" for mount in case.seen.mounts if peers & set(mount.optional)]
