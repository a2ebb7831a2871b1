"""The network that places landmarks: backbone, adapters, decoder and its files."""
