# ocirt: everything a user or a developer does. `make help` lists it.

PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
VENV   := .venv
PY     := $(VENV)/bin/python
PIP    := $(PY) -m pip --quiet --disable-pip-version-check
ARGS   ?=

BUILD_PACKAGES := python3 python3-venv python3-dev libpython3-dev gcc libc6-dev libseccomp-dev ca-certificates
DEMO_PACKAGES  := umoci busybox-static
TEST_PACKAGES  := acl skopeo strace cppcheck valgrind tmux uidmap iproute2 procps util-linux
# To compare with, and to read what ocirt writes: tests that miss one of these are skipped.
PEER_PACKAGES  := runc crun dbus-daemon libsystemd0 groff-base zsh fish
# libFuzzer, for tests/fuzz
FUZZ_PACKAGES  := clang libclang-rt-dev
# The guest in which tests/guest runs tests: Debian under qemu, made from packages.
GUEST_PACKAGES := qemu-system-x86 mmdebstrap e2fsprogs
ENGINE_PACKAGES := podman conmon buildah netavark aardvark-dns iptables catatonit containerd docker.io \
	containernetworking-plugins docker-registry docker-compose

SOURCES := setup.py pyproject.toml ocirt/launcher/hot.txt $(wildcard spec/*.json) $(shell find ocirt -name '*.py' -not -name _schema.py -not -name _systemd.py) \
	$(wildcard ocirt/linux/*.[ch] ocirt/perform/*.[ch] ocirt/launcher/*.[ch] ocirt/spawn/init/*.[ch] ocirt/launcher/*.def ocirt/perform/*.def ocirt/spawn/init/*.def)

.DEFAULT_GOAL := help
.PHONY: help build demo check test test-unit test-root test-engines test-guest guest fuzz bench bench-engines conformance install uninstall clean distclean \
	packages-build packages-demo packages-test packages-guest

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

build: build/.done ## the shim, the init and the launcher, in the tree; the program is ocirt/_bin/ocirt

build/.done: $(SOURCES) $(VENV)/.build
	@echo "building ocirt"
	@$(PY) -W ignore setup.py --quiet build_ext --inplace
	@$(PY) -m compileall -q ocirt # the launcher writes none
	@$(PY) -m tests.build_stamp >$@

demo: packages-demo build ## a container from a busybox image through its life
	@sh tests/demo.sh

check: packages-test $(VENV)/.test build ## linters and unit tests: no root needed
	@$(PY) -m pytest tests/test_lint.py tests/unit $(ARGS)

test: packages-demo packages-test packages-guest $(VENV)/.test build ## every test that this machine can run
	@$(PY) -m pytest $(ARGS)

test-unit: $(VENV)/.test build ## the tests that need no root and no container
	@$(PY) -m pytest tests/unit tests/golden $(ARGS)

test-root: packages-demo packages-test $(VENV)/.test build ## the real init and real containers
	@$(PY) -m pytest tests/kernel tests/hotpath tests/integration $(ARGS)

test-guest: packages-guest $(VENV)/.test build ## tests in a Debian guest under qemu: cgroup v2, systemd, a user
	@$(PY) -m pytest tests/guest $(ARGS)

guest: packages-guest build ## COMMAND='…' as root in that guest, in the checkout
	@$(PY) -m tests.guest $(ARGS) '$(COMMAND)'

test-engines: packages-demo packages-test $(VENV)/.test build ## podman, docker, containerd and buildah with ocirt as their runtime
	@$(PY) -m pytest tests/engines $(ARGS)

fuzz: packages-demo packages-test $(VENV)/.test build ## mutated documents, failing system calls and libFuzzer, for hours; ARGS='--seed 2 --count 1000 --lives 100'
	@$(PY) -m tests.fuzz $(ARGS)

conformance: ## which clauses of the specification have tests, by section
	@$(PYTHON) conformance/run $(ARGS)

bench: packages-demo packages-test build ## side by side with runc and crun; prints ratios
	@$(PY) -m tests.bench.run $(ARGS)

bench-engines: packages-demo packages-test build ## podman, docker and ctr run, by ocirt, crun and runc
	@$(PY) tests/bench/engines.py $(ARGS)

# A private environment under PREFIX/lib/ocirt, so that the system's Python packages stay as they are.
install: packages-build ## into PREFIX (/usr/local)
	@echo "installing into $(PREFIX)/lib/ocirt"
	@rm -rf build/lib* build/bdist*
	@$(PYTHON) -m venv --clear $(PREFIX)/lib/ocirt
	@$(PREFIX)/lib/ocirt/bin/python -m pip --quiet --disable-pip-version-check install .
	@mkdir -p $(PREFIX)/bin
	@ln -sfn ../lib/ocirt/bin/ocirt $(PREFIX)/bin/ocirt
	@$(PREFIX)/bin/ocirt --version

uninstall: ## what install made
	rm -rf $(PREFIX)/lib/ocirt
	rm -f $(PREFIX)/bin/ocirt

clean: ## what build made
	rm -rf build dist *.egg-info ocirt/_bin ocirt/config/_schema.py ocirt/linux/_systemd.py
	rm -f ocirt/linux/*.so
	find ocirt tests -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## and the virtual environment and caches
	rm -rf $(VENV) .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

packages-build:
	@sh .ci/packages $(BUILD_PACKAGES)

packages-demo: packages-build
	@sh .ci/packages $(DEMO_PACKAGES)

packages-test: packages-build
	@sh .ci/packages $(TEST_PACKAGES)
	@sh .ci/packages --optional $(PEER_PACKAGES) $(FUZZ_PACKAGES) $(ENGINE_PACKAGES)

packages-guest: packages-build
	@sh .ci/packages --optional $(GUEST_PACKAGES)

$(VENV)/.build: pyproject.toml .ci/requirements.py | packages-build
	@echo "making $(VENV)"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PIP) install $$($(PY) .ci/requirements.py build)
	@touch $@

$(VENV)/.test: $(VENV)/.build
	@echo "adding the test tools to $(VENV)"
	@$(PIP) install $$($(PY) .ci/requirements.py test)
	@touch $@
