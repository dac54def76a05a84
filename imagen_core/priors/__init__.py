"""Priors (unCLIP, arXiv 2204.06125, section 2.2): a text's picture in CLIP's space; nothing is imported here."""
