"""The program that every profiler runs: fixed work, and at its end what it took itself.

    program.py REPORT ROUNDS

Short calls in turns, of two kinds that never call each other's inner function: a stack that says
they do is impossible. Must not know who profiles it.
"""

import json
import random
import sys
import time


def leaf(n):
    total = 0
    for i in range(n):
        total += i
    return total


def a_inner():
    return leaf(4)


def a_outer():
    for _ in range(50):
        a_inner()


def b_inner():
    return leaf(9)


def b_outer():
    for _ in range(50):
        b_inner()


def main():
    report, rounds = sys.argv[1:3]
    turns = random.Random(1)
    begin, begin_cpu = time.perf_counter(), time.process_time()
    in_a = in_b = 0
    for _ in range(int(rounds)):
        before = time.thread_time_ns()
        if turns.random() < 0.5:
            a_outer()
            in_a += time.thread_time_ns() - before
        else:
            b_outer()
            in_b += time.thread_time_ns() - before
    took = {
        "wall": time.perf_counter() - begin,
        "cpu": time.process_time() - begin_cpu,
        "in_a": in_a / 1e9,
        "in_b": in_b / 1e9,
    }
    with open(report, "w") as file:
        json.dump(took, file)


main()
