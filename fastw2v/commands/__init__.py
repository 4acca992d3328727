"""The subcommands of `fastw2v`, a module each: `add_parser(commands)` and `run(options)`."""
