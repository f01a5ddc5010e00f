"""Does a signal read off a candidate predict how well it works as a one-shot demonstration?"""

__version__ = "0.1.0"
