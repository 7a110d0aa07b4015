"""The `skerry` command: one file per subcommand."""
