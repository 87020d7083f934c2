# Each target installs what it needs. You need a clone and Python 3.10 or later.
PYTHON ?= python3
VENV   := .venv
PIP    := $(VENV)/bin/python -m pip install --quiet
# Workers take tests from each other, so both end at the same time.
PYTEST := bin/python -m pytest -n 2 --dist worksteal

# The oldest installed Python that this library supports; nipype 1.8.6 cannot be imported on 3.13.
PYENV  := $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions
OLDEST = $(firstword $(foreach v,3.10 3.11 3.12,$(foreach p,python$(v) $(wildcard $(PYENV)/$(v).*/bin/python),\
         $(shell $(p) -c 'import venv, sys; print(sys.executable)' 2>/dev/null))) $(PYTHON))

# $(call new-venv,directory,python). Debian's Python may lack ensurepip; then its own pip is used.
define new-venv
@echo "Setting up $(1) ..."
@rm -rf $(1)
@$(2) -m venv $(1) >/dev/null 2>&1 || { $(2) -m venv --clear --without-pip $(1) \
  && $(2) -m pip --python $(1)/bin/python install --quiet pip; }
@$(1)/bin/python -m pip install --quiet --upgrade pip
endef

# The store of `make integration`: seaweedfs, or radosgw if Ceph is installed.
STORE  := seaweedfs

# Targets share virtual environments, so they must not run at the same time.
.NOTPARALLEL:
.PHONY: help demo test lint docs screens integration soak oldest versions wheel-test mutants bench fuse slurm cluster \
        ceph stores clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/demo.stamp ## Run a real workflow and sink its outputs into a local S3 server, twice
	$(VENV)/bin/nipype-datasink demo

test: $(VENV)/dev.stamp ## Run the tests and measure their coverage
	$(VENV)/$(PYTEST) --cov $(ARGS)

lint: $(VENV)/dev.stamp ## Check style, types and the form of the repository
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/rumdl check
	$(VENV)/bin/repo-review .

docs: $(VENV)/docs.stamp ## Build the documentation into build/docs
	$(VENV)/bin/sphinx-build --fail-on-warning --keep-going docs build/docs

screens: $(VENV)/dev.stamp ## Write the output of the commands that the documentation shows into its pages
	$(VENV)/bin/python -m docs.screens

integration: $(VENV)/integration.stamp ## Run the S3 tests and the fault tests with a real store (STORE=seaweedfs or radosgw)
	$(VENV)/$(PYTEST) --store $(STORE) tests/s3 tests/test_workflows.py tests/integration $(ARGS)

soak: $(VENV)/integration.stamp ## Repeat the fault tests for a long time; write docs/reliability-numbers.*
	$(VENV)/$(PYTEST) --store seaweedfs --soak -o faulthandler_timeout=7200 tests/integration tests/test_parity.py $(ARGS)

oldest: $(VENV)-oldest/stamp ## Run the tests with the lowest supported version of each dependency
	$(VENV)-oldest/$(PYTEST) $(ARGS)

versions: $(VENV)/versions.stamp ## Run the tests with the dependency versions of noxfile.py, on each installed Python
	PATH="$$PATH$$(printf ':%s' $(PYENV)/*/bin)" $(VENV)/bin/nox $(ARGS)

slurm cluster: export PATH := $(PATH):/usr/sbin
slurm: ## Install SLURM with apt-get if possible; does not start it
	@for each in slurmctld slurmd sbatch munged; do command -v $$each >/dev/null || missing=1; done; \
	if [ -n "$$missing" ]; then \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo -n); \
	  $$sudo apt-get -qq update && $$sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
	    apt-get -qq install --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null; \
	fi

fuse: ## Install FUSE with apt-get if possible; tests that need it are skipped without it
	@command -v fusermount3 >/dev/null || { \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo -n); \
	  $$sudo apt-get -qq update && $$sudo env DEBIAN_FRONTEND=noninteractive \
	    apt-get -qq install --no-install-recommends fuse3 >/dev/null; \
	}

cluster: $(VENV)/cluster.stamp slurm ## Run a real workflow with every nipype plugin; uses SLURM with two nodes
	$(VENV)/bin/python -m pytest --cluster --store seaweedfs tests/distributed $(ARGS)

# The wheel has the same files as src, which `make test` tests; these tests start it or read its files.
WHEEL_TESTS := $(addprefix tests/,cli test_docs.py test_docstrings.py test_imports.py test_installation.py \
               test_interface.py test_io.py workflows/test_program.py workflows/test_script.py)

