"""What the signal handler says of itself: its mean and worst time by interval and stack depth.

    python tests/bench/handler.py

Sessions of one second of CPU time each.
"""

from __future__ import annotations

import time

import workloads

import spprof


def burn() -> None:
    end = time.thread_time() + 1
    while time.thread_time() < end:
        workloads.spin(1000)


def main() -> None:
    rows = []
    for interval in (10, 1, 0.2):
        for depth in (5, 20, 50, 500):
            spprof.start(interval)
            workloads.at_depth(depth, burn)
            stats = spprof.stats()
            spprof.stop()
            assert stats is not None
            rows.append(
                [
                    f"{interval:g} ms",
                    str(depth),
                    str(stats.collected_samples),
                    f"{stats.handler_mean_ns / 1000:.2f}",
                    f"{stats.handler_worst_ns / 1000:.0f}",
                    str(stats.failed_samples),
                    f"{stats.overhead_estimate_pct:.2f}",
                ]
            )
    head = ["interval", "depth", "samples", "mean, µs", "worst, µs", "failed", "overhead, %"]
    print(workloads.table(head, rows))


if __name__ == "__main__":
    main()
