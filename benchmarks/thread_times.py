"""What it costs to read how long the threads of an engine waited for a core, as a share of one core.

    python benchmarks/thread_times.py [--seconds 5]

A process with so many threads stands for the engine. The lane of the sampler that reads it runs alone in this process,
whose processor time over the wall time is the share; the same without a branch to read is taken off.
"""

from __future__ import annotations

import argparse
import select
import subprocess
import sys
import time

from pytest_llmperf.telemetry.sources.thread_times import ThreadsLane

THREADS = (8, 64, 512, 2048)
LARGEST_SHARE = 0.01
START_TIMEOUT_S = 60
ENGINE = """
import sys, threading
for _ in range(int(sys.argv[1]) - 1):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
print(flush=True)
sys.stdin.read()
"""


def measure(seconds: float) -> float:
    """The processor time of this process over so many seconds, as a share of them."""
    start, used = time.monotonic(), time.process_time()
    time.sleep(seconds)
    return (time.process_time() - used) / (time.monotonic() - start)


def measure_with(lane: ThreadsLane, threads: int, seconds: float) -> float:
    command = [sys.executable, "-c", ENGINE, str(threads)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as engine:
        assert engine.stdout is not None
        if not select.select([engine.stdout], [], [], START_TIMEOUT_S)[0]:
            raise TimeoutError(f"{threads} threads did not start")
        lane.add(threads, lambda: (engine.pid,))
        share = measure(seconds)
        lane.remove(threads)
        engine.kill()
    return share


def main() -> int:
    """Prints a table; 1 if a share is too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    seconds = parser.parse_args().seconds
    lane = ThreadsLane()
    lane.start()
    idle = measure(seconds)
    shares = {threads: measure_with(lane, threads, seconds) - idle for threads in THREADS}
    print("threads  share of a core")
    for threads, share in shares.items():
        print(f"{threads:7}  {share:.2%}")
    return int(max(shares.values()) > LARGEST_SHARE)


if __name__ == "__main__":
    sys.exit(main())
