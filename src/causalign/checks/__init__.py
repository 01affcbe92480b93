"""One function per finding; each finding has a stable code and a page in ``checks/pages``."""
