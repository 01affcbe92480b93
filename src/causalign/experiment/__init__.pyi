from .candidates import Candidates as Candidates
from .candidates import ReaderNoise as ReaderNoise
from .next_tests import Design as Design
from .next_tests import design as design
