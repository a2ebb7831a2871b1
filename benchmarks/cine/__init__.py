"""What the benchmarks of landmark tracking share."""
