"""Mutations of JSON documents, by their structure and by their bytes; a seed determines all of them."""

from __future__ import annotations

import copy
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

Path = tuple[Any, ...]

NUMBERS = [
    0, 1, -1, 2, 7, 64, 255, 256, 1000, 4095, 4096, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 2**32, 2**53,
    2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**31) - 1, -(2**63), 10**30, 0.5, 1e3, -0.0,
]  # fmt: skip
TEXTS = [
    "", " ", "/", "//", "..", ".", "a/../b", "/..", "/../..", "/a/../../b", "/tmp", "/proc", "/proc/self",
    "/proc/1/root", "/proc/self/fd/0", "/dev", "/dev/null", "/dev/pts", "/sys/fs/cgroup", "/etc", "/bin", "a" * 70,
    "a" * 300, "a" * 5000, "/" + "a/" * 200, "a\nb", "a\tb", "\u00e9", "\u2028", "\ud800", "\0", "a\0b", "%d", "%s%n",
    "a:b", "a,b", "a=b", "=", "=b", "-", "--", "-1", "0", "0-5", "1-0", "0-99999", "9" * 30, "*", "max", "\\", "\"",
    "[]:", "\x1b[31m", "2MB", "ro", "rw", "bind", "rbind", "remount", "nosuid", "suid", "rro", "rrw", "idmap",
    "ridmap", "tmpcopyup", "shared", "rprivate", "size=64k", "mode=0700", "x-a", "CAP_ALL", "CAP_SYS_ADMIN",
    "cap_chown", "SCMP_ACT_ALLOW", "RLIMIT_NOFILE", "pid", "user", "true", "null", "1.0", "1.3.0", "a.slice:b:c",
    "::",
]  # fmt: skip
TOKENS = [
    b"null", b"true", b"false", b"0", b"-1", b"1e999", b"-0", b"1.5", b"NaN", b"Infinity", b'""', b"{}", b"[]",
    b'"\\ud800"', b'"\\u0000"', b"\xff", b"\xc3", b"\xef\xbb\xbf", b",", b":", b"\"", b"\\", b"[" * 50,
    b"{\"a\":" * 50, b"9" * 400, b"\0", b" " * 300, b"\r\n", b"/**/", b"'",
]  # fmt: skip


