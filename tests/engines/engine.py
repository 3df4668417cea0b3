"""What tests of Podman and of Docker share: the commands that both have, with the same words."""

from __future__ import annotations

from tests.engines.place import TIMEOUT, Place, Result

IMAGE = "localhost/busybox:latest"
SLEEP = ("--", "sleep", "600")
SERVER = ("--", "sh", "-c", "mkdir /www; echo page-of-$(hostname) >/www/page; exec httpd -f -p 80 -h /www")


class Engine:
    """An engine in a place. `program` is the client's command line; `container` what each new container is given."""

    kind = ""
    program: list[str]
    image = IMAGE

    def __init__(self, place: Place, runtime: str) -> None:
        self.place = place
        self.runtime = runtime
        self.container: list[str] = []

    def __call__(self, *words: str, stdin: bytes = b"", timeout: float = TIMEOUT, check: bool | None = None) -> Result:
        """The client with these words."""
        return self.place.run(*self.program, *words, stdin=stdin, timeout=timeout, check=check)

    def words(self, words: tuple[str, ...], network: str) -> list[str]:
        """Options, the image in the place of "--", and the command."""
        at = words.index("--")
        return [f"--network={network}", *self.container, *words[:at], self.image, *words[at + 1 :]]

    def run(self, *words: str, check: bool | None = None, stdin: bytes = b"", network: str = "none") -> Result:
        """`run --rm WORDS…`: options, "--" for the image, and the command."""
        return self("run", "--rm", *self.words(words, network), stdin=stdin, check=check)

    def start(self, name: str, *words: str, network: str = "none") -> None:
        """`run --detach --name NAME WORDS…`."""
        self("run", "--detach", f"--name={name}", *self.words(words, network), check=True)

    def terminal(self, *words: str) -> Result:
        """The client with these words, on a terminal."""
        return self.place.terminal(*self.program, *words)

    def inspect(self, name: str, field: str) -> str:
        """One field of `inspect`, by its Go template."""
        return self("inspect", "--format", f"{{{{{field}}}}}", name, check=True).stdout.strip()

    def status(self, name: str) -> str:
        """State and exit code."""
        return self.inspect(name, ".State.Status") + " " + self.inspect(name, ".State.ExitCode")

    def remove(self, *names: str) -> None:
        """Remove containers, by force; those that are gone are no error."""
        self("rm", "--force", *names)

    def fetched(self, url: str) -> str:
        """What a server answers, asked for from the place's own network."""
        return self.place.run("wget", "-qO-", "--timeout=5", "--tries=1", url).stdout
