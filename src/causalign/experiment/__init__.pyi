from .candidates import Candidates as Candidates
from .candidates import ReaderNoise as ReaderNoise
