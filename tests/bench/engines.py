"""The folds of the demo on joblib's own workers, on Dask and on a cluster of Ray.

    python -m pip install ray "dask[distributed]"
    python tests/bench/engines.py [--epochs 4]

Ray's is a cluster of two nodes with a core each, Dask's of two worker processes. Every
engine trains the same networks, one thread for each; the table names the submission's
content.
"""

import argparse
import contextlib
import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]
os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
os.environ["TF_NUM_INTEROP_THREADS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["PYTHONPATH"] = str(ROOT)

import joblib  # noqa: E402

from kernel.sandbox.demo import lay_out_demo  # noqa: E402
from pcam_kaggle import run_recipe  # noqa: E402


@contextlib.contextmanager
def use_dask():
    """Two worker processes of Dask, allowed to start the networks' own processes."""
    import dask
    from dask.distributed import Client, LocalCluster

    dask.config.set({"distributed.worker.daemon": False})
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True) as cluster,
        Client(cluster),
        joblib.parallel_config("dask"),
    ):
        yield


@contextlib.contextmanager
def use_ray():
    """A cluster of two nodes."""
    import ray
    from ray.cluster_utils import Cluster
    from ray.util.joblib import register_ray

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    register_ray()
    try:
        print(f"ray: {len(ray.nodes())} nodes")
        with joblib.parallel_config("ray"):
            yield
    finally:
        ray.shutdown()
        cluster.shutdown()


ENGINES = {
    "one process": contextlib.nullcontext,
    "joblib, 2 workers": contextlib.nullcontext,
    "Dask, 2 workers": use_dask,
    "Ray, 2 nodes": use_ray,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=4)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lay_out_demo(Path(folder) / "data")
        data = Path(folder) / "data" / "input"
        lines = []
        for name, engine in ENGINES.items():
            settings = {
                "epochs": args.epochs,
                "num_folds": 4,
                "num_workers": 1 if name == "one process" else 2,
            }
            out = Path(folder) / name.replace(" ", "-")
            with engine():
                started = time.perf_counter()
                run_recipe("demo", settings, data, out)
                seconds = time.perf_counter() - started
            content = (out / "submission.csv").read_bytes()
            digest = hashlib.sha256(content).hexdigest()[:10]
            lines.append(f"| {name} | {seconds:.1f} | {digest} |")
    print("\n".join(["| engine | seconds | submission |", "|---|---|---|", *lines]))


if __name__ == "__main__":
    main()
