"""Short bursts between short sleeps, beside a thread that only sleeps.

    bursts.py REPORT TURNS

Must not know who profiles it.
"""

import json
import random
import sys
import threading
import time


def burst():
    total = 0
    for i in range(6000):
        total += i
    return total


def pause(seconds):
    time.sleep(seconds)


def sleeper(end):
    end.wait()


def main():
    report, turns = sys.argv[1:3]
    lengths = random.Random(1)
    end = threading.Event()
    other = threading.Thread(target=sleeper, args=(end,))
    other.start()
    bursts = pauses = 0.0
    begin = time.perf_counter()
    for _ in range(int(turns)):
        before = time.thread_time()
        burst()
        bursts += time.thread_time() - before
        before = time.perf_counter()
        pause(lengths.uniform(0.0003, 0.0015))
        pauses += time.perf_counter() - before
    wall = time.perf_counter() - begin
    end.set()
    other.join()
    with open(report, "w") as file:
        json.dump({"wall": wall, "bursts": bursts, "asleep": pauses + wall}, file)


main()
