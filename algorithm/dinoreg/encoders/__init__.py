"""Encoders: differentiable modules that turn an image into a feature volume."""
