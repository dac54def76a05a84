"""How are people's picture files opened? Named formats only, bounded, upright and in sRGB; for hosts and training alike.

Needs Pillow and numpy, and neither torch nor a host.
"""
