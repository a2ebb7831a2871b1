"""Every setting of a registration, typed; presets and files of them."""
