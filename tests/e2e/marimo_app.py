"""A marimo notebook that profiles one of its cells."""

import marimo

app = marimo.App()


@app.cell
def profiled():
    import time

    import spprof

    def burn(seconds):
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass

    with spprof.Profiler(interval_ms=1) as profiler:
        burn(0.5)
    return (profiler,)


@app.cell
def shown(profiler):
    profiler.profile  # noqa: B018 - a profile shows itself
    return


if __name__ == "__main__":
    app.run()
