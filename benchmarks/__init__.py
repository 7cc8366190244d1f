"""What is measured against what; `python -m benchmarks.bench_data` runs the data path's measurements."""
