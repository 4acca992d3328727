"""`python -m fastw2v.distribute`."""

import sys

from fastw2v.distribute.launcher import main

sys.exit(main(sys.argv[1:]))
