"""The parts of `bench_guidance.py`."""
