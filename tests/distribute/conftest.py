# Programs of their own; the tests run them.
collect_ignore_glob = ["programs/*"]
