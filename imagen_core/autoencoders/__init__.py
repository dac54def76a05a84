"""Autoencoders between pictures and latents (latent diffusion, arXiv 2112.10752); nothing is imported here."""
