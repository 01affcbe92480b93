"""Networks on frozen vectors of texts: settings without torch, one architecture in each file."""
