# Programs that run when they are imported; the tests run them.
collect_ignore_glob = ["healthy/*", "programs/*"]
