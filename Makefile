# Everything a developer or an operator runs; needs Python 3.11 or newer, make, and the network once.
#
#   make run       a gateway on 127.0.0.1:9000 with its data in ./data
#   make test      lint, types, import contracts, tests
#   make install   only .venv/bin/skerry
#   make bench     the figures of the README against bare aiohttp, in one run
#   make bench-delta  what an edit costs on the wire and in the cloud, beside restic and borg where installed;
#                  REPOSITORIES=n of each (they cut at random), WIRE=1 names every byte of ours
#   make bench-join  how long until a new site lists a realm of OBJECTS=n objects, by a checkpoint and by every log
#   make bench-tombstones  what KEYS=n deleted keys cost the index, and what is left of that once they are forgotten
#   make bench-dooms  what a deleted object of the bucket leaves in the index, OBJECTS=n
#   make demo      two sites, a cloud, a cut link
#   make fortnight  two weeks of three sites behind bad lines, then everything must come together; DAYS=n SEED=n
#   make forty     SITES=n real sites at one bucket: they agree, some leave, what all of it asks; IDLE=seconds SEED=n
#   make compat    real clients and SDKs of other languages against a server: the table client × feature
#   make fuzz      every parser against a coverage-guided fuzzer; SECONDS_EACH=n for longer
#   make crash     every state a power cut may leave: opens, and has all it promised; STATES=n of each workload (0: all)
#   make faults    every call that writes fails, at the seam and in the kernel, once and for ever, with every error
#   make damage    every flipped bit, and every file cut, gone, swapped, doubled or foreign: found, named, mended; a real
#                  file system cut off under load CUTS=n times (needs root)
#   make kill      SIGKILL of any process at any moment under mixed load; ROUNDS=n
#   make hostile   clients that are slow, greedy, broken or gone, beside a good one; CONNECTIONS=n
#   make simulate  worlds of many sites, clocks, crashes and a lying cloud; SEEDS=n FROM=k, SEED=n for one; KIND=k
#   make audit     ask PyPI for known vulnerabilities of what is locked; STRICT=1: not to know is a failure, too
#   make soak      two sites and a cloud under load, with kills, cut links and a full disk; MINUTES=n, SEED=n
#   make planted   faults planted into copies of the tree: each must be noticed
#   make freeze    a data directory and a bucket as this VERSION=n writes them, for tests/golden/releases
#   make locks     resolve the dependencies anew (writes requirements*.lock)
#   make clean     remove the virtual environment and caches; never ./data

SHELL  := /bin/bash
VENV   := .venv
COMPAT := .venv-compat
AUDIT  := .venv-audit
BIN    := $(VENV)/bin
DATA   ?= data
PROCESSES ?= 2
LISTEN ?= 127.0.0.1:9000
PIP     = $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE = CUSTOM_COMPILE_COMMAND="make locks" $(BIN)/pip-compile --quiet --allow-unsafe --generate-hashes \
          --strip-extras --no-emit-index-url --no-emit-find-links

.PHONY: run test install lint bench bench-delta bench-join bench-tombstones bench-dooms demo fortnight forty soak fuzz crash faults damage kill \
        hostile simulate planted audit freeze locks clean

run: install
	$(BIN)/skerry serve --data $(DATA) --listen $(LISTEN)

install: $(VENV)/.installed

test: lint
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile

lint: $(VENV)/.developed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# In an environment of its own: client libraries weigh most of a gigabyte. Drivers are built in $SKERRY_COMPAT_CACHE. The
# table is written before the outcome is told, so that a cross shows in it too.
compat: $(COMPAT)/.installed
	SKERRY_RACE_ROUNDS=10 SKERRY_COMPAT_TABLE="tests/compat/TABLE.md README.md" $(COMPAT)/bin/python -m pytest tests/compat/clients \
	  -m "e2e or compat" --override-ini "addopts=--strict-markers --strict-config -ra --import-mode=importlib"

# The targets below exist only where their programs do.
ifneq ($(wildcard benchmarks/run.py),)
bench: $(VENV)/.developed
	$(BIN)/python -m benchmarks.run
endif

bench-delta: $(VENV)/.developed
	$(BIN)/python -m benchmarks.delta $(if $(SCALE),--scale $(SCALE)) $(if $(REPOSITORIES),--repositories $(REPOSITORIES)) $(if $(WIRE),--wire)

bench-join: $(VENV)/.developed
	$(BIN)/python -m benchmarks.join --replay $(if $(OBJECTS),--objects $(OBJECTS))

bench-tombstones: $(VENV)/.developed
	$(BIN)/python -m benchmarks.tombstones $(if $(KEYS),--keys $(KEYS))

bench-dooms: $(VENV)/.developed
	$(BIN)/python -m benchmarks.dooms $(if $(OBJECTS),--objects $(OBJECTS))

ifneq ($(wildcard tests/e2e/demo.py),)
demo: $(VENV)/.developed
	$(BIN)/python -m tests.e2e.demo
