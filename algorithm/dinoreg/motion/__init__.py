"""Landmark tracking in 2D cine MRI (DINOMotion, arXiv 2508.10260), trained by image similarity alone."""