def places(value: Any, above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value of a document below its top, with its path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in items:
        here = (*above, key)
        yield here, member
        yield from places(member, here)


def kind_of(path: Path) -> Path:
    """A path with the places in arrays left out: what stands there is of one kind."""
    return tuple("*" if isinstance(step, int) else step for step in path)


class Stock:
    """All values that some documents have, by the kind of their place: what is grafted into others."""

    def __init__(self, documents: list[Any]) -> None:
        values: dict[Path, dict[str, Any]] = defaultdict(dict)
        members: dict[Path, dict[str, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
        for document in documents:
            for path, value in places(document):
                text = json.dumps(value, sort_keys=True)
                values[kind_of(path)].setdefault(text, value)
                if isinstance(path[-1], str):
                    members[kind_of(path[:-1])][path[-1]].setdefault(text, value)
        self.values = {kind: list(found.values()) for kind, found in values.items()}
        self.members = {
            kind: {name: list(found.values()) for name, found in names.items()} for kind, names in members.items()
        }


class Mutator:
    """Changes documents, each call by another step of the same chance."""

    def __init__(self, stock: Stock, rng: random.Random) -> None:
        self.stock = stock
        self.rng = rng

    def document(self, document: Any, times: int = 0) -> Any:
        """A copy with some changes."""
        changed = copy.deepcopy(document)
        for _ in range(times or self.rng.choice((1, 1, 1, 2, 2, 3, 5, 8))):
            self.change(changed)
        return changed

    def text(self, document: Any) -> bytes:
        """A document changed by its structure, by its bytes, or by both, as JSON text."""
        way = self.rng.randrange(10)
        data = json.dumps(self.document(document) if way else document, indent=self.rng.choice((None, 1, 2))).encode()
        return self.bytes(data) if way in (0, 1) else data

    def change(self, document: Any) -> None:
        """One change of the structure, at a place that every section is as likely to have."""
        path = self.place(document)
        holder = document
        for step in path[:-1]:
            holder = holder[step]
        if not path:
            return
        action = self.rng.choice(
            (self.replace, self.graft, self.graft, self.remove, self.rename, self.repeat, self.add)
        )
        action(holder, path)

    def place(self, document: Any) -> Path:
        """From the top down, a random member at each level: a long list does not draw all changes to it."""
        path: Path = ()
        node = document
        while isinstance(node, dict | list) and node:
            key = self.rng.choice(list(node)) if isinstance(node, dict) else self.rng.randrange(len(node))
            path, node = (*path, key), node[key]
            if self.rng.random() < (0.12 if len(path) < 2 else 0.3):
                break
        return path

    def replace(self, holder: Any, path: Path) -> None:
        """By a value that may hurt."""
        old, rng = holder[path[-1]], self.rng
        if rng.random() < 0.12:
            holder[path[-1]] = rng.choice((None, True, False, 0, "", [], {}, 1.5, [None], {"a": None}, "text", -1))
        elif isinstance(old, bool):
            holder[path[-1]] = not old
        elif isinstance(old, int | float):
            holder[path[-1]] = rng.choice((*NUMBERS, old + 1, old - 1, -old, old * 2))
        elif isinstance(old, str):
            holder[path[-1]] = self.other_text(old)
        elif isinstance(old, list):
            self.reorder(old)
        else:
            holder[path[-1]] = {}

    def other_text(self, old: str) -> str:
        rng, at = self.rng, self.rng.randrange(len(old) + 1)
        more = rng.choice(TEXTS)
        return rng.choice(
            (
                more,
                more,
                old + more,
                more + old,
                old[:at],
                old[:at] + more + old[at:],
                old.upper(),
                old.lower(),
                old * 2,
            )
        )

    def reorder(self, old: list[Any]) -> None:
        """A list shuffled, turned round, emptied, cut or made long."""
        way = self.rng.randrange(5)
        if way == 0:
            self.rng.shuffle(old)
        elif way == 1:
            old.reverse()
        elif way == 2:
            del old[self.rng.randrange(len(old) + 1) :]
        elif way == 3:
            old += copy.deepcopy(old)
        elif old:
            old += [copy.deepcopy(self.rng.choice(old)) for _ in range(self.rng.choice((2, 10, 400)))]

    def graft(self, holder: Any, path: Path) -> None:
        """What another document has at such a place."""
        found = self.stock.values.get(kind_of(path))
        if found:
            holder[path[-1]] = copy.deepcopy(self.rng.choice(found))

    def add(self, holder: Any, path: Path) -> None:
        """A member, or an entry, that other documents have at such a place."""
        if isinstance(holder, dict):
            names = self.stock.members.get(kind_of(path[:-1]))
            if names:
                name = self.rng.choice(list(names))
                holder[name] = copy.deepcopy(self.rng.choice(names[name]))
        else:
            found = self.stock.values.get(kind_of(path))
            if found:
                holder.insert(self.rng.randrange(len(holder) + 1), copy.deepcopy(self.rng.choice(found)))

    def remove(self, holder: Any, path: Path) -> None:
        del holder[path[-1]]

    def rename(self, holder: Any, path: Path) -> None:
        if isinstance(holder, dict):
            name = self.rng.choice((path[-1].upper(), path[-1].lower(), path[-1] + "s", path[-1][1:], *TEXTS[:4]))
            holder[name] = holder.pop(path[-1])
        else:
            self.remove(holder, path)

    def repeat(self, holder: Any, path: Path) -> None:
        """An entry twice; a member's value under another member's name."""
        if isinstance(holder, list):
            holder.insert(self.rng.randrange(len(holder) + 1), copy.deepcopy(holder[path[-1]]))
        else:
            holder[self.rng.choice(list(holder))] = copy.deepcopy(holder[path[-1]])

    def bytes(self, data: bytes) -> bytes:
        """A text with some bytes changed, added, repeated or cut off."""
        new, rng = bytearray(data), self.rng
        for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
            at = rng.randrange(len(new) + 1)
            end = min(len(new), at + rng.choice((1, 1, 2, 8, 64)))
            way = rng.randrange(6)
            if way == 0 and at < len(new):
                new[at] ^= 1 << rng.randrange(8)
            elif way == 1:
                del new[at:end]
            elif way == 2:
                new[at:at] = new[at:end]
            elif way == 3:
                new[at:at] = rng.choice(TOKENS)
            elif way == 4:
                new[at:end] = rng.choice(TOKENS)
            elif at < len(new):
                new[at] = rng.randrange(256)
        if rng.randrange(16) == 0:
            del new[rng.randrange(len(new) + 1) :]
        return bytes(new)
