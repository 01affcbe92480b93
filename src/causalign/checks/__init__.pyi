from .advice import Advice as Advice
from .advice import advise as advise
from .finding_pages import codes as codes
from .finding_pages import explain as explain
