#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that needs a GPU, in one go: bench/gpu.bash FOLDER [SECONDS]
#
# Measures the models with random weights in the published shape, runs the tests of the GPU, and
# leaves what each step printed in FOLDER. The most telling steps come first, each has a time limit
# of its own, and none ends the others; SECONDS limits the whole.
set -u
FOLDER=$1
LIMIT_S=${2:-480}
PYTHON=${PYTHON:-python3}
export PYTHONUNBUFFERED=1 PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}$PWD
export TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-/tmp/gr00t-inductor}
mkdir -p "$FOLDER/steps"
STEPS=/tmp/gr00t-gpu-steps
rm -rf "$STEPS"
mkdir -p "$STEPS"

step() { # NAME SECONDS COMMAND...
    local name=$1 limit=$2 left=$((LIMIT_S - SECONDS)) begun=$SECONDS
    shift 2
    if [ "$left" -lt 15 ]; then
        echo "== $name: no time left" | tee -a "$FOLDER/log.txt"
        return
    fi
    [ "$limit" -gt "$left" ] && limit=$left
    timeout -k 5 "$limit" "$@" >"$STEPS/$name.txt" 2>&1
    local rc=$?
    {
        echo "== $name: rc $rc, $((SECONDS - begun)) s, at $SECONDS s"
        grep -v "^USDT:" "$STEPS/$name.txt" | tail -n "${SHOWN:-14}" | cut -c1-160
    } | tee -a "$FOLDER/log.txt"
    tar -czf "$FOLDER/steps/steps.tar.gz" -C "$STEPS" .
}

bench() { # NAME SECONDS FLAGS...
    local name=$1 limit=$2
    shift 2
    step "$name" "$limit" "$PYTHON" -m gr00t_policy_core bench --device cuda --warm-up 10 \
        --json "$STEPS/$name.json" "$@"
}

robots() { # NAME SECONDS FLAGS...
    local name=$1 limit=$2
    shift 2
    step "$name" "$limit" "$PYTHON" -m bench.robots --device cuda --json "$STEPS/$name.json" "$@"
}

SHOWN=40 step environment 30 "$PYTHON" -c "
import platform, subprocess, torch, transformers
print(platform.python_version(), torch.__version__, transformers.__version__)
print(subprocess.run('nvidia-smi -L; nproc; free -g | head -2', shell=True, capture_output=True, text=True).stdout)
x = torch.empty(2**30, dtype=torch.uint8, device='cuda'); y = torch.empty_like(x)
a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
y.copy_(x); a.record()
for _ in range(10): y.copy_(x)
b.record(); b.synchronize()
print('copy, TB/s read and written:', 20 * 2**30 / a.elapsed_time(b) / 1e9)"

SHOWN=90 bench graphs 60 --batch 1 8 16 --runs 100 --profile
robots robots-graphs 70 --server ours --clients 1 4 16
SHOWN=30 bench graphs-n1d6 40 --model n1d6 --batch 1 8 --runs 60

# Nothing is timed here: the tests, and what fills the caches of torch.compile.
(
    exec "$PYTHON" -m gr00t_policy_core bench --device cuda --compile default --batch 1 8 16 2 4 \
        --warm-up 1 --runs 3 >"$STEPS/compile-first.txt" 2>&1
) &
(
    exec "$PYTHON" -m gr00t_policy_core bench --device cuda --compile default --dtype fp8 --batch 1 8 \
        --warm-up 1 --runs 3 >"$STEPS/compile-fp8-first.txt" 2>&1
) &
SHOWN=40 step tests 170 "$PYTHON" -m pytest test/core/models/test_models_gpu.py -q -p no:cacheprovider \
    --durations 5
for job in $(jobs -p); do
    for _ in $(seq 60); do
        kill -0 "$job" 2>/dev/null && [ $SECONDS -lt $((LIMIT_S - 120)) ] && sleep 1
    done
    kill "$job" 2>/dev/null
done
tail -n 4 "$STEPS"/compile*-first.txt | tee -a "$FOLDER/log.txt"

SHOWN=60 bench compiled 110 --compile default --batch 1 8 16 --runs 100 --profile
SHOWN=60 bench fp8-compiled 90 --compile default --dtype fp8 --batch 1 8 --runs 100 --profile
SHOWN=30 bench fp8 40 --dtype fp8 --batch 1 8 --runs 60
robots robots-compiled 80 --server ours --compile default --clients 16
robots robots-single 50 --server single --clients 1 16
SHOWN=12 bench eager 30 --no-cuda-graphs --no-device-images --batch 1 8 --runs 20
bench two-cameras 30 --cameras 2 --batch 1 --runs 60
echo "== done at $SECONDS s" | tee -a "$FOLDER/log.txt"
