"""Benchmarks: each module ``bench_*`` has ``rows()``; ``python -m benchmarks`` runs all and checks the bars."""