wheel-test: $(VENV)/dev.stamp ## Compare the built wheel with src; run the tests that start it, without src
	rm -rf build/dist build/wheel
	$(VENV)/bin/python -m build --outdir build/dist
	mkdir -p build/wheel
	tar -xzf build/dist/*.tar.gz -C build/wheel --strip-components=1
	rm -r build/wheel/src
	$(call new-venv,build/wheel/.venv,$(PYTHON))
	cd build/wheel && .venv/bin/python -m pip install --quiet --group test \
	  "$$(echo ../dist/*.whl)[crt,demo]"
	diff -r -x __pycache__ src/nipype_datasink build/wheel/.venv/lib/python3*/site-packages/nipype_datasink
	cd build/wheel && .venv/bin/python -m pytest --collect-only --quiet >/dev/null
	cd build/wheel && .venv/$(PYTEST) $(WHEEL_TESTS) $(ARGS)

mutants: $(VENV)/mutants.stamp ## Change the code on purpose; fail if the tests do not notice (tests/mutants.md lists harmless changes)
	@rm -rf mutants
	PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(VENV)/bin/mutmut run > mutants.log 2>&1 || { cat mutants.log; exit 1; }
	@tr '\r' '\n' < mutants.log | tail -n 2
	$(VENV)/bin/python -m tests.mutants

bench: build/bench/nulls3 build/bench/slowdisk $(VENV)/bench.stamp $(VENV)-peers/stamp ## Compare the speed with nipype and other programs (50 minutes)
	$(VENV)/bin/python -m benchmarks $(ARGS)

ceph: ## Install Ceph's S3 gateway with apt-get if possible; does not start it
	@for each in ceph-mon ceph-osd radosgw; do command -v $$each >/dev/null || missing=1; done; \
	if [ -n "$$missing" ]; then \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo -n); \
	  $$sudo apt-get -qq update && $$sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
	    apt-get -qq install --no-install-recommends ceph-mon ceph-osd radosgw >/dev/null; \
	fi

stores: $(VENV)/stores.stamp build/s3rver/stamp ## Test every store that can be installed; write docs/stores.md (10 minutes)
	@$(MAKE) --no-print-directory ceph || echo "radosgw could not be installed and is not tested"
	$(VENV)/bin/python -m stores $(ARGS)

clean: ## Remove everything that make has created
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-peers build dist mutants mutants.log htmlcov .coverage .coverage.* .hypothesis \
	  .mypy_cache .nox .pytest_cache .ruff_cache .rumdl_cache

$(VENV)/venv.stamp:
	$(call new-venv,$(VENV),$(PYTHON))
	@touch $@

$(VENV)/demo.stamp: pyproject.toml | $(VENV)/venv.stamp
	$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/%.stamp: $(VENV)/demo.stamp
	$(PIP) --editable '.[crt,demo]' --group $*
	@touch $@

$(VENV)-oldest/stamp: pyproject.toml tests/oldest.txt
	$(call new-venv,$(VENV)-oldest,$(OLDEST))
	$(VENV)-oldest/bin/python -m pip install --quiet --editable '.[crt,demo]' --group test \
	  --constraint tests/oldest.txt
	@touch $@

$(VENV)-peers/stamp: pyproject.toml
	$(call new-venv,$(VENV)-peers,$(PYTHON))
	$(VENV)-peers/bin/python -m pip install --quiet --group peers
	@touch $@

build/s3rver/stamp:
	@mkdir -p $(@D)
	@npm install --silent --no-fund --no-audit --prefix $(@D) s3rver \
	  || echo "npm could not install s3rver, which is not tested"
	@touch $@

build/bench/nulls3: $(wildcard benchmarks/nulls3/*)
	@mkdir -p $(@D)
	@echo '#include <openssl/ssl.h>' | gcc -E - >/dev/null 2>&1 \
	  || { echo "make bench needs gcc and OpenSSL's headers (Debian: gcc libc6-dev libssl-dev)"; exit 1; }
	gcc -std=c11 -O2 -Wall -Wextra -o $@ $(filter %.c,$^) -lssl -lcrypto -lpthread

build/bench/slowdisk: benchmarks/slowdisk.c
	@mkdir -p $(@D)
	@printf '#define FUSE_USE_VERSION 312\n#include <fuse3/fuse.h>\n' | gcc -D_FILE_OFFSET_BITS=64 -E - >/dev/null 2>&1 \
	  || { echo "make bench needs gcc and FUSE 3 with its headers (Debian: gcc libc6-dev fuse3 libfuse3-dev)"; exit 1; }
	gcc -std=c11 -O2 -Wall -Wextra -D_FILE_OFFSET_BITS=64 -o $@ $< -lfuse3 -lpthread