endif

fortnight: $(VENV)/.developed
	$(BIN)/python -m tests.e2e.fortnight --days $(or $(DAYS),14) $(if $(SEED),--seed $(SEED))

forty: $(VENV)/.developed
	$(BIN)/python -m tests.e2e.forty --sites $(or $(SITES),40) --idle $(or $(IDLE),120) $(if $(SEED),--seed $(SEED))

soak: $(VENV)/.developed
	$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),60) $(if $(SEED),--seed $(SEED))

# Coverage-guided, SECONDS for each parser; what it finds is kept in tests/fuzz/findings.
fuzz: $(VENV)/.developed
	$(PIP) install --require-hashes -r requirements-fuzz.lock
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS_EACH),10)

# What tests/RELIABILITY.md tells of, in long forms; all of it runs in short forms in `make test`, too.
PROVE = $(BIN)/python -m pytest -s -p no:cacheprovider

crash: $(VENV)/.developed
	SKERRY_CRASH_STATES=$(or $(STATES),1000) $(PROVE) --timeout 0 tests/crash/test_crash_states.py \
	  tests/crash/test_store_crashes.py tests/crash/test_torn_batches.py tests/crash/test_traced_crashes.py

faults: $(VENV)/.developed
	SKERRY_FAULTS=all $(PROVE) --timeout 0 tests/crash/test_failing_calls.py tests/crash/test_kernel_faults.py

damage: $(VENV)/.developed
	SKERRY_DAMAGES=all SKERRY_DISK_CUTS=$(or $(CUTS),20) $(PROVE) --timeout 0 tests/crash/test_damage.py tests/crash/test_real_disks.py

kill: $(VENV)/.developed
	SKERRY_KILL_ROUNDS=$(or $(ROUNDS),100) SKERRY_SIGKILL_ROUNDS=$$(($(or $(ROUNDS),100) / 20 + 2)) \
	  $(PROVE) --timeout 0 tests/kill tests/e2e/test_sigkill.py

hostile: $(VENV)/.developed
	SKERRY_HOSTILE_CONNECTIONS=$(or $(CONNECTIONS),10000) $(PROVE) --timeout 0 tests/hostile

simulate: $(VENV)/.developed
	$(BIN)/python -m tests.simulation $(if $(KIND),--kind $(KIND)) $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000) --from $(or $(FROM),1) \
	  --processes $(PROCESSES))

freeze: $(VENV)/.developed
	$(BIN)/python -m tests.golden.freeze $(VERSION)

planted: $(VENV)/.developed
	$(BIN)/python -m tests.planted

# pip-audit has an environment of its own. Where it cannot be had, that is said: nothing is known then.
audit: $(VENV)/.created
	@test -x $(AUDIT)/bin/pip-audit || { $(BIN)/python -m venv $(AUDIT) && $(AUDIT)/bin/python -m pip \
	  --disable-pip-version-check --quiet install --require-hashes -r requirements-audit.lock; } || true
	$(BIN)/python -m tests.audit $(AUDIT)/bin/pip-audit $(if $(STRICT),--strict)

# Stamps: a second `make run` starts at once. Hashes are required, so what runs is what was locked.
$(VENV)/.created:
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    $$python -m venv $(VENV) && touch $@ && exit 0; \
	    echo "$$python cannot make a virtual environment (on Debian: apt-get install python3-venv)" >&2; exit 1; \
	  fi; \
	done; echo "Python 3.11 or newer is needed; name it with make PYTHON=/path/to/python3" >&2; exit 1

$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/.created
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q gateway replication
	@touch $@

$(VENV)/.developed: requirements-dev.lock $(VENV)/.installed
	$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

$(COMPAT)/.installed: requirements-compat.lock | $(VENV)/.created
	$(BIN)/python -m venv $(COMPAT)
	$(COMPAT)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements-compat.lock
	$(COMPAT)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation --editable .
	@touch $@

# All locks from one resolution: the runtime is the developer's set, cut down, so that aiobotocore, boto3 and awscli
# agree on one botocore.
locks: $(VENV)/.developed
	$(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['dependency-groups']['dev'], sep='\n')" \
	  | $(COMPILE) --upgrade --output-file requirements-dev.lock pyproject.toml -
	$(COMPILE) --upgrade --build-deps-for editable --build-deps-for wheel --constraint requirements-dev.lock \
	  --output-file requirements.lock pyproject.toml
	$(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['dependency-groups']['compat'], sep='\n')" \
	  | $(COMPILE) --upgrade --constraint requirements.lock --output-file requirements-compat.lock pyproject.toml -
	echo pip-audit | $(COMPILE) --upgrade --no-annotate --output-file requirements-audit.lock -
	echo atheris | $(COMPILE) --upgrade --no-annotate --output-file requirements-fuzz.lock -

clean:
	rm -rf $(VENV) $(COMPAT) $(AUDIT) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
