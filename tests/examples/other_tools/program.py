import gc
import threading
import time


def leaf(n):
    return sum(i * i for i in range(n))


def left():
    return leaf(20000)


def right():
    return sorted(range(200000), key=lambda x: -x)


def work(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        left()
        right()
        gc.collect()


def nap():
    time.sleep(0.4)


sleeper = threading.Thread(target=nap)
sleeper.start()
work(0.4)
sleeper.join()
