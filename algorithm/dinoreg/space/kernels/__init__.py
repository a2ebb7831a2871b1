"""What is compiled: sampling, its gradient, and squared differences in one pass."""
