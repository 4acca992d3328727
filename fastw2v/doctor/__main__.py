"""`python -m fastw2v.doctor`."""

import sys

from fastw2v.doctor.script import main

sys.exit(main(sys.argv[1:]))
