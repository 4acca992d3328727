# Programs that tests/test_exhaustion.py runs in processes of their own.
collect_ignore_glob = ["*"]
