"""Synthetic anatomy: label volumes of random bodies and of torsos."""
