"""Command line: `dinoreg` (cli.main) and the container's entry (cli.platforms.entry)."""
