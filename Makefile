# SPDX-License-Identifier: Apache-2.0
# `make` or `make help` lists the targets. Everything happens inside this folder.

SHELL := bash
.SHELLFLAGS := -eo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo demo-data test test-models bench bench-control bench-ik bench-motion bench-record bench-throughput bench-trajectories fuzz soak lint docs reference robot-descriptions clean build setup

# DISTRO: the ROS 2 to install where none is sourced. PYTHON: the interpreter to do it with.
PYTHON ?= python3
export DISTRO PYTHON TRANSFORMERS
# The make that builds the messages shall not take our own flags for its own.
unexport MAKEFLAGS MFLAGS

ROS := . scripts/ros_env.bash

help:
	@echo "make demo    the simulated arm, driven by a policy server through ROS 2 (DEMO_SECONDS=20: end after 20 s; SEED=7: where the cubes lie; POLICY=replay: a recording)"
	@echo "make demo-data   demonstrations of that arm, recorded, converted, replayed, evaluated and diagnosed: build/demo-data (DEMO_EPISODES=2: so many)"
	@echo "make test    build and run all tests (TEST_JOBS=1: one after the other)"
	@echo "make test-models   the tests of the models, with torch in an environment of its own (TRANSFORMERS=4.57.6: with that release)"
	@echo "make lint    ruff and mypy"
	@echo "make docs    build the documentation into build/docs; every warning is an error"
	@echo "make reference   write the pages of docs/reference that are made from the code"
	@echo "make robot-descriptions   fetch the URDFs of robots/ for their tests, 210 MB (2 MB stay)"
	@echo "make bench   measure (BENCH_ARGS=...: what and how, --help lists it)"
	@echo "make bench-motion   measure motion under latency and a person's correction, docs/benchmarks/motion.md (BENCH_ARGS=--quick: two minutes)"
	@echo "make bench-trajectories   what a joint_trajectory_controller makes of each way to command it, docs/benchmarks/trajectories.md"
	@echo "make bench-control   measure how each control loop keeps its rate, docs/benchmarks/control-loop.md (BENCH_ARGS=--quick: a minute)"
	@echo "make bench-record   measure whether the recorder loses anything, and what it costs, docs/benchmarks/record.md (BENCH_ARGS=--quick: 3 s)"
	@echo "make bench-ik   the time to solve a chunk of poses for an arm's joints (BENCH_ARGS=--help)"
	@echo "make bench-throughput   answers a second, to 1 … 64 robots at once"
	@echo "make fuzz    made-up and damaged messages against the decoder and a server (FUZZ_SECONDS=180)"
	@echo "make soak    a server under load, and its memory before and after (SOAK_SECONDS=600)"
	@echo "make clean   remove what building and running made; the ROS 2 set-up in .venv stays"
	@echo
	@echo "Where no ROS 2 is sourced, demo, demo-data, test and bench set one up in .venv first: kilted, or DISTRO=jazzy."
	@echo "PYTHON=python3.12 chooses the interpreter for that."

setup:
	@scripts/setup.bash ros

build: setup
	@$(ROS); colcon --log-base "$$LOG" build --base-paths . \
		--build-base "$$BUILD" --install-base "$$INSTALL" --cmake-args -DBUILD_TESTING=ON

demo: build
	@$(ROS); exec "$$INSTALL/gr00t_ros/lib/gr00t_ros/demo" $(if $(POLICY),--policy $(POLICY)) $(if $(SEED),--seed $(SEED))

demo-data: build
	@$(ROS); exec "$$INSTALL/gr00t_ros/lib/gr00t_ros/demo_data" --output build/demo-data

# Tests mostly wait, so the suites run side by side, and each of them in as many processes as there
# are CPUs and a half (pytest-xdist, where it is there). ctest numbers the lines of each suite. The
# messages that only tests need are compiled first: compilers beside tests of time would disturb them.
test: build
	@$(ROS); python test/ros/built_interfaces.py; failed=0; \
	jobs=$${TEST_JOBS:-$$(( $$(nproc) < 6 ? (3 * $$(nproc) + 1) / 2 : 8 ))}; \
	if [ "$$jobs" -gt 1 ] && python -c 'import xdist' 2>/dev/null; then \
		export PYTEST_ADDOPTS="--numprocesses=$$jobs --dist=loadgroup $${PYTEST_ADDOPTS:-}"; \
		export CTEST_PARALLEL_LEVEL=3; \
	fi; \
	colcon --log-base "$$LOG" test --base-paths . --build-base "$$BUILD" --install-base "$$INSTALL" \
		--event-handlers console_direct+ --return-code-on-test-failure \
		| sed -u -E 's/^1: /core: /; s/^2: /ros: /; s/^3: /launch: /; s/^4: /killed: /' || failed=1; \
	colcon --log-base "$$LOG" test-result --test-result-base "$$BUILD" --verbose || failed=1; \
	python -c 'import torch' 2>/dev/null || \
		echo "The tests of the models were skipped, there is no torch: make test-models runs them."; \
	exit $$failed

# The tests of robots/ compare with these files where they are, and skip that otherwise.
robot-descriptions: setup
	@$(ROS); exec python scripts/robot_descriptions.py

# Needs no ROS 2. One thread of torch for each process: the models are tiny.
test-models:
	@scripts/setup.bash models
	@OMP_NUM_THREADS=1 exec ".venv-models$${TRANSFORMERS:+-$$TRANSFORMERS}/bin/python" -m pytest test/core/models

bench: build
	@$(ROS); exec python -m bench $(BENCH_ARGS)

bench-motion: build
	@$(ROS); python -m bench.motion $(BENCH_ARGS) && exec python -m bench.motion_handover $(BENCH_ARGS)

bench-trajectories: build
	@$(ROS); exec python -m bench.trajectories $(BENCH_ARGS)

bench-control: build
	@$(ROS); exec python -m bench.control $(BENCH_ARGS)

bench-record: build
	@$(ROS); exec python -m bench.record $(BENCH_ARGS)

bench-ik: build
	@$(ROS); exec python -m bench.ik $(BENCH_ARGS)

bench-throughput: build
	@$(ROS); exec python -m bench.throughput $(BENCH_ARGS)

# Starts from the fixed corpus of the tests, and makes new messages for so many seconds.
fuzz: build
	@scripts/setup.bash fuzz
	@$(ROS); exec python -m bench.fuzz $${FUZZ_SECONDS:-180}

soak: build
	@$(ROS); exec python -m bench.soak $${SOAK_SECONDS:-600}

lint:
	@scripts/setup.bash lint
	@.venv-lint/bin/ruff check .
	@.venv-lint/bin/ruff format --check .
	@.venv-lint/bin/mypy

# Needs no ROS 2.
docs:
	@scripts/setup.bash docs
	@.venv-docs/bin/python -m sphinx --fail-on-warning --keep-going --quiet -b html docs build/docs
	@echo "The documentation is in build/docs/index.html."

# The tests compare these pages with the code.
reference: build
	@$(ROS); for page in parameters cli messages robots; do \
		python scripts/pages/$$page.py > docs/reference/$$page.md; \
	done

clean:
	rm -rf build build-jazzy install install-jazzy log log-jazzy demo
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis MUJOCO_LOG.TXT *.egg-info
	find . -path './.venv*' -prune -o -name __pycache__ -type d -exec rm -rf {} +
