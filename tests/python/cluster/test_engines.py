"""`spprof.cluster` with the engines themselves, where they are installed."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs processes that are alike")

BURN = """
import time
def burn(n):
    import time
    begin = time.process_time()
    while time.process_time() - begin < 0.1:
        sum(range(200))
    return n
"""


def said_by(program: str, tmp_path) -> list[str]:
    """Lines that a program prints, which starts workers: a file of its own, as they import it."""
    file = tmp_path / "program.py"
    file.write_text(BURN + textwrap.dedent(program))
    done = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_dask(tmp_path) -> None:
    pytest.importorskip("distributed")
    said = said_by(
        """
        import spprof
        from distributed import Client, LocalCluster

        if __name__ == "__main__":
            with (
                LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as local,
                Client(local) as client,
            ):
                with spprof.cluster(client, 1) as p:
                    assert sum(client.gather(client.map(burn, range(4)))) == 6
                    local.scale(3)
                    client.wait_for_workers(3)
                    workers = list(client.scheduler_info(n_workers=-1)["workers"])
                    client.gather([client.submit(burn, n, workers=[w], pure=False)
                                   for n, w in enumerate(workers)])
                workers = [w for w in p.profile.processes() if w.name.startswith("worker ")]
                print(len(workers), {w.depth for w in workers})
                print({r.name for r in p.profile.regions()},
                      len({r.labels["worker"] for r in p.profile.regions()}))
                burnt = p.profile.filter(region="burn", function="burn").total_weight_ns / 1e9
                print(burnt > 0.2, [n for n in p.profile.notes if "joined" in n])
                with spprof.cluster(client, 1) as again:
                    pass
                print(len(again.profile.processes()))
        """,
        tmp_path,
    )
    assert said[0].startswith("3 ")
    assert said[1] == "{'burn'} 3"
    assert said[2] == "True ['worker 2 joined while the session ran']"
    assert said[3] == "4"


@pytest.mark.slow
def test_ipyparallel(tmp_path) -> None:
    pytest.importorskip("ipyparallel")
    said = said_by(
        """
        import ipyparallel, spprof

        if __name__ == "__main__":
            cluster = ipyparallel.Cluster(n=2, engines="local", log_level=40)
            client = cluster.start_and_connect_sync(activate=False)
            try:
                for workers in (client[:], client):
                    with spprof.cluster(workers, 1) as p:
                        assert sum(client[:].map_sync(burn, range(4))) == 6
                    burnt = p.profile.filter(process="engine *", function="burn")
                    names = sorted(w.name for w in p.profile.processes()[1:])
                    print(names, burnt.total_weight_ns > 0.2e9)
            finally:
                cluster.stop_cluster_sync()
        """,
        tmp_path,
    )
    assert said == ["['engine 0', 'engine 1'] True"] * 2


@pytest.mark.slow
def test_mpi_alone(tmp_path) -> None:
    """One rank needs no launcher."""
    pytest.importorskip("mpi4py.MPI", exc_type=ImportError)
    said = said_by(
        """
        import spprof
        from mpi4py import MPI

        with spprof.cluster(MPI.COMM_WORLD, 1) as p:
            burn(1)
        print(p.profile.top(1)[0].function_name)
        """,
        tmp_path,
    )
    assert said == ["burn"]


@pytest.mark.slow
def test_ray(tmp_path) -> None:
    pytest.importorskip("ray")
    said = said_by(
        """
        import ray, spprof

        @ray.remote
        class Actor:
            def work(self, n):
                return burn(n)

        if __name__ == "__main__":
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
            actors = [Actor.remote() for _ in range(2)]
            for workers in (actors, actors[0]):
                with spprof.cluster(workers, 1) as p:
                    assert sum(ray.get([actor.work.remote(3) for actor in actors])) == 6
                burnt = p.profile.filter(process="actor *", function="burn")
                names = sorted(w.name for w in p.profile.processes() if w.name.startswith("actor "))
                print(names, burnt.total_weight_ns > len(names) * 0.05e9)
            ray.kill(actors[1])
            with spprof.cluster(actors, 1) as p:
                pass
            print([n[:30] for n in p.profile.notes if "not in the profile" in n])
            ray.shutdown()
        """,
        tmp_path,
    )
    assert said[:2] == ["['actor 0', 'actor 1'] True", "['actor 0'] True"]
    assert said[2] == "['not in the profile: actor 1 (A']"


@pytest.mark.slow
def test_tasks_of_ray_are_children_of_who_began_it(tmp_path) -> None:
    pytest.importorskip("ray")
    said = said_by(
        """
        import ray, spprof

        if __name__ == "__main__":
            with spprof.Profiler(1, processes=True) as p:
                ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
                ray.get(ray.remote(burn).remote(1))
                time.sleep(2)  # Ray kills its workers, whose last second may be missing
                ray.shutdown()
            print({t.thread_name for t in p.profile.filter(function="burn").threads})
        """,
        tmp_path,
    )
    assert said == ["{'default_worker.py'}"]
