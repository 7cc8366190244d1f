"""Measurements and their goals. `python -m benchmarks.bench_data` measures the data path."""
